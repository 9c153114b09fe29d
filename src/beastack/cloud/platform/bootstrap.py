"""Installs the missing system packages before the environment exists; run as a script by the launcher.

It says beforehand what it will install. Exit status 0 when nothing is missing any more, 1 with the cause otherwise.
"""

import importlib.util
import signal
import sys
from functools import partial
from pathlib import Path


def main() -> int:
    """Install what is missing, saying what."""
    # by path: beastack itself is not installed yet
    spec = importlib.util.spec_from_file_location("packages", Path(__file__).with_name("packages.py"))
    if spec is None or spec.loader is None:
        raise ImportError("packages.py is not beside bootstrap.py")
    packages = importlib.util.module_from_spec(spec)
    sys.modules["packages"] = packages
    spec.loader.exec_module(packages)
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _frame: stopped.append(n))
    try:
        manager = packages.detect(partial(packages.run, stopped=lambda: bool(stopped)))
        missing = manager.missing()
        if missing:
            print("installing system packages:", ", ".join(missing), flush=True)
            manager.install(missing)
    except packages.PackageError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
