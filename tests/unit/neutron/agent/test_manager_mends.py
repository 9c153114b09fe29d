"""What was left, lost, or turned off behind the manager's back, and what it does when it cannot know."""

import threading
from typing import Any
from unittest import mock

import pytest
from tests.unit.neutron.agent.gate import BRIDGE, NETWORK, SEGMENT, VXL, details, filtered, members, plug
from tests.unit.neutron.fakes import TUNNEL, FakeNet
from tests.unit.neutron.firewall.test_rules import MAC, TAP, port

from beastack.freebsd import netgraph, pf, pf_host
from beastack.freebsd.bpf_guard import guard
from beastack.freebsd.host import Completed
from beastack.freebsd.pf_host import ForeignRuleset
from beastack.neutron.agent import health, manager
from beastack.neutron.agent.bridges import Ways
from beastack.neutron.agent.loop import BridgeAgentLoop
from beastack.neutron.firewall.driver import PfFirewallDriver
from beastack.privsep import pf as privileged


def test_a_start_removes_what_was_left(bridge: manager.BridgeManager, net: FakeNet) -> None:
    old = net.tap("tapffffffff-ff")
    pf.load_rules(net, old, [])
    netgraph.set_guard(net, old, guard([(MAC, "10.0.0.5")]))
    net.ensure_bridge(BRIDGE, "x")
    net.attach_member(BRIDGE, "em0")
    net.interfaces.remove(old)
    del net.net[old]
    bridge.delete_unreferenced_arp_protection(set())
    assert pf.list_anchors(net) == []
    assert netgraph.list_guards(net) == []
    assert BRIDGE not in net.net


def test_the_last_port_takes_the_bridge_along(bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any) -> None:
    net.tap(TAP)
    filtered(sg_agent)
    plug(bridge)
    bridge.network_deleted(NETWORK)
    assert BRIDGE in net.net
    net.gone(TAP)
    bridge.delete_arp_spoofing_protection({TAP})
    assert BRIDGE not in net.net


def test_lost_rules_are_found_and_loaded_again(bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any) -> None:
    net.tap(TAP)
    filtered(sg_agent)
    plug(bridge)
    look = health.Health(bridge, 30, host=net)
    net.log.clear()
    look.check()
    assert TAP in members(net)
    before = bridge.get_devices_modified_timestamps({TAP})
    netgraph.clear_guard(net, TAP)
    look.check()
    assert TAP not in members(net)
    assert bridge.get_devices_modified_timestamps({TAP}) != before
    filtered(sg_agent)
    assert plug(bridge)
    pf.unload(net, TAP)
    look.check()
    assert TAP not in members(net)


def test_drift_is_corrected(bridge: manager.BridgeManager, net: FakeNet) -> None:
    assert health.wait_until_ready(threading.Event())
    net.sysctls["net.link.bridge.pfil_member"] = "0"
    health.Health(bridge, 30, host=net).check()
    assert net.sysctls["net.link.bridge.pfil_member"] == "1"


def test_a_host_that_does_not_filter_closes(bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any) -> None:
    net.tap(TAP)
    filtered(sg_agent)
    plug(bridge)
    net.run(["pfctl", "-f", "-"], input="pass quick all\n")
    look = health.Health(bridge, 30, host=net)
    look.check()
    assert TAP not in members(net)
    assert not plug(bridge)
    net.run(
        ["pfctl", "-f", "-"],
        input="".join(f"{line}\n" for line in (*pf_host.SCRUB_LINES, 'anchor "beastack/*"', "pass quick all")),
    )
    look.check()
    assert plug(bridge)


def test_a_host_that_cannot_filter_holds_the_agent(net: FakeNet) -> None:
    net.run(["pfctl", "-f", "-"], input="pass quick all\n")
    stopping = threading.Event()
    waiting = threading.Thread(target=lambda: stopping.wait(0.05) or stopping.set())
    waiting.start()
    assert not health.wait_until_ready(stopping, 0.01)
    waiting.join()
    with pytest.raises(ForeignRuleset, match="before other"):
        privileged.prepare_host()


