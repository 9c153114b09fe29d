"""time(1) of a simulated host, for the caller's side: FreeBSD's one line after the command, on standard error."""

import os
import subprocess
import sys
import time


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.stderr.write("usage: time command [args ...]\n")
        return 1
    began = time.monotonic()
    try:
        status = subprocess.run(sys.argv[1:], check=False).returncode
    except OSError as error:
        sys.stderr.write(f"time: {sys.argv[1]}: {error.strerror}\n")
        return 127
    spent = os.times()
    parts = ((time.monotonic() - began, "real"), (spent.children_user, "user"), (spent.children_system, "sys"))
    sys.stderr.write(" ".join(f"{seconds:12.2f} {name}" for seconds, name in parts) + "\n")
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
