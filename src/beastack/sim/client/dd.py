"""dd(1) with FreeBSD's sizes (`bs=1m`), for Linux's program. Run as `python -ISs` on the caller's side.

A volume's node is a link to a file here: unlike a device's, its size would go when dd opens it.
"""

# becoming a program is the purpose:
# ruff: noqa: S606

import os
import re
import sys

_SIZES = ("bs", "ibs", "obs", "cbs")


def main() -> None:
    arguments, keep = [], False
    for word in sys.argv[1:]:
        name, equals, value = word.partition("=")
        if equals and name in _SIZES:
            word = f"{name}={re.sub('[kmgtpe]', lambda unit: unit[0].upper(), value)}"
        keep = keep or (name == "of" and value.startswith("/dev/"))
        arguments.append(word)
    os.execv("/usr/bin/dd", ["dd", *arguments, *(["conv=notrunc"] if keep else [])])


if __name__ == "__main__":
    main()
