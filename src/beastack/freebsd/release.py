"""Which FreeBSD this is (kern.osreldate, uname(1) -U).

Decide by what a host can do, not by this; it is for messages and for known defects.
"""

from dataclasses import dataclass

from beastack.freebsd import sysctl
from beastack.freebsd.errors import UnexpectedOutput
from beastack.freebsd.host import Host

OLDEST = (13, 0)


@dataclass(frozen=True, order=True)
class Release:
    """``kern.osreldate``: 1501000 is 15.1."""

    osreldate: int

    @property
    def major(self) -> int:
        """15 of 15.1."""
        return self.osreldate // 100_000

    @property
    def minor(self) -> int:
        """1 of 15.1."""
        return self.osreldate // 1000 % 100

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


def read(host: Host) -> Release:
    """The running kernel's release; raises UnexpectedOutput when the number cannot be one."""
    number = sysctl.read_int(host, "kern.osreldate")
    release = Release(number)
    if (release.major, release.minor) < OLDEST:
        raise UnexpectedOutput(["sysctl", "-n", "kern.osreldate"], str(number), f"{OLDEST[0]}.{OLDEST[1]} or later")
    return release