def test_notifications_are_noted(bridge: manager.BridgeManager, sg_agent: Any) -> None:
    calls = bridge.get_rpc_callbacks(mock.Mock(), mock.Mock(), sg_agent)
    calls.port_update(None, port={"id": "12345678-9000-0000-0000-000000000000"})
    calls.network_delete(None, network_id=NETWORK)
    assert calls.get_and_clear_updated_devices() == {TAP}
    assert calls.get_and_clear_updated_devices() == set()


def test_address_groups_mark_their_ports(bridge: manager.BridgeManager, sg_agent: Any) -> None:
    loop = BridgeAgentLoop(bridge, mock.Mock(), 1, 10, "type", "binary")
    loop.sg_agent = sg_agent
    sg_agent.firewall.prepare_port_filter(port(security_group_remote_address_groups=["ag"]))
    loop.address_groups_changed(None, "AddressGroup", [mock.Mock(id="other")], "updated")
    assert sg_agent.devices_to_refilter == set()
    loop.address_groups_changed(None, "AddressGroup", [mock.Mock(id="ag")], "updated")
    assert sg_agent.devices_to_refilter == {TAP}


def test_the_loop_stops_before_it_began(bridge: manager.BridgeManager) -> None:
    loop = BridgeAgentLoop(bridge, mock.Mock(), 1, 10, "type", "binary")
    loop.stop()
    loop.start()


def test_a_way_out_that_lost_its_rules_gets_them_again(tunnelled: manager.BridgeManager, net: FakeNet) -> None:
    assert health.wait_until_ready(threading.Event())
    look = health.Health(tunnelled, 30, host=net)
    look.check()
    assert tunnelled.alarms == []
    pf.unload(net, VXL)
    look.check()
    assert pf.read_rules(net, VXL)
    assert "lost its rules" in tunnelled.alarms[-1]


def test_a_new_agent_leaves_a_way_out_alone_and_removes_what_leads_nowhere(
    tunnelled: manager.BridgeManager, net: FakeNet
) -> None:
    again = manager.BridgeManager(net, "fbsd1", Ways({}, tunnel_address=TUNNEL), tunnels=mock.Mock(networks=list))
    pf.load_rules(net, "vln00000000-00", [])
    again.delete_unreferenced_arp_protection(again.get_all_devices())
    assert set(members(net)) == {TAP, VXL}
    assert set(pf.list_anchors(net)) == {TAP, VXL}


