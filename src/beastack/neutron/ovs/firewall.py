"""Firewall driver ``beastack_ovs`` (neutron.agent.firewall_drivers): upstream's flows, on a bridge that fails closed.

Which flows a port has is upstream's (neutron/agent/linux/openvswitch_firewall). Here: flows that cannot be sent are an
error, so that the agent reports no port up and tries again; and connections end in the userspace datapath, where
upstream would ask conntrack(8), which is Linux's and knows nothing of them.

Two flows are held to more: in ARP the sender that is announced is the frame's own (arp_sha), and a neighbour is
advertised with the MAC that may have the address (dl_src). Upstream looks at neither, so that a guest could have
another's frames sent to itself.
"""

from collections.abc import Iterable
from typing import Any

from neutron.agent.linux.openvswitch_firewall import firewall
from oslo_log import log as logging

from beastack.neutron.ovs.bridge import ClosedIntegrationBridge
from beastack.privsep import ovs

LOG = logging.getLogger(__name__)


class ClosedOvsFirewallDriver(firewall.OVSFirewallDriver):
    """Security groups of a FreeBSD host's Open vSwitch."""

    def __init__(self, integration_bridge: Any) -> None:
        if not isinstance(integration_bridge, ClosedIntegrationBridge):
            raise RuntimeError("[securitygroup] firewall_driver = beastack_ovs is for beastack-ovs-agent's bridge")
        super().__init__(integration_bridge)

    def _add_flow(self, flow_group_id: int | None = None, **flow: Any) -> None:
        """Upstream's, stricter for ARP and neighbour advertisements."""
        if "arp_spa" in flow and "dl_src" in flow:
            super()._add_flow(flow_group_id, **flow, arp_sha=flow["dl_src"])
        elif "nd_target" in flow and "dl_src" not in flow:
            for mac in self._macs(flow["in_port"], flow["nd_target"]):
                super()._add_flow(flow_group_id, **flow, dl_src=mac)
        else:
            super()._add_flow(flow_group_id, **flow)

    def _macs(self, number: int, address: str) -> list[str]:
        """MACs of a port that may have an IPv6 address."""
        pairs = {
            pair
            for port in self.sg_port_map.ports.values()
            if port.ofport == number
            for pair in (
                *port.allowed_pairs_v6,
                *((port.mac, own) for own in (*port.ipv6_addresses, port.lla_address)),
            )
        }
        return sorted({mac for mac, own in pairs if own == address})

    def remove_port_filter(self, port: dict[str, Any]) -> None:
        """Upstream's, and the port's connections end: its addresses may be another's next."""
        gone = self.get_ofport(port)
        super().remove_port_filter(port)
        if gone is not None:
            addresses = [*gone.ipv4_addresses, *gone.ipv6_addresses]
            if addresses:
                self._end_states(gone.vlan_tag, addresses)

    def _delete_invalid_conntrack_entries_for_port(self, ports: Iterable[dict[str, Any]]) -> None:
        """End what no rule allows any more, so that it may begin anew when one does.

        Flows mark such a connection with its next packet and drop all that is marked: nothing passes meanwhile.
        """
        for zone in sorted({port["of_port"].vlan_tag for port in ports if port.get("of_port") is not None}):
            self._end_states(zone, [])

    def _end_states(self, zone: int, addresses: list[str]) -> None:
        try:
            left = ovs.ovs_end_states(zone, addresses)
        except Exception:
            # what is left is marked and passes nothing, or belongs to a port that is gone
            LOG.exception("Connections of local VLAN %s were not ended", zone)
            return
        if left:
            LOG.warning("Local VLAN %s: %s connections of other protocols end by themselves", zone, left)
