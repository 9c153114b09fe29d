"""Ports, networks and steps for tests of the bridge manager."""

from typing import Any

from neutron.plugins.ml2.drivers.agent import _agent_manager_base as base
from tests.unit.neutron.fakes import FakeNet
from tests.unit.neutron.firewall.test_rules import DEFAULT, MAC, SG, TAP, port

from beastack.neutron.agent import manager

NETWORK = "8a2f0c3e-5a6b-4e0a-9f0e-1d8a6b1c2d3e"
BRIDGE = "brq8a2f0c3e-5a"
SEGMENT = base.NetworkSegment("flat", "physnet1", None, 1500)
VXLAN = base.NetworkSegment("vxlan", None, 10001, 1450)
VXL = "vxl8a2f0c3e-5a"


def details(device: str = TAP, **values: Any) -> dict[str, Any]:
    return {
        "device": device, "port_id": "12345678-9000-0000-0000-000000000000", "mac_address": MAC, "network_id": NETWORK,
        "fixed_ips": [{"ip_address": "10.0.0.5"}], "allowed_address_pairs": [], "port_security_enabled": True,
        "device_owner": "compute:nova", "admin_state_up": True, **values,
    }  # fmt: skip


def filtered(sg_agent: Any, device: str = TAP) -> None:
    with sg_agent.firewall.defer_apply():
        sg_agent.firewall.update_security_group_rules(SG, DEFAULT)
        sg_agent.firewall.prepare_port_filter(port(device=device))


def plug(bridge: manager.BridgeManager, **values: Any) -> bool:
    bridge.get_all_devices()
    wanted = details(**values)
    bridge.setup_arp_spoofing_protection(wanted["device"], wanted)
    return bridge.plug_interface(NETWORK, SEGMENT, wanted["device"], wanted["device_owner"])


def members(net: FakeNet) -> set[str]:
    return set(net.net[BRIDGE].members) if BRIDGE in net.net else set()
