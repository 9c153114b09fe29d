"""What can go wrong on a FreeBSD host, as types.

Every error carries enough to act on: the command, its exit status and its own words. The positional arguments are
plain data, so that an error crosses the privilege boundary (msgpack) and is rebuilt on the other side as it was.
Which words of which program mean what was seen in shared/freebsd/15.1; every failure recorded there has its type.
"""

import re
from collections.abc import Sequence


class HostError(Exception):
    """Anything a FreeBSD host refused, or answered in a way that cannot be relied on."""


class CommandFailed(HostError):
    """A command ended with a status other than 0."""

    def __init__(self, argv: Sequence[str], rc: int, out: str, err: str) -> None:
        super().__init__(list(argv), rc, out, err)
        self.argv, self.rc, self.out, self.err = list(argv), rc, out, err

    def __str__(self) -> str:
        words = (self.err.strip() or self.out.strip() or "no output")[-2000:]
        return f"{' '.join(self.argv)}: exit {self.rc}: {words}"


class CommandTimedOut(HostError):
    """A command did not end within its limit and was killed with its children."""

    def __init__(self, argv: Sequence[str], seconds: float) -> None:
        super().__init__(list(argv), seconds)
        self.argv, self.seconds = list(argv), seconds

    def __str__(self) -> str:
        return f"{' '.join(self.argv)}: did not end within {self.seconds:g} s"


class ProgramMissing(HostError):
    """The program is not on the host's PATH."""

    def __init__(self, program: str) -> None:
        super().__init__(program)
        self.program = program

    def __str__(self) -> str:
        return f"{self.program}: no such program on this host"


class HostUnreachable(HostError):
    """The way to the host failed (ssh(1)): nothing is known about the command."""

    def __init__(self, host: str, words: str) -> None:
        super().__init__(host, words)
        self.host, self.words = host, words

    def __str__(self) -> str:
        return f"{self.host}: not reachable: {self.words or 'ssh gave no reason'}"


class UnexpectedOutput(HostError):
    """A command succeeded and said something that its reader does not know: the state is unknown, not absent."""

    def __init__(self, argv: Sequence[str], text: str, expected: str) -> None:
        super().__init__(list(argv), text[:400], expected)
        self.argv, self.text, self.expected = list(argv), text[:400], expected

    def __str__(self) -> str:
        return f"{' '.join(self.argv)}: expected {self.expected}, got {self.text!r}"


class NotOurs(HostError):
    """The object exists and does not carry Beastack's mark; it is left alone."""


class NoSuchInterface(CommandFailed):
    """`interface X does not exist` (ifconfig(8))."""


class InterfaceExists(CommandFailed):
    """A create or rename met a name that is taken."""


class NameTooLong(CommandFailed):
    """An interface name of more than 15 characters (IFNAMSIZ)."""


class AlreadyMember(CommandFailed):
    """BRDGADD: the interface is a member of this bridge already."""


class DeviceBusy(CommandFailed):
    """The device is held by another: a member of another bridge, a tap that is open."""


class NotAMember(CommandFailed):
    """BRDGDEL: the interface is not a member of this bridge."""


class NoSuchAddress(CommandFailed):
    """The address is not on the interface."""


class NoSuchJail(CommandFailed):
    """`jail "X" not found` (jail(8), jls(8), jexec(8))."""


class JailExists(CommandFailed):
    """`jail "1" already exists` (jail(8))."""


class RouteExists(CommandFailed):
    """`route already in table` (route(8))."""


class NoSuchRoute(CommandFailed):
    """`not in table` (route(8))."""


class NotPermitted(CommandFailed):
    """The kernel refused for want of privilege."""


class BadArgument(CommandFailed):
    """The program or the kernel does not take a value: an MTU, a VLAN number, a MAC address, a VNI, an option."""


class NotSupported(CommandFailed):
    """The kernel cannot do this to such an object: a member's MTU, gre(4) in a bridge, a family this jail lacks."""


class EntryExists(CommandFailed):
    """The forwarding table has an entry for this address already."""


class NoSuchEntry(CommandFailed):
    """The forwarding or neighbour table has no entry for this address."""


class NoSuchPath(CommandFailed):
    """A file, folder or device that a command needs is not there."""


class NoSuchRule(CommandFailed):
    """No limit, or no process or jail that one could have, fits (rctl(8): ESRCH)."""


class NoSuchSysctl(CommandFailed):
    """This kernel has no such variable (sysctl(8))."""


class ModuleLoaded(CommandFailed):
    """`module already loaded or in kernel` (kldload(8))."""


class PfState(CommandFailed):
    """pf(4) was enabled or disabled already (pfctl(8))."""


class RulesRefused(CommandFailed):
    """pfctl(8) read the rules and did not take them; those in force stay in force."""


class NoSuchAnchor(CommandFailed):
    """`Anchor does not exist` (pfctl(8), which may say so with status 0)."""


class NoSuchTable(CommandFailed):
    """`Table does not exist` (pfctl(8))."""


class NoSuchDataset(CommandFailed):
    """The pool, dataset or snapshot does not exist (zfs(8), zpool(8))."""


class DatasetExists(CommandFailed):
    """The name of a dataset or snapshot is taken (zfs(8))."""


class OutOfSpace(CommandFailed):
    """The pool has no room for it (zfs(8))."""


