"""One bridge a network, ``brq`` + 11 characters of its id, with the network's way out of the host as a member.

flat: the physical network's card itself, or the operator's own bridge instead of ours. vlan: ``vln`` + 11 characters, a
vlan(4) child of the card. vxlan: ``vxl`` + 11 characters, a tunnel (``tunnels``). local: none.

A bridge and its way out are there while a port of the network is. What is right already is found so by one look at the
host, and nothing is asked of the privileged side then: a start does not touch what works.
"""

import ipaddress
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from neutron_lib import constants
from oslo_log import log as logging

from beastack.freebsd import vxlan
from beastack.freebsd.bridge import UNTAGGED
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet import GROUP
from beastack.freebsd.ifnet_lines import Vlan
from beastack.freebsd.ifnet_read import Interface, list_interfaces
from beastack.neutron.agent.devices import PREFIX, bridge_of
from beastack.neutron.mech_freebsdbridge import BRIDGE_PREFIX, bridge_name
from beastack.privsep import interfaces as privileged
from beastack.privsep import uplinks

LOG = logging.getLogger(__name__)
VLAN_PREFIX, VXLAN_PREFIX = "vln", "vxl"
# Bytes that the tunnel adds to a frame's MTU: IP, UDP, VXLAN and the inner Ethernet header.
OVERHEAD = {4: 50, 6: 70}


class CannotPlug(Exception):
    """A port cannot be wired; the text says why."""


@dataclass(frozen=True)
class Ways:
    """What the configuration says of the ways out of this host.

    ``cards`` and ``adopted`` are physical network -> card, and -> bridge of the operator's.
    """

    cards: Mapping[str, str]
    adopted: Mapping[str, str] = field(default_factory=dict)
    tunnel_address: str = ""
    tunnel_group: str = ""

    @property
    def types(self) -> list[str]:
        """Network types that this host can serve."""
        found = [constants.TYPE_LOCAL]
        if self.cards or self.adopted:
            found.append(constants.TYPE_FLAT)
        if self.cards:
            found.append(constants.TYPE_VLAN)
        if self.tunnel_address:
            found.append(constants.TYPE_VXLAN)
        return found

    def tunnel(self, vni: int) -> vxlan.Spec:
        """The tunnel of a network, as the privileged side makes it (privsep/uplinks.py)."""
        if self.tunnel_group:
            return vxlan.Spec(vni, self.tunnel_address, self.tunnel_group, device="any")
        return vxlan.Spec(vni, self.tunnel_address, self.tunnel_address, remote_port=vxlan.FLOOD_PORT, learn=False)


@dataclass(frozen=True)
class Wired:
    """A network on this host: its bridge, and its tunnel's number. ``fresh``: the tunnel was made now, empty."""

    bridge: str
    vni: int | None = None
    fresh: bool = False


def uplink_name(prefix: str, network_id: str) -> str:
    """The interface by which a network leaves the host."""
    return prefix + network_id[:11]


def ways_out(interfaces: Mapping[str, Interface]) -> list[str]:
    """The VLANs and tunnels of ours."""
    return [n for n, i in interfaces.items() if n.startswith((VLAN_PREFIX, VXLAN_PREFIX)) and GROUP in i.groups]


def _idle(interfaces: Mapping[str, Interface], name: str) -> bool:
    """A bridge of ours without a port."""
    bridge = interfaces.get(name)
    ours = bridge is not None and name.startswith(BRIDGE_PREFIX) and GROUP in bridge.groups
    return bridge is not None and ours and not any(m.startswith(PREFIX) for m in bridge.members)


