"""A port in a jail, of DHCP or of a router: an epair(4).

Its host end is ``tap`` + 11 characters of the port's id, which the bridge agent plugs; its jail end has a prefix of
the jail's kind and the same characters.
"""

import ipaddress

from beastack.freebsd import ifnet, jail
from beastack.freebsd.errors import HostError, NoSuchJail
from beastack.freebsd.host import LocalHost
from beastack.freebsd.ifnet_read import list_interfaces
from beastack.privsep import checks, switch_ports

HOST = LocalHost()
MOST_ADDRESSES = 2048
_LINK_LOCAL_6 = ipaddress.ip_network("fe80::/10")


def ends(port_id: object, prefix: str) -> tuple[str, str]:
    """Names of the host end and the jail end."""
    short = checks.uuid(port_id)[:11]
    return f"tap{short}", f"{prefix}{short}"


def destroy_pair(outer: str) -> None:
    """Destroy a jail's port by its host end; gone is fine.

    A guest's tap has a name of the same form. It is not this agent's, whatever port it names.
    """
    found = ifnet.find(HOST, outer)
    if found is not None and "epair" not in found.groups:
        raise checks.Refused(f"interface: {outer} is no epair: a guest's, not a jail's")
    switch_ports.unplug_if_switched(HOST, outer)
    ifnet.destroy(HOST, outer)


def make_pair(name: str, outer: str, inner: str, port_id: str) -> None:
    """A pair whose jail end is elsewhere or half-made is made anew: nothing but a crash leaves one."""
    destroy_pair(outer)
    made = ifnet.ensure_epair(HOST, outer, f"beastack:port:{port_id}")
    if made is None:
        raise checks.Refused(f"{outer}: made by somebody else at the same time")
    try:
        ifnet.move_to_jail(HOST, made, name)
        ifnet.rename(HOST.jail(name), made, inner)
    except HostError:
        destroy_pair(outer)
        raise


def ensure(name: str, port_id: str, prefix: str, bridge: str | None, mac: str, mtu: int) -> None:
    """The port's pair with one end in the jail ``name`` under its name, MAC and MTU (bytes), both ends up.

    ``bridge`` is where the host end may be already: a bridge rules its members' MTU, and one alone cannot be changed
    (02). None: whichever bridge it is in.
    """
    outer, inner = ends(port_id, prefix)
    inside = HOST.jail(name)
    present = ifnet.find(inside, inner)
    if present is None:
        make_pair(name, outer, inner, port_id)
    if present is None or present.mac != mac:
        ifnet.set_mac(inside, inner, mac)
    if not _is_member(outer, bridge):
        ifnet.set_mtu(HOST, outer, mtu)
    if present is None or present.mtu != mtu:
        ifnet.set_mtu(inside, inner, mtu)
    if present is None or not present.is_up:
        ifnet.set_up(inside, inner)
    # up behind its guard only
    if not switch_ports.plug_if_switched(HOST, outer, port_id, mac):
        ifnet.set_up(HOST, outer)


def _is_member(outer: str, bridge: str | None) -> bool:
    if bridge is None:
        return ifnet.bridge_of(HOST, outer) is not None
    found = ifnet.find(HOST, bridge)
    return found is not None and outer in found.members


def names(name: str, prefixes: tuple[str, ...]) -> list[str]:
    """Names of the ports' interfaces in the jail; empty when it is gone."""
    try:
        return sorted(n for n in list_interfaces(HOST.jail(name)) if n.startswith(prefixes))
    except NoSuchJail:
        return []


def remove_jail(name: str, prefixes: tuple[str, ...]) -> None:
    """Destroy the jail's ports with their host ends, end its processes and remove it; gone is fine."""
    for inner in names(name, prefixes):
        destroy_pair(checks.tap_name(f"tap{inner[3:]}"))
    jail.remove(HOST, name)


def set_addresses(name: str, interface: str, cidrs: object) -> None:
    """Give a jail's interface exactly these addresses (``address/length``); link-local IPv6 ones stay."""
    inside = HOST.jail(name)
    wanted = {checks.cidr(c) for c in checks.items(cidrs, MOST_ADDRESSES, "addresses")}
    found = ifnet.find(inside, interface)
    if found is None:
        raise checks.Refused(f"interface: {interface} is not in jail {name}")
    present = {c for c in [*found.inet, *found.inet6] if ipaddress.ip_interface(c).ip not in _LINK_LOCAL_6}
    for cidr in sorted(present - wanted):
        ifnet.remove_address(inside, interface, cidr)
    # a network's own address before the single ones of the same network
    for cidr in sorted(wanted - present, key=lambda c: (ipaddress.ip_interface(c).network.prefixlen, c)):
        ifnet.add_address(inside, interface, cidr)
