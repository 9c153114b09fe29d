"""What bhyve(8) and bhyvectl(8) print: a command line as the real program understood it, and a guest's counters.

`bhyve -o config.dump=1 …` reads a whole command line, prints it as bhyve_config(5) and ends with 1 without starting
anything (shared/freebsd/15.1/10-bhyve.txt): the way to try a machine on a host.
"""

import re
from collections.abc import Sequence

from beastack.freebsd.bhyve import Capabilities, Machine, argv
from beastack.freebsd.errors import UnexpectedOutput, failure
from beastack.freebsd.host import Host

_SETTING = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.]*)=(.*)")
_COUNTER = re.compile(r"(\S.*?)\s*\t(\d{1,20})")


def capabilities(host: Host) -> Capabilities:
    """What the bhyve of the host's release can do. Raises UnexpectedOutput."""
    done = host.run(["sysctl", "-n", "kern.osrelease"])
    found = re.match(r"(\d+)\.(\d+)", done.out)
    if found is None:
        raise UnexpectedOutput(done.argv, done.out, "a release, as 15.1-RELEASE")
    return Capabilities.of_release(int(found[1]), int(found[2]))


def parse_config(text: str, argv: Sequence[str] = ("bhyve",)) -> dict[str, str]:
    """``config.dump``: settings by name. Raises UnexpectedOutput."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = _SETTING.fullmatch(line)
        if match is None or match[1] in found:
            raise UnexpectedOutput(argv, line, "NAME=VALUE, each name once")
        found[match[1]] = match[2]
    if "name" not in found:
        raise UnexpectedOutput(argv, text, "name=… (the machine's)")
    return found


def parse_stats(text: str, argv: Sequence[str] = ("bhyvectl",)) -> dict[str, int]:
    """``bhyvectl --get-stats``: counters by name, bytes or pieces or cycles. Raises UnexpectedOutput."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        match = _COUNTER.fullmatch(line)
        if match is not None:
            found[match[1]] = int(match[2])
        elif line.strip() and not re.fullmatch(r"vcpu\d+ stats:?", line.strip()):
            raise UnexpectedOutput(argv, line, "NAME, a tab, NUMBER")
    return found


def try_machine(host: Host, machine: Machine, can: Capabilities) -> dict[str, str]:
    """What this host's bhyve makes of a machine, without starting it. Raises MachineRefused, BadMachine."""
    program, *rest = argv(machine, can)
    done = host.run([program, "-o", "config.dump=1", *rest], check=False)
    if done.rc != 1:
        raise failure(done.argv, done.rc, done.out, done.err)
    return parse_config(done.out, done.argv)


def read_stats(host: Host, name: str) -> dict[str, int]:
    """A running guest's counters. Raises NoSuchMachine."""
    done = host.run(["bhyvectl", f"--vm={name}", "--get-stats"])
    return parse_stats(done.out, done.argv)
