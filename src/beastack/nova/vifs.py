"""Ports of an instance as taps of the host. The L2 agent finds them by name and does everything behind
them.
"""

from collections.abc import Callable, Sequence
from typing import Any

from nova.conf import CONF
from oslo_log import log as logging

from beastack.privsep import interfaces, ovs
from nova import exception

LOG = logging.getLogger(__name__)
_DEFAULT_MTU = 1500
# vif types: of the bridge agent's mechanism driver, and of Open vSwitch's
KINDS = ("tap", "ovs")


def tap_name(vif: Any) -> str:
    """The host end's name: what neutron's server makes of a port's id (ml2/plugin.py, `tap` + 11
    characters).
    """
    return f"tap{vif['id'][:11]}"


def mtu(vif: Any) -> int | None:
    """What neutron says the network carries."""
    value = vif["network"].get_meta("mtu")
    return None if value is None else int(value)


def check(instance: Any, network_info: Any, kinds: Sequence[str] = ("tap",)) -> None:
    """Raises VirtualInterfacePlugException for ports that are not bound to a mechanism driver of these vif types."""
    for vif in network_info:
        if vif["type"] not in kinds:
            LOG.error("Port %s has vif_type %s", vif["id"], vif["type"], instance=instance)
            raise exception.VirtualInterfacePlugException(
                f"port {vif['id']} has vif_type {vif['type']!r}; the bhyve driver knows {', '.join(map(repr, kinds))}"
            )
        if vif["type"] == "ovs" and (vif.get("details") or {}).get("ovs_hybrid_plug"):
            raise exception.VirtualInterfacePlugException(f"port {vif['id']}: there is no hybrid plugging on FreeBSD")


def plug(instance: Any, network_info: Any) -> None:
    """A tap for each port; one that is there is kept. With Open vSwitch it is a port of ``br-int`` then."""
    check(instance, network_info, KINDS)
    for vif in network_info:
        interfaces.ensure_tap(tap_name(vif), f"beastack:port:{vif['id']}", mtu(vif) or _DEFAULT_MTU)
        if vif["type"] == "ovs":
            ovs.ovs_plug(tap_name(vif), vif["id"], vif["address"].lower(), instance.uuid)


def _failed(event: str, instance: Any) -> None:
    LOG.error("Neutron reported failure of %s", event, instance=instance)
    if CONF.vif_plugging_is_fatal:
        raise exception.VirtualInterfaceCreateException()


def plug_and_wait(virtapi: Any, instance: Any, network_info: Any, how: Callable[[Any, Any], None] = plug) -> None:
    """Plug, and wait until neutron says that every port is wired (as nova/virt/zvm/driver.py does)."""
    timeout = CONF.vif_plugging_timeout
    events = [("network-vif-plugged", vif["id"]) for vif in network_info if vif.get("active") is False]
    try:
        with virtapi.wait_for_instance_event(
            instance, events if timeout else [], timeout=timeout, error_callback=_failed
        ):
            how(instance, network_info)
    except exception.InstanceEventTimeout:
        LOG.warning("No network-vif-plugged within %s s: %s", timeout, events, instance=instance)
        if CONF.vif_plugging_is_fatal:
            raise exception.VirtualInterfaceCreateException() from None
