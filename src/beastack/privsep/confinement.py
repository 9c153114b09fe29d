"""The one table that says what each Linux capability of an oslo.privsep context means on FreeBSD, and what follows for
the context's daemon. Pure: values in, argument lists out. docs/privileges.md explains it.

FreeBSD has no capabilities that a process keeps one by one. It has root on the host, root in a jail (with ``allow.*``
parameters, jail(8)), and users. So a context gets the least of these that holds all of its capabilities:

- none: the service's own user, outside of any jail;
- only such as a jail can give: root in a jail, with a devfs(5) of its own and the ``allow.*`` that the table names;
- one that needs the host's kernel (network, mounts, modules, devices): root on the host. The list of entries is the
  boundary then, as for our own context.

What a jail keeps from root is in shared/freebsd/15.1/09-privilege.txt: without vnet no addresses, interfaces, routes,
sysctls, modules, mounts, clock, reboot or jails, and no process outside is seen. It still reaches /dev, so the jail
gets its own. FreeBSD has no mounts of one process only: a devfs mounted over /dev of a jail with ``path=/`` would
replace the host's. Therefore the jail's root is a nullfs(5) mount of ``/``, with the jail's devfs in it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from beastack.freebsd.devfs import Unhide
from beastack.privsep.checks import Refused


class Means(Enum):
    """What gives a capability on FreeBSD."""

    NOTHING = "no counterpart: nothing is given"
    USER = "every user has it, or none needs it"
    JAIL = "root in a jail"
    HOST = "root on the host"


@dataclass(frozen=True)
class Meaning:
    """One row: the means, and the jail's parameters that it needs."""

    means: Means
    parameters: tuple[str, ...] = ()


_ROOT = Meaning(Means.JAIL)
_HOST = Meaning(Means.HOST)
_NOTHING = Meaning(Means.NOTHING)
_NETWORK = ("ip4=inherit", "ip6=inherit")

# Linux: capabilities(7). FreeBSD: priv(9), prison_priv_check() in sys/kern/kern_jail.c, jail(8).
TABLE: dict[str, Meaning] = {
    "CAP_CHOWN": _ROOT,
    "CAP_DAC_OVERRIDE": _ROOT,
    "CAP_DAC_READ_SEARCH": _ROOT,
    "CAP_FOWNER": _ROOT,
    "CAP_FSETID": _ROOT,
    # of processes in the same jail; those outside are not seen (09: kill -0 1)
    "CAP_KILL": _ROOT,
    "CAP_SETGID": _ROOT,
    "CAP_SETUID": _ROOT,
    "CAP_SETPCAP": _NOTHING,
    "CAP_LINUX_IMMUTABLE": Meaning(Means.JAIL, ("allow.chflags",)),
    "CAP_NET_BIND_SERVICE": Meaning(Means.JAIL, (*_NETWORK, "allow.reserved_ports")),
    "CAP_NET_BROADCAST": Meaning(Means.JAIL, _NETWORK),
    "CAP_NET_ADMIN": _HOST,
    "CAP_NET_RAW": Meaning(Means.JAIL, (*_NETWORK, "allow.raw_sockets")),
    "CAP_IPC_LOCK": Meaning(Means.JAIL, ("allow.mlock",)),
    "CAP_IPC_OWNER": Meaning(Means.JAIL, ("allow.sysvipc",)),
    "CAP_SYS_MODULE": _HOST,
    "CAP_SYS_RAWIO": _HOST,
    "CAP_SYS_CHROOT": _ROOT,
    # of processes outside the jail, which is what contexts ask for it for
    "CAP_SYS_PTRACE": _HOST,
    "CAP_SYS_PACCT": _HOST,
    "CAP_SYS_ADMIN": _HOST,
    "CAP_SYS_BOOT": _HOST,
    "CAP_SYS_NICE": _HOST,
    "CAP_SYS_RESOURCE": _HOST,
    "CAP_SYS_TIME": Meaning(Means.JAIL, ("allow.settime", "allow.adjtime")),
    "CAP_SYS_TTY_CONFIG": _HOST,
    # no node that mknod(2) makes is a device outside of devfs; the jail's devfs has its ruleset
    "CAP_MKNOD": _NOTHING,
    "CAP_LEASE": _NOTHING,
    "CAP_AUDIT_WRITE": Meaning(Means.JAIL, ("allow.setaudit",)),
    "CAP_AUDIT_CONTROL": _HOST,
    "CAP_SETFCAP": _NOTHING,
    "CAP_MAC_OVERRIDE": _HOST,
    "CAP_MAC_ADMIN": _HOST,
    "CAP_SYSLOG": Meaning(Means.JAIL, ("allow.read_msgbuf",)),
    "CAP_WAKE_ALARM": _NOTHING,
    "CAP_BLOCK_SUSPEND": _NOTHING,
    "CAP_AUDIT_READ": _HOST,
    "CAP_PERFMON": _HOST,
    "CAP_BPF": _HOST,
    "CAP_CHECKPOINT_RESTORE": _HOST,
}

