"""Entry points for the vnet jails of DHCP, one a network, and their ports.

A port is an epair: its host end ``tap`` + 11 characters of the port's id, which the bridge agent plugs, its jail end
``ns-`` + the same.
"""

import ipaddress

from beastack.freebsd import ifnet, jail, route
from beastack.freebsd.errors import HostError, NoSuchJail
from beastack.freebsd.host import LocalHost
from beastack.freebsd.ifnet_read import list_interfaces
from beastack.privsep import checks
from beastack.privsep.context import entry, query

HOST = LocalHost()
PREFIX = "qdhcp-"
# Jails that this side makes at most; each is a network stack of some megabytes in the kernel.
MOST_JAILS = 1000


def _jail(network_id: object) -> str:
    return PREFIX + checks.uuid(network_id)


def _ends(port_id: object) -> tuple[str, str]:
    short = checks.uuid(port_id)[:11]
    return f"tap{short}", f"ns-{short}"


@entry
def ensure_dhcp_jail(network_id: str) -> None:
    """The network's jail, with its loopback up."""
    name = _jail(network_id)
    known = [n for n in jail.list_jails(HOST) if n.startswith(PREFIX)]
    if name not in known and len(known) >= MOST_JAILS:
        raise checks.Refused(f"jail: there are {len(known)} already")
    jail.ensure_vnet(HOST, name)


def _destroy_pair(outer: str) -> None:
    """Destroy a jail's port by its host end; gone is fine.

    A guest's tap has a name of the same form. It is not this agent's, whatever port it names.
    """
    found = ifnet.find(HOST, outer)
    if found is not None and "epair" not in found.groups:
        raise checks.Refused(f"interface: {outer} is no epair: a guest's, not a jail's")
    ifnet.destroy(HOST, outer)


@entry
def remove_dhcp_jail(network_id: str) -> None:
    """Destroy the jail's ports with their host ends, end its processes and remove it; gone is fine."""
    name = _jail(network_id)
    try:
        ports = [n for n in list_interfaces(HOST.jail(name)) if n.startswith("ns-")]
    except NoSuchJail:
        return
    for inner in ports:
        _destroy_pair(checks.tap_name(f"tap{inner[3:]}"))
    jail.remove(HOST, name)


@query
def list_dhcp_jails() -> list[str]:
    """Ids of the networks that have a jail here."""
    return sorted(name.removeprefix(PREFIX) for name in jail.list_jails(HOST) if name.startswith(PREFIX))


@entry
def ensure_jail_port(network_id: str, port_id: str, mac: str, mtu: int) -> None:
    """The port's epair, with one end in the jail under its name, MAC and MTU (bytes), both ends up."""
    name = _jail(network_id)
    outer, inner = _ends(port_id)
    mac, mtu = checks.mac(mac), checks.mtu(mtu)
    inside = HOST.jail(name)
    present = ifnet.find(inside, inner)
    if present is None:
        _make_pair(name, outer, inner, port_id)
    if present is None or present.mac != mac:
        ifnet.set_mac(inside, inner, mac)
    # the bridge rules its members' MTU, and one alone cannot be changed (02)
    bridge = ifnet.find(HOST, f"brq{network_id[:11]}")
    if bridge is None or outer not in bridge.members:
        ifnet.set_mtu(HOST, outer, mtu)
    if present is None or present.mtu != mtu:
        ifnet.set_mtu(inside, inner, mtu)
    if present is None or not present.is_up:
        ifnet.set_up(inside, inner)
    ifnet.set_up(HOST, outer)


def _make_pair(name: str, outer: str, inner: str, port_id: str) -> None:
    """A pair whose jail end is elsewhere or half-made is made anew: nothing but a crash leaves one."""
    _destroy_pair(outer)
    made = ifnet.ensure_epair(HOST, outer, f"beastack:port:{port_id}")
    if made is None:
        raise checks.Refused(f"{outer}: made by somebody else at the same time")
    try:
        ifnet.move_to_jail(HOST, made, name)
        ifnet.rename(HOST.jail(name), made, inner)
    except HostError:
        _destroy_pair(outer)
        raise


@entry
def remove_jail_port(network_id: str, port_id: str) -> None:
    """Destroy the port's epair; gone is fine."""
    checks.uuid(network_id)
    _destroy_pair(_ends(port_id)[0])


@query
def list_jail_ports(network_id: str) -> list[str]:
    """Names of the jail's port interfaces (ns-…); empty when the jail is gone."""
    try:
        return sorted(n for n in list_interfaces(HOST.jail(_jail(network_id))) if n.startswith("ns-"))
    except NoSuchJail:
        return []


@entry
def set_jail_addresses(network_id: str, port_id: str, cidrs: list[str]) -> None:
    """Give the port exactly these addresses (``address/length``); link-local IPv6 ones stay."""
    inside, name = HOST.jail(_jail(network_id)), _ends(port_id)[1]
    wanted = {checks.cidr(c) for c in checks.items(cidrs, 256, "addresses")}
    interface = ifnet.find(inside, name)
    if interface is None:
        raise checks.Refused(f"interface: {name} is not in jail {PREFIX}{network_id}")
    present = {c for c in [*interface.inet, *interface.inet6] if ipaddress.ip_interface(c).ip not in _LINK_LOCAL_6}
    for cidr in sorted(present - wanted):
        ifnet.remove_address(inside, name, cidr)
    for cidr in sorted(wanted - present):
        ifnet.add_address(inside, name, cidr)


_LINK_LOCAL_6 = ipaddress.ip_network("fe80::/10")


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