class HasDependants(CommandFailed):
    """A dataset has children, or a snapshot has clones: see ``dependants`` (zfs(8))."""

    @property
    def dependants(self) -> list[str]:
        """What stands in the way, as zfs(8) lists it after `use '-r' to destroy the following datasets:`."""
        lines = f"{self.out}\n{self.err}".splitlines()
        at = next((n for n, line in enumerate(lines) if line.endswith("to destroy the following datasets:")), None)
        return [] if at is None else [line.strip() for line in lines[at + 1 :] if line.strip()]


class NoSuchMachine(CommandFailed):
    """There is no virtual machine of this name (bhyvectl(8))."""


class MachineRefused(CommandFailed):
    """bhyve(8) does not run this machine: an unknown device, no boot ROM, a backend that cannot be opened."""


class AddressInUse(CommandFailed):
    """Another socket has the address and port."""


# Words that the programs use, seen in shared/freebsd/15.1, and the type each stands for. The first that fits wins: what
# is said in brackets or of one program is more precise than the errno's own words further down.
_WORDS: tuple[tuple[str, type[CommandFailed]], ...] = (
    ("(Interface is already a member of this bridge)", AlreadyMember),
    ("(Interface is not a bridge member)", NotAMember),
    ("(Interface is already a member of another bridge)", DeviceBusy),
    ("(No such interface)", NoSuchInterface),
    ("(Unsupported interface type)", NotSupported),
    ("(set name): File name too long", NameTooLong),
    ("(set name): File exists", InterfaceExists),
    ("(SIOCDIFADDR): Can't assign requested address", NoSuchAddress),
    ("BRDGDADDR: No such file or directory", NoSuchEntry),
    ("SIOCSDRVSPEC: File exists", EntryExists),
    ("SIOCSDRVSPEC: No such file or directory", NoSuchEntry),
    ("sysctl: unknown oid", NoSuchSysctl),
    ("route already in table", RouteExists),
    ("fib 0: not in table", NoSuchRoute),
    ("route has not been found", NoSuchRoute),
    ("module already loaded or in kernel", ModuleLoaded),
    ("pfctl: pf already enabled", PfState),
    ("pfctl: pf not enabled", PfState),
    ("pfctl: Anchor does not exist", NoSuchAnchor),
    ("pfctl: Table does not exist", NoSuchTable),
    ("pf rules not loaded", RulesRefused),
    ("dataset already exists", DatasetExists),
    ("dataset does not exist", NoSuchDataset),
    ("could not find any snapshots to destroy", NoSuchDataset),
    (": no such pool", NoSuchDataset),
    (": parent does not exist", NoSuchDataset),
    (": out of space", OutOfSpace),
    ("to destroy the following datasets:", HasDependants),
    (": not a cloned filesystem", BadArgument),
    ("could not be opened: No such file or directory", NoSuchMachine),
    ("Address already in use", AddressInUse),
    ("Device busy", DeviceBusy),
    ("Device emulation initialization error", MachineRefused),
    ("unknown device ", MachineRefused),
    ("RACCT/RCTL", NotSupported),
    ("invalid lpc device configuration", MachineRefused),
    ("no bootrom was configured", MachineRefused),
    ("Error opening bootrom", MachineRefused),
    ("bhyve: vm_openf", MachineRefused),
    ("Operation not permitted", NotPermitted),
    ("invalid network identifier", BadArgument),
    ("malformed link-level address", BadArgument),
    ("Address family ", BadArgument),
    ("unrecognized option", BadArgument),
    ("invalid VLAN identifier", BadArgument),
    ("invalid vlan set", BadArgument),
    ("Operation not supported", NotSupported),
    ("Protocol not supported", NotSupported),
)
# errno's words at the end of what ifconfig(8), route(8) and jail(8) say; elsewhere they may mean something else.
_ENDS: tuple[tuple[str, str, type[CommandFailed]], ...] = (
    ("ifconfig: ", ": Device not configured", NoSuchInterface),
    ("vxlan-fdb: ", ": Device not configured", NoSuchInterface),
    ("vxlan-fdb: ", ": Invalid argument", BadArgument),
    ("ifconfig: ", ": Invalid argument", BadArgument),
    ("route: ", ": Invalid argument", BadArgument),
    ("jail: path ", ": No such file or directory", NoSuchPath),
    ("kldload: ", ": No such file or directory", NoSuchPath),
    ("rctl: ", ": No such process", NoSuchRule),
    ("arp: ", "no entry", NoSuchEntry),
    ("ndp: ", "no entry", NoSuchEntry),
)
# A rule that pfctl(8) -n refuses is named by its place and no more.
_RULE_REFUSED = re.compile(r"stdin:\d+: ")


def failure(argv: Sequence[str], rc: int, out: str, err: str) -> CommandFailed:
    """The most precise error for a command's words."""
    text = f"{out}\n{err}"
    for line in text.splitlines():
        if line.startswith("ifconfig: interface ") and line.endswith(" does not exist"):
            return NoSuchInterface(argv, rc, out, err)
        if line.startswith("ifconfig: interface ") and line.endswith(" already exists"):
            return InterfaceExists(argv, rc, out, err)
        if line.startswith(("jail: ", "jls: ", "jexec: ")) and line.endswith(" not found"):
            return NoSuchJail(argv, rc, out, err)
        if line.startswith("jail: ") and line.endswith(" already exists"):
            return JailExists(argv, rc, out, err)
    for words, kind in _WORDS:
        if words in text:
            return kind(argv, rc, out, err)
    for line in text.splitlines():
        for begin, end, kind in _ENDS:
            if line.startswith(begin) and line.endswith(end):
                return kind(argv, rc, out, err)
        if _RULE_REFUSED.match(line):
            return RulesRefused(argv, rc, out, err)
    return CommandFailed(argv, rc, out, err)
