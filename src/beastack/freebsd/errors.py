"""What can go wrong on a FreeBSD host, as types.

Every error carries enough to act on: the command, its exit status and its own words. The positional arguments are
plain data, so that an error crosses the privilege boundary (msgpack) and is rebuilt on the other side as it was.
"""

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


# Words that the programs use, seen in shared/freebsd/15.1 (01, 02, 03, 09), and the type each stands for. The first
# that fits wins: the words in brackets are more precise than the errno before them.
_WORDS: tuple[tuple[str, type[CommandFailed]], ...] = (
    ("(Interface is already a member of this bridge)", AlreadyMember),
    ("(Interface is not a bridge member)", NotAMember),
    ("(Interface is already a member of another bridge)", DeviceBusy),
    ("(No such interface)", NoSuchInterface),
    ("(set name): File name too long", NameTooLong),
    ("(set name): File exists", InterfaceExists),
    ("(SIOCDIFADDR): Can't assign requested address", NoSuchAddress),
    ("route already in table", RouteExists),
    ("fib 0: not in table", NoSuchRoute),
    ("route has not been found", NoSuchRoute),
    ("Operation not permitted", NotPermitted),
    ("Device busy", DeviceBusy),
)


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
    return CommandFailed(argv, rc, out, err)
