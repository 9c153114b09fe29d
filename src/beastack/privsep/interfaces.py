"""Entry points for bridges and taps (ifconfig(8)): those of our names and marks, and the configured network cards."""

from oslo_config import cfg

from beastack.freebsd import bridge as bridges
from beastack.freebsd import ifnet
from beastack.freebsd.errors import NoSuchInterface
from beastack.freebsd.host import LocalHost
from beastack.freebsd.ifnet_read import Interface, get_interface
from beastack.privsep import checks, conf, switch_ports
from beastack.privsep.context import entry
from beastack.privsep.held_taps import HOLDING

HOST = LocalHost()


def allowed_card(value: object, bridge: str) -> str:
    """A network card that the configuration names, and not for another network than this bridge's."""
    cards = conf.network_cards(conf.register(cfg.CONF))
    name = checks.nic_name(value, cards)
    network = cards[name]
    if network is not None and bridge != f"brq{checks.uuid(network)[:11]}":
        raise checks.Refused(f"network card: {name} is tied to network {network}, not to {bridge}")
    return name


def _bridge(value: object, adopted: bool = True) -> Interface:
    """A bridge brq… of ours, or one of the operator's that the configuration lets ports join."""
    if adopted and value in conf.register(cfg.CONF).adopted_bridges:
        found = get_interface(HOST, str(value))
        if "bridge" not in found.groups:
            raise checks.Refused(f"bridge: {value} is none")
        return found
    return ifnet.require_ours(HOST, checks.bridge_name(value))


@entry
def ensure_bridge(name: str, description: str) -> None:
    """A bridge brq… that is up, with this description (beastack:network:UUID)."""
    name = checks.bridge_name(name)
    ifnet.ensure_bridge(HOST, name, checks.description_of(description, "network", name))


@entry
def destroy_bridge(name: str) -> None:
    """Destroy a bridge of ours that has no port; gone is fine."""
    found = ifnet.find(HOST, checks.bridge_name(name))
    ports = [] if found is None else [m for m in found.members if m.startswith("tap")]
    if ports:
        raise checks.Refused(f"bridge: {name} has ports: {', '.join(sorted(ports))}")
    ifnet.destroy(HOST, name)


@entry
def attach_member(bridge: str, interface: str) -> None:
    """Make a tap… of ours or an allowed network card a member of a bridge of ours, and bring it up."""
    tap = isinstance(interface, str) and interface.startswith("tap")
    member = checks.tap_name(interface) if tap else allowed_card(interface, checks.bridge_name(bridge))
    found = _bridge(bridge, adopted=tap)
    seen = ifnet.require_ours(HOST, member) if tap else get_interface(HOST, member)
    if ifnet.GROUP in found.groups:
        bridges.attach_untagged(HOST, found.name, member, found)
    elif member not in found.members:
        ifnet.attach_member(HOST, found.name, member)
    if not seen.is_up:
        ifnet.set_up(HOST, member)


@entry
def detach_member(bridge: str, interface: str) -> None:
    """Take a tap… out of a bridge of ours, or the held; gone is fine. A network card leaves with its bridge only."""
    tap = checks.tap_name(interface)
    try:
        name = ifnet.require_ours(HOST, bridge).name if bridge == HOLDING else _bridge(bridge).name
    except NoSuchInterface:
        return
    ifnet.detach_member(HOST, name, tap)


@entry
def set_bridge_mtu(name: str, mtu: int) -> None:
    """Set the MTU (bytes) of a bridge of ours and of all its members; of one with a network card in it never."""
    name, mtu = checks.bridge_name(name), checks.mtu(mtu)
    found = ifnet.require_ours(HOST, name)
    if cards := sorted(set(found.members) & set(conf.network_cards(conf.register(cfg.CONF)))):
        raise checks.Refused(f"bridge: {name} has {', '.join(cards)}, which keeps the MTU that the operator gave it")
    ifnet.set_mtu(HOST, name, mtu)


@entry
def ensure_tap(name: str, description: str, mtu: int) -> None:
    """A tap… that is up, with this description (beastack:port:UUID) and MTU (bytes)."""
    name = checks.tap_name(name)
    ifnet.ensure_tap(HOST, name, checks.description_of(description, "port", name), checks.mtu(mtu))


@entry
def destroy_interface(name: str) -> None:
    """Destroy a tap… of ours, be it tap(4) or epair(4); gone is fine."""
    tap = checks.tap_name(name)
    switch_ports.unplug_if_switched(HOST, tap)
    ifnet.destroy(HOST, tap)


@entry
def set_mtu(name: str, mtu: int) -> None:
    """Set the MTU (bytes) of a tap… of ours."""
    name, mtu = checks.tap_name(name), checks.mtu(mtu)
    ifnet.require_ours(HOST, name)
    ifnet.set_mtu(HOST, name, mtu)


@entry
def set_up(name: str) -> None:
    """Bring a tap… of ours up."""
    ifnet.set_up(HOST, ifnet.require_ours(HOST, checks.tap_name(name)).name)
