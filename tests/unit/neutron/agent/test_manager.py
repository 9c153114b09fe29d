"""The gate: no tap is in a bridge before its rules and its guard are in force."""

from typing import Any

import pytest
from neutron.plugins.ml2.drivers.agent import _agent_manager_base as base
from oslo_config import cfg
from tests.unit.neutron.agent.gate import BRIDGE, NETWORK, details, filtered, members, plug
from tests.unit.neutron.fakes import FakeNet
from tests.unit.neutron.firewall.test_rules import TAP, port

from beastack.freebsd import netgraph, pf
from beastack.freebsd.errors import HostError
from beastack.neutron.agent import manager


def test_rules_then_guard_then_bridge(bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any) -> None:
    net.tap(TAP)
    filtered(sg_agent)
    assert plug(bridge)
    order = [
        line.split()[0] for line in net.log if line.split()[0] in ("load_port_rules", "set_guard", "attach_member")
    ]
    assert order == ["load_port_rules", "set_guard", "attach_member", "attach_member"]
    assert members(net) == {"em0", TAP}
    # again: everything is as it should be and nothing is asked of the privileged side
    net.log.clear()
    assert plug(bridge)
    assert net.log == []


def test_no_rules_no_bridge(bridge: manager.BridgeManager, net: FakeNet) -> None:
    net.tap(TAP)
    assert not plug(bridge)
    assert members(net) == set()


@pytest.mark.parametrize("broken", ["set_guard", "load_port_rules", "ensure_bridge", "attach_member"])
def test_a_failure_keeps_the_port_out_and_is_retried(
    broken: str, bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any
) -> None:
    now = 0.0
    bridge.watch._clock = lambda: now
    net.tap(TAP)
    net.broken = {broken}
    filtered(sg_agent)
    assert not plug(bridge)
    assert TAP not in members(net)
    before = bridge.get_devices_modified_timestamps({TAP})
    assert bridge.get_devices_modified_timestamps({TAP}) == before
    now = 11.0
    assert bridge.get_devices_modified_timestamps({TAP}) != before
    net.broken = set()
    filtered(sg_agent)
    assert plug(bridge)


def test_a_wired_port_whose_guard_is_refused_leaves(bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any) -> None:
    net.tap(TAP)
    filtered(sg_agent)
    assert plug(bridge)
    net.broken = {"set_guard"}
    assert not plug(bridge, fixed_ips=[{"ip_address": "10.0.0.6"}])
    assert members(net) == {"em0"}


def test_neutrons_own_ports_are_trusted_by_their_owner(bridge: manager.BridgeManager, net: FakeNet) -> None:
    net.tap(TAP)
    assert plug(bridge, device_owner="network:dhcp")
    assert [r.label for r in pf.read_rules(net, TAP) or []] == [f"{TAP}/open", f"{TAP}/end"]
    assert netgraph.list_guards(net) == []
    assert TAP in members(net)


def test_a_port_without_port_security_has_no_guard(bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any) -> None:
    net.tap(TAP)
    sg_agent.firewall.prepare_port_filter(port(port_security_enabled=False))
    assert plug(bridge, port_security_enabled=False)
    assert netgraph.list_guards(net) == []
    # switched on again: the guard comes although the port is wired
    filtered(sg_agent)
    assert plug(bridge)
    assert netgraph.list_guards(net) == [TAP]


def test_security_groups_switched_off(bridge: manager.BridgeManager, net: FakeNet) -> None:
    cfg.CONF.set_override("enable_security_group", False, "SECURITYGROUP")
    net.tap(TAP)
    assert plug(bridge)
    assert netgraph.list_guards(net) == [TAP]


def test_down_is_out(bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any) -> None:
    net.tap(TAP)
    filtered(sg_agent)
    assert not plug(bridge, admin_state_up=False)
    assert TAP not in members(net)
    assert plug(bridge)
    bridge.ensure_port_admin_state(TAP, False)
    assert TAP not in members(net)
    before = bridge.get_devices_modified_timestamps({TAP})
    bridge.get_all_devices()
    assert bridge.get_devices_modified_timestamps({TAP}) == before


@pytest.mark.parametrize(
    "segment",
    [
        base.NetworkSegment("vxlan", None, 5),
        base.NetworkSegment("gre", None, 5),
        base.NetworkSegment("vlan", "physnet2", 5),
        base.NetworkSegment("flat", "physnet2", None),
        base.NetworkSegment(None, None, None),
    ],
)
def test_networks_that_are_not_built_here(
    segment: Any, bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any
) -> None:
    net.tap(TAP)
    filtered(sg_agent)
    bridge.get_all_devices()
    bridge.setup_arp_spoofing_protection(TAP, details())
    assert not bridge.plug_interface(NETWORK, segment, TAP, "compute:nova")


def test_a_card_serves_one_network(bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any) -> None:
    net.ensure_bridge("brqother", "x")
    net.attach_member("brqother", "em0")
    net.attach_member("brqother", net.tap("tapother"))
    net.tap(TAP)
    filtered(sg_agent)
    assert not plug(bridge)
    # an idle bridge gives its card away
    net.gone("tapother")
    assert plug(bridge)
    assert "brqother" not in net.net


@pytest.mark.parametrize("what", ["made anew", "left", "down"])
def test_what_happened_to_a_tap_is_seen(what: str, bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any) -> None:
    net.tap(TAP)
    filtered(sg_agent)
    plug(bridge)
    bridge.get_all_devices()
    before = bridge.get_devices_modified_timestamps({TAP})
    if what == "made anew":
        net.gone(TAP)
        net.tap(TAP, "58:9c:fc:00:00:77")
    elif what == "left":
        net.detach_member(BRIDGE, TAP)
    else:
        net.net[TAP].flags = frozenset()
    bridge.get_all_devices()
    assert bridge.get_devices_modified_timestamps({TAP})[TAP] == before[TAP] + 1
    assert plug(bridge)
    assert netgraph.list_guards(net) == [TAP]
    assert "UP" in net.net[TAP].flags
    bridge.get_all_devices()
    assert bridge.get_devices_modified_timestamps({TAP})[TAP] == before[TAP] + 1


def test_unknown_is_not_absent(bridge: manager.BridgeManager, net: FakeNet) -> None:
    net.unreadable = True
    with pytest.raises(HostError):
        bridge.get_all_devices()
    net.unreadable = False
    net.tap(TAP)
    assert bridge.get_all_devices() == {TAP}
    net.unreadable = True
    assert bridge.get_all_devices() == {TAP}


def test_foreign_taps_are_not_ours(bridge: manager.BridgeManager, net: FakeNet) -> None:
    net.tap(TAP)
    net.net["tap0"] = net.net["em0"]
    assert bridge.get_all_devices() == {TAP}