# What root in the jail has without being asked; taken unless a row gives it back.
_TAKEN = ("set_hostname", "reserved_ports", "unprivileged_proc_debug")
# The jail's devices: what programs of the base system open and nothing that reaches hardware, memory or the kernel's
# tables (not mem, kmem, io, pf, mdctl, vmm, bpf, zfs).
DEVICES = tuple(
    Unhide(path) for path in ("null", "zero", "random", "urandom", "fd", "fd/*", "stdin", "stdout", "stderr")
)
PREFIX = "bspriv-"
PROGRAM_LIMIT = 30.0


@dataclass(frozen=True)
class Verdict:
    """How a context's daemon runs: the means, and for a jail its parameters."""

    means: Means
    parameters: tuple[str, ...] = ()


def decide(names: Iterable[str]) -> Verdict:
    """What a context with these capabilities gets. Raises Refused for a capability that is not in the table."""
    rows = []
    for name in names:
        if name not in TABLE:
            raise Refused(f"capability {name}: what it means on FreeBSD is not known, so it is not given")
        rows.append(TABLE[name])
    if any(row.means is Means.HOST for row in rows):
        return Verdict(Means.HOST)
    wanted = {parameter for row in rows for parameter in row.parameters}
    if any(row.means is Means.JAIL for row in rows):
        return Verdict(Means.JAIL, _parameters(wanted))
    return Verdict(Means.USER)


def _parameters(wanted: set[str]) -> tuple[str, ...]:
    addresses = [p for p in _NETWORK if p in wanted] or ["ip4=disable", "ip6=disable"]
    taken = [f"allow.no{name}" for name in _TAKEN if f"allow.{name}" not in wanted]
    given = sorted(p for p in wanted if p.startswith("allow."))
    return (*addresses, "enforce_statfs=2", *taken, *given)


@dataclass(frozen=True)
class Place:
    """Where a confined daemon lives: the jail's name, its root folder, its devfs ruleset, folders shown besides ``/``.

    ``root`` ``/`` is for the simulated host, which has neither nullfs nor devfs.
    """

    name: str
    root: str
    ruleset: int
    folders: tuple[str, ...] = ()


def place(section: str, base: str, ruleset: int, folders: Sequence[str]) -> Place:
    """The place of a context's section, below the privileged side's folder ``base``. Raises Refused."""
    if not section.replace("_", "").isalnum() or len(section) > 48 or not section.isascii():
        raise Refused(f"context section {section!r} is no name for a jail")
    for folder in folders:
        path = PurePosixPath(folder)
        if not path.is_absolute() or ".." in path.parts or path == PurePosixPath("/"):
            raise Refused(f"[beastack] confined_folders: {folder!r} is not an absolute path below /")
    return Place(f"{PREFIX}{section}", f"{base}/{section}", ruleset, tuple(folders))


def mounts(where: Place) -> list[tuple[str, list[str]]]:
    """(mount point, mount(8) command), in the order in which they are made."""
    nullfs = ["mount", "-t", "nullfs"]
    found = [(where.root, [*nullfs, "/", where.root])]
    found += [(f"{where.root}{folder}", [*nullfs, folder, f"{where.root}{folder}"]) for folder in where.folders]
    point = devices(where)
    found.append((point, ["mount", "-t", "devfs", "-o", f"ruleset={where.ruleset}", "devfs", point]))
    return found


def devices(where: Place) -> str:
    """Where the jail's own devfs is mounted."""
    return f"{where.root}/dev"


def mounted(text: str) -> set[str]:
    """Mount points in what ``mount -p`` prints (fstab(5)); blanks in a name are ``\\040`` there."""
    lines = [line.split() for line in text.splitlines()]
    return {words[1].replace("\\040", " ") for words in lines if len(words) >= 3}


def create(where: Place, verdict: Verdict) -> list[str]:
    """jail(8): the jail. It has no network stack of its own (vnet), so it cannot change the host's."""
    name = f"name={where.name}"
    ruleset = f"devfs_ruleset={where.ruleset}"
    return [
        "jail",
        "-c",
        name,
        f"path={where.root}",
        f"host.hostname={where.name}",
        "persist",
        ruleset,
        *verdict.parameters,
    ]


def enter(where: Place, argv: Sequence[str]) -> list[str]:
    """jexec(8): ``argv`` in the jail."""
    return ["jexec", where.name, *argv]
