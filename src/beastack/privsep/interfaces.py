"""Entry points for bridges and taps."""

from oslo_config import cfg

from beastack.freebsd import ifnet
from beastack.freebsd.host import LocalHost
from beastack.privsep import checks, conf
from beastack.privsep.context import entry

HOST = LocalHost()


def _member(value: object) -> str:
    """What may be a bridge's member: an interface of ours, or a network card that the configuration names."""
    if isinstance(value, str) and value.startswith("tap"):
        return checks.interface_name(value)
    return checks.nic_name(value, conf.register(cfg.CONF).physical_interfaces)


@entry
def ensure_bridge(name: str, description: str) -> None:
    """A bridge brq… that is up, with this description."""
    ifnet.ensure_bridge(HOST, checks.bridge_name(name), checks.description(description))


@entry
def destroy_bridge(name: str) -> None:
    """Destroy a bridge of ours; gone is fine."""
    ifnet.destroy(HOST, checks.bridge_name(name))


@entry
def attach_member(bridge: str, interface: str) -> None:
    """Make a tap… or an allowed network card a member of a bridge of ours, and bring it up."""
    member, bridge = _member(interface), checks.bridge_name(bridge)
    if member not in ifnet.require_ours(HOST, bridge).members:
        ifnet.attach_member(HOST, bridge, member)
    ifnet.set_up(HOST, member)


@entry
def detach_member(bridge: str, interface: str) -> None:
    """Take a member out of a bridge of ours; gone is fine."""
    ifnet.detach_member(HOST, checks.bridge_name(bridge), _member(interface))


@entry
def ensure_tap(name: str, description: str, mtu: int) -> None:
    """A tap… that is up, with this description and MTU (bytes)."""
    ifnet.ensure_tap(HOST, checks.interface_name(name), checks.description(description), checks.mtu(mtu))


@entry
def destroy_interface(name: str) -> None:
    """Destroy a tap or epair of ours; gone is fine."""
    ifnet.destroy(HOST, checks.interface_name(name))


@entry
def set_mtu(name: str, mtu: int) -> None:
    """Set the MTU (bytes) of an interface of ours."""
    ifnet.set_mtu(HOST, checks.interface_name(name), checks.mtu(mtu))


@entry
def set_up(name: str) -> None:
    """Bring an interface of ours up."""
    ifnet.set_up(HOST, checks.interface_name(name))
