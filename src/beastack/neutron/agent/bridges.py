"""One bridge a network, ``brq`` + 11 characters of its id, with the physical network's card as a member.

A bridge is there while a port of its network is; a card can be in one bridge only, as there is one flat network on it.
"""

from collections.abc import Mapping
from typing import Any

from neutron_lib import constants
from oslo_log import log as logging

from beastack.freebsd.host import Host
from beastack.freebsd.ifnet import GROUP
from beastack.freebsd.ifnet_read import Interface, list_interfaces
from beastack.neutron.agent.devices import PREFIX, bridge_of
from beastack.neutron.mech_freebsdbridge import BRIDGE_PREFIX, bridge_name
from beastack.privsep import interfaces as privileged

LOG = logging.getLogger(__name__)


class CannotPlug(Exception):
    """A port cannot be wired; the text says why."""


def _idle(interfaces: Mapping[str, Interface], name: str) -> bool:
    """A bridge of ours without a port."""
    bridge = interfaces.get(name)
    ours = bridge is not None and name.startswith(BRIDGE_PREFIX) and GROUP in bridge.groups
    return bridge is not None and ours and not any(m.startswith(PREFIX) for m in bridge.members)


class Bridges:
    """Bridges of this host. The caller sees to it that one thing happens at a time."""

    def __init__(self, host: Host, mappings: Mapping[str, str]) -> None:
        self._host = host
        self._mappings = mappings

    def ensure(self, network_id: str, segment: Any) -> str:
        """The network's bridge with its uplink; returns its name. Raises CannotPlug."""
        if segment.network_type != constants.TYPE_FLAT:
            raise CannotPlug(f"network type {segment.network_type!r} is not built here; 'flat' is")
        nic = self._mappings.get(segment.physical_network)
        if nic is None:
            raise CannotPlug(f"physical network {segment.physical_network!r} has no interface on this host")
        name = bridge_name(network_id)
        interfaces = list_interfaces(self._host)
        if nic not in interfaces:
            raise CannotPlug(f"interface {nic} of physical network {segment.physical_network!r} is not there")
        current = bridge_of(interfaces, nic)
        if current not in (None, name):
            if not _idle(interfaces, str(current)):
                raise CannotPlug(f"interface {nic} is a member of {current}: one flat network on a physical network")
            privileged.destroy_bridge(str(current))
            current = None
        privileged.ensure_bridge(name, f"beastack:network:{network_id}")
        if current is None:
            privileged.attach_member(name, nic)
        return name

    def attach(self, bridge: str, device: str) -> None:
        """Make a port a member and bring it up."""
        current = bridge_of(list_interfaces(self._host), device)
        if current not in (None, bridge):
            privileged.detach_member(str(current), device)
        privileged.attach_member(bridge, device)

    def detach(self, device: str) -> None:
        """Take a port out of whatever bridge of ours it is in."""
        current = bridge_of(list_interfaces(self._host), device)
        if current is not None and current.startswith(BRIDGE_PREFIX):
            privileged.detach_member(current, device)

    def sweep(self) -> None:
        """Remove the bridges of ours that have no port."""
        interfaces = list_interfaces(self._host)
        for name in sorted(interfaces):
            if _idle(interfaces, name):
                LOG.info("Bridge %s has no port and is removed", name)
                privileged.destroy_bridge(name)