def test_a_sysctl_that_cannot_be_set_closes_the_host(
    bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.tap(TAP)
    filtered(sg_agent)
    plug(bridge)
    assert health.wait_until_ready(threading.Event())
    look = health.Health(bridge, 30, host=net)
    assert not look.drifted()
    run = FakeNet.run

    def deaf(self: FakeNet, argv: Any, **kw: Any) -> Completed:
        return Completed(tuple(argv), 0, "", "") if "pfil_member=" in argv[1] else run(self, argv, **kw)

    monkeypatch.setattr(FakeNet, "run", deaf)
    net.sysctls["net.link.bridge.pfil_member"] = "0"
    assert look.drifted()
    look.check()
    assert members(net) == {"em0"}
    assert "taken out of their bridges" in bridge.alarms[-1]
    monkeypatch.undo()


def test_an_unknown_host_is_closed_after_a_while(bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any) -> None:
    net.tap(TAP)
    filtered(sg_agent)
    plug(bridge)
    net.broken = {"prepare_host"}
    look = health.Health(bridge, 30, host=net)
    for _ in range(health.UNKNOWN_LIMIT - 1):
        look.check()
        assert TAP in members(net)
    look.check()
    assert TAP not in members(net)
    net.broken = set()
    look.check()
    assert plug(bridge)


def test_a_restart_keeps_neutrons_own_ports_open_until_they_are_looked_at(
    bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any
) -> None:
    """A DHCP server's or router's port has no security groups: to a new agent it is unknown at first."""
    net.tap(TAP)
    assert plug(bridge, device_owner="network:dhcp")
    rules = pf.read_rules(net, TAP)
    driver = PfFirewallDriver()
    again = manager.BridgeManager(net, "fbsd1", Ways({"physnet1": "em0"}))
    again.get_rpc_callbacks(mock.Mock(), mock.Mock(), mock.Mock(firewall=driver))
    with driver.defer_apply():
        driver.process_trusted_ports([TAP])
    assert pf.read_rules(net, TAP) == rules
    assert driver.ready(TAP)
    assert plug(again, device_owner="network:dhcp")
    assert pf.read_rules(net, TAP) == rules
    again.settle([TAP])
    assert TAP in members(net)


def test_a_port_that_the_server_does_not_know_leaves_its_bridge(bridge: manager.BridgeManager, net: FakeNet) -> None:
    net.ensure_bridge(BRIDGE, "x")
    net.attach_member(BRIDGE, net.tap(TAP))
    bridge.get_all_devices()
    bridge.settle([TAP])
    assert TAP not in members(net)
    assert TAP in bridge.alarms[-1]


def test_alarms_reach_the_server_and_a_revived_agent_compares_everything(tunnelled: manager.BridgeManager) -> None:
    loop = BridgeAgentLoop(tunnelled, mock.Mock(), 1, 10, "type", "binary")
    loop.agent_state = {"configurations": {}}
    tunnelled.alarm("something")

    def revived(self: Any) -> None:
        assert [text[20:] for text in self.agent_state["configurations"]["alarms"]] == ["something"]
        self.fullsync = True

    with mock.patch("neutron.plugins.ml2.drivers.agent._common_agent.CommonAgentLoop._report_state", revived):
        loop._report_state()
    assert tunnelled.tunnels is not None
    tunnelled.tunnels.all_due.assert_called_once()  # type: ignore[attr-defined]


def test_what_the_server_could_not_be_asked_about_stays(bridge: manager.BridgeManager, net: FakeNet) -> None:
    net.ensure_bridge(BRIDGE, "x")
    net.attach_member(BRIDGE, net.tap(TAP))
    bridge.get_all_devices()
    loop = BridgeAgentLoop(bridge, mock.Mock(), 1, 10, "type", "binary")
    upstream = "neutron.plugins.ml2.drivers.agent._common_agent.CommonAgentLoop.treat_devices_added_updated"
    with mock.patch(upstream, return_value=True):
        assert loop.treat_devices_added_updated({TAP})
    assert TAP in members(net)
    with mock.patch(upstream, return_value=False):
        assert not loop.treat_devices_added_updated({TAP})
    assert TAP not in members(net)


def test_a_networks_change_reaches_its_ports(bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any) -> None:
    net.tap(TAP)
    filtered(sg_agent)
    plug(bridge)
    calls = bridge.get_rpc_callbacks(mock.Mock(), mock.Mock(), sg_agent)
    calls.network_update(None, network={"id": "another"})
    assert calls.get_and_clear_updated_devices() == set()
    calls.network_update(None, network={"id": NETWORK})
    assert calls.get_and_clear_updated_devices() == {TAP}


def test_a_bridge_that_was_swept_after_the_scan_is_made_again(
    bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any
) -> None:
    """The server deletes a network's last port and makes another between two looks at the host."""
    net.ensure_bridge(BRIDGE, f"beastack:network:{NETWORK}")
    net.attach_member(BRIDGE, "em0")
    net.tap(TAP)
    filtered(sg_agent)
    bridge.get_all_devices()
    bridge.network_deleted(NETWORK)
    assert BRIDGE not in net.net
    bridge.setup_arp_spoofing_protection(TAP, details())
    assert bridge.plug_interface(NETWORK, SEGMENT, TAP, "compute:nova")
    assert members(net) == {"em0", TAP}


def test_each_look_at_the_host_removes_rules_of_ports_that_it_has_not(
    bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any
) -> None:
    net.tap(TAP)
    loop = BridgeAgentLoop(bridge, mock.Mock(), 1, 10, "type", "binary")
    loop.rpc_callbacks = bridge.get_rpc_callbacks(mock.Mock(), mock.Mock(), sg_agent)
    first = loop.scan_devices(None, True)
    filtered(sg_agent)
    assert pf.list_anchors(net) == [TAP]
    del net.net[TAP]
    second = loop.scan_devices(first, False)
    assert (second["removed"], pf.list_anchors(net)) == ({TAP}, [TAP])  # upstream removes these next
    sg_agent.firewall.remove_trusted_ports({TAP})
    filtered(sg_agent)  # by a message that was late
    loop.scan_devices(second, False)
    assert pf.list_anchors(net) == []
