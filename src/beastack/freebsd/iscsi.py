"""FreeBSD's iSCSI initiator: sessions of iscsictl(8), whose daemon iscsid(8) must run.

The forms are those of the manual pages and of usr.bin/iscsictl (iscsictl.c, periphs.c: ``--libxo json``); no transcript
shows them. A session is added from a configuration file (iscsi.conf(5)) that only root reads, because arguments, and so
a secret, stand in the process list.
"""

import re
from dataclasses import dataclass

from beastack.freebsd import libxo
from beastack.freebsd.errors import UnexpectedOutput
from beastack.freebsd.host import Host

_TARGET = re.compile(r"(iqn|eui|naa)\.[A-Za-z0-9.:_-]{1,219}")
_PORTAL = re.compile(r"(\d{1,3}(\.\d{1,3}){3}|\[[0-9A-Fa-f:.]{2,45}\]):\d{1,5}")
# Printable without blanks and what iscsi.conf(5) gives a meaning to.
_WORD = re.compile(r"[A-Za-z0-9!$%&()*+,./:<>?@^_~-]{1,255}")
_DEVICE = re.compile(r"da\d{1,6}")
_NICK = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Login:
    """What a session needs; ``user`` and ``secret`` for CHAP, or both empty. Raises ValueError."""

    target: str
    portal: str
    user: str = ""
    secret: str = ""

    def __post_init__(self) -> None:
        if _TARGET.fullmatch(self.target) is None:
            raise ValueError(f"{self.target!r} is no iSCSI target")
        if _PORTAL.fullmatch(self.portal) is None:
            raise ValueError(f"{self.portal!r} is no iSCSI portal (ADDRESS:PORT)")
        if bool(self.user) != bool(self.secret):
            raise ValueError("iSCSI: a user without a secret, or a secret without a user")
        for value in (self.user, self.secret):
            if value and _WORD.fullmatch(value) is None:
                raise ValueError("iSCSI: the user or the secret has a character that iscsi.conf(5) cannot hold")

    def configuration(self, nickname: str) -> str:
        """A section of iscsi.conf(5). Raises ValueError for a bad nickname."""
        if _NICK.fullmatch(nickname) is None:
            raise ValueError(f"{nickname!r} is no nickname")
        lines = [f'TargetName = "{self.target}"', f'TargetAddress = "{self.portal}"']
        if self.user:
            lines += ["AuthMethod = CHAP", f'chapIName = "{self.user}"', f'chapSecret = "{self.secret}"']
        return "".join([f"{nickname} {{\n", *(f"\t{line}\n" for line in lines), "}\n"])


@dataclass(frozen=True, slots=True)
class Session:
    """One session; ``disks`` by logical unit, such as {0: "da0"}."""

    target: str
    portal: str
    state: str
    disks: dict[int, str]


def parse_sessions(text: str, argv: tuple[str, ...] = ("iscsictl",)) -> list[Session]:
    """``iscsictl --libxo json -L``; without sessions the list is missing. Raises UnexpectedOutput."""
    found = []
    for row in libxo.rows(text, argv, "iscsictl", "session", optional=True):
        disks = {}
        if row.has("devices"):
            for lun in row.below("devices").rows("lun"):
                name = lun.text("device")
                if _DEVICE.fullmatch(name):
                    disks[lun.number("lun")] = name
        found.append(Session(row.text("name"), row.text("portal"), row.text("state"), disks))
    return found


def list_sessions(host: Host) -> list[Session]:
    """Every session."""
    done = host.run(["iscsictl", "--libxo", "json", "-L"])
    return parse_sessions(done.out, done.argv)


def find(host: Host, login: Login) -> Session | None:
    """The session with this target at this portal."""
    wanted = (login.target, login.portal.removesuffix(":3260"))
    for session in list_sessions(host):
        if (session.target, session.portal.removesuffix(":3260")) == wanted:
            return session
    return None


def add(host: Host, nickname: str, file: str) -> None:
    """Begin the session that a configuration file of root's describes; the daemon logs in by itself."""
    host.run(["iscsictl", "-A", "-n", nickname, "-c", file])


def remove(host: Host, target: str) -> None:
    """End the sessions with a target; none is fine. Raises UnexpectedOutput."""
    if any(session.target == target for session in list_sessions(host)):
        done = host.run(["iscsictl", "-R", "-t", target])
        if done.out.strip():
            raise UnexpectedOutput(done.argv, done.out, "nothing")