class Bridges:
    """Bridges of this host. The caller sees to it that one thing happens at a time."""

    def __init__(self, host: Host, ways: Ways) -> None:
        self._host = host
        self._ways = ways
        self._warned: set[int] = set()

    def ensure(self, network_id: str, segment: Any, seen: Mapping[str, Interface] | None = None) -> Wired:
        """The network's bridge with its way out. ``seen`` is a fresh look at the host. Raises CannotPlug."""
        kind = segment.network_type
        if kind not in self._ways.types:
            raise CannotPlug(f"network type {kind!r} is not built here; {', '.join(self._ways.types)}: yes")
        interfaces = seen if seen is not None else list_interfaces(self._host)
        if kind == constants.TYPE_FLAT and segment.physical_network in self._ways.adopted:
            return self._adopted(segment, interfaces)
        name = bridge_name(network_id)
        vni = int(segment.segmentation_id) if kind == constants.TYPE_VXLAN else None
        if self._is_right(interfaces, network_id, segment):
            return Wired(name, vni)
        interfaces = list_interfaces(self._host)
        mark = f"beastack:network:{network_id}"
        found = interfaces.get(name)
        if found is not None and GROUP in found.groups and found.description not in (None, mark):
            raise CannotPlug(f"bridge {name} is of another network ({found.description})")
        card = self._card(segment, interfaces) if kind in (constants.TYPE_FLAT, constants.TYPE_VLAN) else ""
        if kind == constants.TYPE_FLAT:
            self._release(card, name, segment.physical_network, interfaces)
        privileged.ensure_bridge(name, mark)
        fresh = False
        mtu = int(segment.mtu or 1500)
        if kind == constants.TYPE_FLAT:
            privileged.attach_member(name, card)
        elif kind == constants.TYPE_VLAN:
            uplinks.ensure_vlan(network_id, card, int(segment.segmentation_id), mtu)
        elif vni is not None:
            self._check_underlay(mtu, interfaces)
            fresh = uplinks.ensure_vxlan(network_id, vni, mtu)
        if kind != constants.TYPE_FLAT:
            self._set_mtu(name, segment.mtu)
        return Wired(name, vni, fresh)

    def _uplink(self, network_id: str, segment: Any) -> str | None:
        """The bridge member by which a network leaves the host."""
        kind = segment.network_type
        if kind == constants.TYPE_FLAT:
            return self._ways.cards.get(segment.physical_network)
        prefix = {constants.TYPE_VLAN: VLAN_PREFIX, constants.TYPE_VXLAN: VXLAN_PREFIX}.get(kind)
        return uplink_name(prefix, network_id) if prefix else None

    def _is_right(self, interfaces: Mapping[str, Interface], network_id: str, segment: Any) -> bool:
        """Whether the bridge and its way out are as they should be."""
        bridge = interfaces.get(bridge_name(network_id))
        if bridge is None or GROUP not in bridge.groups or not bridge.is_up:
            return False
        if bridge.description != f"beastack:network:{network_id}":
            return False
        kind = segment.network_type
        if kind != constants.TYPE_FLAT and segment.mtu and bridge.members and bridge.mtu != segment.mtu:
            return False
        # before 15.0 bridges show no flags and cannot filter tags (freebsd/bridge.py)
        if bridge.bridge_flags is not None and bridge.members:
            tags = any(member.untagged != UNTAGGED or member.tagged for member in bridge.members.values())
            if tags or "VLANFILTER" not in bridge.bridge_flags:
                return False
        name = self._uplink(network_id, segment)
        if name is None:
            return kind == constants.TYPE_LOCAL
        uplink = interfaces.get(name)
        if uplink is None or not uplink.is_up or name not in bridge.members:
            return False
        if kind == constants.TYPE_VLAN:
            card = self._ways.cards.get(segment.physical_network)
            return uplink.vlan == Vlan(int(segment.segmentation_id), card)
        if kind == constants.TYPE_VXLAN:
            spec = self._ways.tunnel(int(segment.segmentation_id))
            return uplink.vxlan == spec.shown and "RUNNING" in uplink.flags
        return not segment.mtu or uplink.mtu >= segment.mtu

    def _card(self, segment: Any, interfaces: Mapping[str, Interface]) -> str:
        """The physical network's card, when it can carry the segment. Raises CannotPlug."""
        physical = segment.physical_network
        card = self._ways.cards.get(physical)
        if card is None:
            if physical in self._ways.adopted:
                raise CannotPlug(
                    f"physical network {physical!r} is the bridge {self._ways.adopted[physical]} here: flat only"
                )
            raise CannotPlug(f"physical network {physical!r} has no interface on this host")
        found = interfaces.get(card)
        if found is None:
            raise CannotPlug(f"interface {card} of physical network {physical!r} is not there")
        if segment.mtu and found.mtu < segment.mtu:
            raise CannotPlug(
                f"the network's MTU is {segment.mtu}, and that of {card} {found.mtu}: frames would be lost"
            )
        self._check_sharing(segment.network_type, card, interfaces)
        return card

    def _check_sharing(self, kind: str, card: str, interfaces: Mapping[str, Interface]) -> None:
        """Before 15.0 a bridge takes its member's tagged frames too, and the card's vlan(4) children hear nothing."""
        bridges = [i for i in interfaces.values() if "bridge" in i.groups or i.name.startswith(BRIDGE_PREFIX)]
        if not bridges or any(bridge.bridge_flags is not None for bridge in bridges):
            return
        bridge = bridge_of(interfaces, card)
        if kind == constants.TYPE_VLAN and bridge is not None and not _idle(interfaces, bridge):
            raise CannotPlug(
                f"{card} is a member of {bridge}: before FreeBSD 15 a card carries VLANs or a flat network"
            )
        children = [n for n, i in interfaces.items() if i.vlan is not None and i.vlan.parent == card]
        if kind == constants.TYPE_FLAT and children:
            raise CannotPlug(f"{card} carries VLANs ({', '.join(children)}): before FreeBSD 15 no flat network beside")

    def _release(self, card: str, wanted: str, physical: str, interfaces: Mapping[str, Interface]) -> None:
        """Take a card from an idle bridge of ours. Raises CannotPlug when it is in use."""
        current = bridge_of(interfaces, card)
        if current in (None, wanted):
            return
        if not str(current).startswith(BRIDGE_PREFIX):
            raise CannotPlug(
                f"interface {card} is a member of {current}, which is not Beastack's: say bridge_mappings = "
                f"{physical}:{current} to let ports join it"
            )
        if not _idle(interfaces, str(current)):
            raise CannotPlug(f"interface {card} is a member of {current}: one flat network on a physical network")
        privileged.destroy_bridge(str(current))

    def _adopted(self, segment: Any, interfaces: Mapping[str, Interface]) -> Wired:
        """A bridge of the operator's."""
        name = self._ways.adopted[segment.physical_network]
        bridge = interfaces.get(name)
        if bridge is None or "bridge" not in bridge.groups:
            raise CannotPlug(f"bridge {name} of physical network {segment.physical_network!r} is not there")
        if not bridge.is_up:
            raise CannotPlug(f"bridge {name} is down: it is the operator's and left so")
        if segment.mtu and bridge.mtu < segment.mtu:
            raise CannotPlug(
                f"the network's MTU is {segment.mtu}, and that of {name} {bridge.mtu}: frames would be lost"
            )
        return Wired(name)

    def _check_underlay(self, mtu: int, interfaces: Mapping[str, Interface]) -> None:
        """A tunnel whose frames do not fit works (they are cut in two), badly: said once."""
        address = self._ways.tunnel_address
        carrier = next((i for i in interfaces.values() if address in _addresses(i)), None)
        if carrier is None:
            raise CannotPlug(f"no interface has the tunnels' address {address}")
        need = mtu + OVERHEAD[ipaddress.ip_address(address).version]
        if carrier.mtu < need and mtu not in self._warned:
            self._warned.add(mtu)
            LOG.error(
                "MTU of %s is %d; vxlan networks of MTU %d need %d: their full frames travel in fragments",
                *(carrier.name, carrier.mtu, mtu, need),
            )

    def _set_mtu(self, name: str, mtu: int | None) -> None:
        """A bridge forces its MTU on its members: what the first one brought may be another network's default."""
        if not mtu:
            return
        bridge = list_interfaces(self._host).get(name)
        if bridge is not None and bridge.mtu != mtu:
            privileged.set_bridge_mtu(name, mtu)

    def attach(self, bridge: str, device: str, seen: Mapping[str, Interface] | None = None) -> None:
        """Make a port a member and bring it up."""
        if seen is not None and device in seen and bridge_of(seen, device) == bridge and seen[device].is_up:
            return
        current = bridge_of(list_interfaces(self._host), device)
        if current not in (None, bridge):
            privileged.detach_member(str(current), device)
        privileged.attach_member(bridge, device)

    def detach(self, device: str) -> None:
        """Take a port out of whatever bridge of ours, or adopted one, it is in."""
        current = bridge_of(list_interfaces(self._host), device)
        if current is not None and (current.startswith(BRIDGE_PREFIX) or current in self._ways.adopted.values()):
            privileged.detach_member(current, device)

    def reopen(self, interfaces: Mapping[str, Interface], filtered: Container[str]) -> list[str]:
        """Load the rules of ways out that have none (``filtered`` have some); returns their names."""
        lost = [name for name in ways_out(interfaces) if name not in filtered]
        for name in lost:
            uplinks.open_uplink(name)
        return lost

    def sweep(self) -> set[str]:
        """Remove the bridges of ours that have no port, with their ways out, and ways out that lead nowhere.

        Returns the bridges' names.
        """
        interfaces = list_interfaces(self._host)
        idle = {name for name in interfaces if _idle(interfaces, name)}
        ways = ways_out(interfaces)
        for name in sorted(interfaces):
            if name in ways and bridge_of(interfaces, name) in (None, *idle):
                LOG.info("%s serves no port and is removed", name)
                uplinks.destroy_uplink(name)
        for name in sorted(idle):
            LOG.info("Bridge %s has no port and is removed", name)
            privileged.destroy_bridge(name)
        return idle


def _addresses(interface: Interface) -> set[str]:
    return {text.partition("/")[0] for text in (*interface.inet, *interface.inet6)}
