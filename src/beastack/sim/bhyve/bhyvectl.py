"""bhyvectl(8): `python -m beastack.sim.bhyve.bhyvectl --vm=NAME ACTION…`."""

import contextlib
import os
import re
import signal
import sys
from pathlib import Path

from beastack.sim.bhyve import vmm

_SECONDS = 5.0
_DONE = ("create", "destroy", "force-reset", "force-poweroff", "get-stats")


def _usage() -> str:
    return (Path(__file__).parent / "usage-bhyvectl.txt").read_text()


def _known() -> dict[str, bool]:
    """Every option of the real one, and whether it wants a value."""
    return {name: bool(value) for name, value in re.findall(r"--([a-z0-9-]+)(=<[^>]*>)?", _usage())}


def _parse(argv: list[str]) -> tuple[str, set[str]] | str:
    """The machine's name and what to do, or the words to end with."""
    known = _known()
    name, actions, rest = "", set[str](), list(argv)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            return _usage()
        option, equals, value = word[2:].partition("=")
        if option not in known:
            return f"bhyvectl: unrecognized option `{word}'\n{_usage()}"
        if known[option] and not equals:
            if not rest:
                return f"bhyvectl: option `{word}' requires an argument\n{_usage()}"
            value = rest.pop(0)
        if option == "vm":
            name = value
        elif option not in _DONE:
            return f"bhyvectl: {word}: not simulated\n"
        else:
            actions.add(option)
    return (name, actions) if name else _usage()


def _destroy(entry: vmm.Machine) -> None:
    """End the bhyve that runs it, then take the entry away."""
    if entry.runs():
        runner = entry.runner()
        entry.ask("destroy", _SECONDS)
        if not entry.wait_end(_SECONDS) and runner is not None:
            with contextlib.suppress(ProcessLookupError):  # stopped by a signal: it cannot answer
                os.kill(runner, signal.SIGKILL)
            entry.wait_end(_SECONDS)
    entry.remove()


def _statistics(entry: vmm.Machine) -> str:
    answer = (entry.ask("stats", _SECONDS) or "") if entry.runs() else ""
    resident, runtime = (int(word) for word in (answer.split() or ("0", "0")))
    rows = (
        ("Resident memory", resident),
        ("Wired memory", 0),
        ("vcpu total runtime", runtime),
        ("total number of vm exits", runtime // 150_000),
    )
    return "vcpu0 stats:\n" + "".join(f"{name:<40}\t{value}\n" for name, value in rows)


def run(argv: list[str]) -> tuple[int, str, str]:
    """Exit status, output, words on standard error."""
    parsed = _parse(argv)
    if isinstance(parsed, str):
        return 1, "", parsed
    name, actions = parsed
    missing = f"vm_open: {name} could not be opened: No such file or directory\n"
    try:
        entry = vmm.Machine(name)
    except vmm.NoSuchMachine:
        return 1, "", missing
    if "create" in actions:
        if not vmm.loaded():
            return 1, "", "vm_create: No such file or directory\n"
        try:
            entry.create()
        except FileExistsError:
            return 1, "", "vm_create: File exists\n"
    if not entry.exists():
        return 1, "", missing
    out = ""
    for action in ("force-reset", "force-poweroff"):
        if action in actions and entry.runs():
            entry.ask(action, _SECONDS)
    if "get-stats" in actions:
        out = _statistics(entry)
    if "destroy" in actions:
        _destroy(entry)
    return 0, out, ""


def main() -> int:
    status, out, err = run(sys.argv[1:])
    sys.stderr.write(err)
    sys.stdout.write(out)
    return status


if __name__ == "__main__":
    sys.exit(main())
