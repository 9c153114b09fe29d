"""What a host looks like before and after: everything that the suite could leave behind."""

import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from beastack.freebsd import jail
from beastack.freebsd.errors import HostError
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_read import list_interfaces

SYSCTLS = (
    "net.inet.ip.forwarding",
    "net.inet6.ip6.forwarding",
    "net.link.bridge.ipfw",
    "net.link.bridge.member_ifaddrs",
    "net.link.bridge.pfil_bridge",
    "net.link.bridge.pfil_local_phys",
    "net.link.bridge.pfil_member",
    "net.link.bridge.pfil_onlyip",
    "net.link.tap.up_on_open",
)
# changes by itself: carrier, and neighbours' answers to duplicate address detection
_VOLATILE = ("status",)


@dataclass(frozen=True)
class PfState:
    """pf as far as it can be set; None in Snapshot when the module is not loaded."""

    enabled: bool
    rules: tuple[str, ...]
    nat: tuple[str, ...]
    anchors: tuple[str, ...]
    tables: tuple[str, ...]
    limits: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """One host at one moment."""

    interfaces: dict[str, dict[str, Any]]
    jails: tuple[str, ...]
    sysctls: dict[str, str | None]
    modules: frozenset[str]
    nodes: frozenset[str]
    guests: frozenset[str]
    pools: frozenset[str]
    disks: frozenset[str]
    pf: PfState | None


def _lines(host: Host, *argv: str) -> tuple[str, ...]:
    """A listing's lines; none when the program refuses (its module is not there)."""
    done = host.run(argv, check=False)
    return tuple(line.strip() for line in done.out.splitlines()) if done.rc == 0 else ()


def modules(host: Host) -> frozenset[str]:
    """Loaded files, without the kernel's own."""
    found = (line.split() for line in host.run(["kldstat"]).out.splitlines()[1:])
    return frozenset(words[-1] for words in found if words and words[-1] != "kernel")


def has_module(host: Host, name: str) -> bool:
    """Loaded or compiled in."""
    return host.run(["kldstat", "-q", "-m", name], check=False).rc == 0


def nodes(host: Host) -> frozenset[str]:
    """Netgraph nodes that somebody made: ether nodes come with the interfaces, sockets with ngctl itself."""
    if not has_module(host, "ng_ether"):
        return frozenset()  # asking ngctl would load modules
    found = (re.match(r"\s*Name: (\S+)\s+Type: (\S+)", line) for line in _lines(host, "ngctl", "list"))
    return frozenset(f"{m[1]} ({m[2]})" for m in found if m and m[2] not in ("ether", "socket"))


def _pf(host: Host) -> PfState | None:
    status = host.run(["pfctl", "-s", "info"], check=False)
    if status.rc:
        return None
    return PfState(
        enabled="Status: Enabled" in status.out,
        rules=_lines(host, "pfctl", "-sr"),
        nat=_lines(host, "pfctl", "-s", "nat"),
        anchors=_lines(host, "pfctl", "-v", "-s", "Anchors"),
        tables=_lines(host, "pfctl", "-s", "Tables"),
        limits=_lines(host, "pfctl", "-s", "memory"),
    )


def _sysctl(host: Host, name: str) -> str | None:
    done = host.run(["sysctl", "-n", name], check=False)
    return done.out.strip() if done.rc == 0 else None


def _named(host: Host, *argv: str) -> frozenset[str]:
    """The names that a listing has; none where there is no such program."""
    try:
        return frozenset(" ".join(_lines(host, *argv)).split())
    except HostError:
        return frozenset()


def take(host: Host) -> Snapshot:
    """Look at everything once."""
    interfaces = {}
    for name, one in list_interfaces(host).items():
        interfaces[name] = {key: value for key, value in asdict(one).items() if key not in _VOLATILE}
    return Snapshot(
        interfaces=interfaces,
        jails=tuple(sorted(jail.list_jails(host))),
        sysctls={name: _sysctl(host, name) for name in SYSCTLS},
        modules=modules(host),
        nodes=nodes(host),
        guests=_named(host, "ls", "/dev/vmm"),
        pools=_named(host, "zpool", "list", "-H", "-o", "name"),
        disks=_named(host, "mdconfig", "-l"),
        pf=_pf(host),
    )


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """What is other than it was, in words. A module that the kernel keeps is not here: see ``kept``."""
    found = []
    for field in fields(Snapshot):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old == new or field.name == "modules":
            continue
        if isinstance(old, dict):
            for key in sorted(old.keys() | new.keys()):
                # a sysctl that came with a module which stays has its default
                if old.get(key) != new.get(key) and not (field.name == "sysctls" and old[key] is None):
                    found.append(f"{field.name}: {key}: was {old.get(key)}, is {new.get(key)}")
        elif field.name == "pf" and old is None:
            left = [n for n in ("enabled", "rules", "nat", "anchors", "tables") if getattr(new, n)]
            found += [f"pf: {name}: was not loaded, is {getattr(new, name)}" for name in left]
        else:
            found.append(f"{field.name}: was {old}, is {new}")
    found += [f"module {name} is gone" for name in sorted(before.modules - after.modules)]
    return found


def kept(before: Snapshot, after: Snapshot) -> list[str]:
    """Modules that were loaded meanwhile and that the kernel would not unload."""
    return sorted(after.modules - before.modules)
