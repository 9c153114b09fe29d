"""vnet jails that share the host's file system: where DHCP servers and routers live (jail(8), jls(8), jexec(8))."""

import json
from contextlib import suppress
from dataclasses import dataclass

from beastack.freebsd.errors import JailExists, NoSuchJail, UnexpectedOutput
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet import return_from_jail
from beastack.freebsd.ifnet_read import list_interfaces

# Seconds: removing a jail ends its processes first.
REMOVE_LIMIT = 30.0


@dataclass(frozen=True)
class Jail:
    """One running jail: its number, name, host name and whether it has its own network stack."""

    jid: int
    name: str
    hostname: str
    vnet: bool


def parse_jails(text: str, argv: tuple[str, ...] = ("jls",)) -> dict[str, Jail]:
    """``jls --libxo json -n`` by name. Raises UnexpectedOutput."""
    try:
        rows = json.loads(text)["jail-information"]["jail"]
        return {
            row["name"]: Jail(int(row["jid"]), row["name"], row["host.hostname"], row["vnet"] == "new") for row in rows
        }
    except (ValueError, KeyError, TypeError) as e:
        raise UnexpectedOutput(argv, text, "jls's JSON with jail-information") from e


def list_jails(host: Host) -> dict[str, Jail]:
    """Every jail of the host, by name."""
    done = host.run(["jls", "--libxo", "json", "-n"])
    return parse_jails(done.out, done.argv)


def ensure_vnet(host: Host, name: str) -> None:
    """A persistent vnet jail with its loopback up."""
    if name not in list_jails(host):
        # two callers may meet: the later one finds the jail
        with suppress(JailExists):
            host.run(
                [
                    "jail",
                    "-c",
                    f"name={name}",
                    "path=/",
                    f"host.hostname={name}",
                    "vnet",
                    "persist",
                    "allow.raw_sockets",
                ]
            )
    host.jail(name).run(["ifconfig", "lo0", "127.0.0.1/8", "up"])


def remove(host: Host, name: str) -> None:
    """Move a jail's interfaces out, end its processes and remove it; one that is gone is fine."""
    try:
        inside = list_interfaces(host.jail(name))
    except NoSuchJail:
        return
    for interface in inside:
        if interface != "lo0":
            return_from_jail(host, interface, name)
    with suppress(NoSuchJail):
        host.run(["jail", "-r", name], timeout=REMOVE_LIMIT)
