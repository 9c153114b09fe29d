"""Entry points for the vnet jails of DHCP, one a network, and their ports (``jail_ports``; jail ends are ``ns-…``)."""

import ipaddress

from beastack.freebsd import jail, route
from beastack.freebsd.host import LocalHost
from beastack.privsep import checks, jail_ports
from beastack.privsep.context import entry, query

HOST = LocalHost()
PREFIX = "qdhcp-"
PORT = "ns-"
# Jails that this side makes at most; each is a network stack of some megabytes in the kernel.
MOST_JAILS = 1000


def _jail(network_id: object) -> str:
    return PREFIX + checks.uuid(network_id)


@entry
def ensure_dhcp_jail(network_id: str) -> None:
    """The network's jail, with its loopback up."""
    name = _jail(network_id)
    known = [n for n in jail.list_jails(HOST) if n.startswith(PREFIX)]
    if name not in known and len(known) >= MOST_JAILS:
        raise checks.Refused(f"jail: there are {len(known)} already")
    jail.ensure_vnet(HOST, name)


@entry
def remove_dhcp_jail(network_id: str) -> None:
    """Destroy the jail's ports with their host ends, end its processes and remove it; gone is fine."""
    jail_ports.remove_jail(_jail(network_id), (PORT,))


@query
def list_dhcp_jails() -> list[str]:
    """Ids of the networks that have a jail here."""
    return sorted(name.removeprefix(PREFIX) for name in jail.list_jails(HOST) if name.startswith(PREFIX))


@entry
def ensure_jail_port(network_id: str, port_id: str, mac: str, mtu: int) -> None:
    """The port's epair, with one end in the jail under its name, MAC and MTU (bytes), both ends up."""
    name, bridge = _jail(network_id), f"brq{network_id[:11]}"
    jail_ports.ends(port_id, PORT)
    jail_ports.ensure(name, port_id, PORT, bridge, checks.mac(mac), checks.mtu(mtu))


@entry
def remove_jail_port(network_id: str, port_id: str) -> None:
    """Destroy the port's epair; gone is fine."""
    checks.uuid(network_id)
    jail_ports.destroy_pair(jail_ports.ends(port_id, PORT)[0])


@query
def list_jail_ports(network_id: str) -> list[str]:
    """Names of the jail's port interfaces (ns-…); empty when the jail is gone."""
    return jail_ports.names(_jail(network_id), (PORT,))


@entry
def set_jail_addresses(network_id: str, port_id: str, cidrs: list[str]) -> None:
    """Give the port exactly these addresses (``address/length``); link-local IPv6 ones stay."""
    jail_ports.set_addresses(_jail(network_id), jail_ports.ends(port_id, PORT)[1], cidrs)


@entry
def set_jail_default_route(network_id: str, gateway: str | None, version: int = 4) -> None:
    """Make ``gateway`` the jail's default route of IPv4 or IPv6 (``version`` 4 or 6); None removes it."""
    name = _jail(network_id)
    if checks.number(version, 4, 6, "IP version") == 5:
        raise checks.Refused("IP version: 5 is none")
    wanted = None if gateway is None else checks.ip(gateway)
    if wanted is not None and ipaddress.ip_address(wanted).version != version:
        raise checks.Refused(f"gateway: {wanted} is not of IP version {version}")
    route.set_default(HOST.jail(name), wanted, version)
