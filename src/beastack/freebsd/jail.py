"""vnet jails that share the host's file system: where DHCP servers and routers live (jail(8), jls(8), jexec(8))."""

import re
from contextlib import suppress
from dataclasses import dataclass

from beastack.freebsd.errors import HostError, JailExists, NoSuchInterface, NoSuchJail, UnexpectedOutput
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet import return_from_jail
from beastack.freebsd.ifnet_read import list_interfaces
from beastack.freebsd.libxo import rows

# Seconds: removing a jail ends its processes first.
REMOVE_LIMIT = 30.0
_PARAMETERS = ("vnet", "persist", "allow.raw_sockets")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,254}")


@dataclass(frozen=True)
class Jail:
    """One running jail: its number, name, host name and whether it has its own network stack."""

    jid: int
    name: str
    hostname: str
    vnet: bool


def parse_jails(text: str, argv: tuple[str, ...] = ("jls",)) -> dict[str, Jail]:
    """``jls --libxo json -n`` by name. Raises UnexpectedOutput."""
    found = {}
    for row in rows(text, argv, "jail-information", "jail"):
        jail = Jail(row.number("jid"), row.text("name"), row.text("host.hostname"), row.text("vnet") == "new")
        if jail.name in found:
            raise UnexpectedOutput(argv, text, f"one jail called {jail.name}")
        found[jail.name] = jail
    return found


def list_jails(host: Host) -> dict[str, Jail]:
    """Every jail of the host, by name."""
    done = host.run(["jls", "--libxo", "json", "-n"])
    return parse_jails(done.out, done.argv)


def check_name(name: str) -> str:
    """The name itself, or ValueError: the kernel takes a number for a jail's number, a dot for a jail inside another
    and even a slash (03).
    """
    if _NAME.fullmatch(name) is None or name.isdecimal():
        raise ValueError(f"{name!r} is no name for a jail")
    return name


def ensure_vnet(host: Host, name: str) -> None:
    """A persistent vnet jail with its loopback up; one that was made now and cannot be finished is removed.

    Raises ValueError for a name that is none, UnexpectedOutput when the jail has no network stack of its own.
    """
    check_name(name)
    found = list_jails(host).get(name)
    if found is not None and not found.vnet:
        raise UnexpectedOutput(["jls"], str(found), f"jail {name} with a network stack of its own")
    mine = found is None
    try:
        if mine:
            try:
                host.run(["jail", "-c", f"name={name}", "path=/", f"host.hostname={name}", *_PARAMETERS])
            except JailExists:
                mine = False  # two callers met: this is the later one
        host.jail(name).run(["ifconfig", "lo0", "127.0.0.1/8", "up"])
    except HostError:
        if mine:
            with suppress(HostError):  # the first error is the one to tell
                host.run(["jail", "-r", name], timeout=REMOVE_LIMIT)
        raise


def remove(host: Host, name: str) -> None:
    """Move a jail's interfaces out, end its processes and remove it; one that is gone is fine."""
    try:
        inside = list_interfaces(host.jail(name))
    except NoSuchJail:
        return
    for interface in inside:
        if interface != "lo0":
            with suppress(NoSuchInterface, NoSuchJail):  # it went meanwhile, as the other half of an epair may
                return_from_jail(host, interface, name)
    with suppress(NoSuchJail):
        host.run(["jail", "-r", name], timeout=REMOVE_LIMIT)
