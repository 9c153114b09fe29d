"""A tap of libvirt's leaves the bridge where nothing passes only when its rules and its guard are in force."""

from typing import Any

import pytest
from tests.unit.neutron.agent.gate import BRIDGE, filtered, members, plug
from tests.unit.neutron.fakes import GROUP, UP, FakeNet
from tests.unit.neutron.firewall.test_rules import TAP

from beastack.freebsd import netgraph
from beastack.freebsd.ifnet_read import Interface, Member
from beastack.neutron.agent import manager
from beastack.privsep.held_taps import HOLDING


@pytest.fixture
def held(net: FakeNet) -> FakeNet:
    net.net[HOLDING] = Interface(HOLDING, UP | {"MONITOR"}, 1500, groups=GROUP)
    made(net)
    return net


def made(net: FakeNet) -> None:
    net.tap(TAP, "fe:16:3e:00:00:01")  # libvirt's choice, the same each time
    net.net[HOLDING].members[TAP] = Member(TAP, frozenset())


def test_held_until_it_is_filtered(bridge: manager.BridgeManager, held: FakeNet, sg_agent: Any) -> None:
    assert not plug(bridge)
    assert set(held.net[HOLDING].members) == {TAP}
    filtered(sg_agent)
    held.broken = {"set_guard"}
    assert not plug(bridge)
    assert set(held.net[HOLDING].members) == {TAP}
    held.broken = set()
    held.log.clear()
    assert plug(bridge)
    assert members(held) == {"em0", TAP}
    assert not held.net[HOLDING].members
    steps = [line for line in held.log if TAP in line or "load_port_rules" in line]
    assert [line.split()[0] for line in steps][-3:] == ["set_guard", "detach_member", "attach_member"]


def test_after_a_guests_own_reboot_it_is_filtered_again(
    bridge: manager.BridgeManager, held: FakeNet, sg_agent: Any
) -> None:
    filtered(sg_agent)
    assert plug(bridge)
    bridge.get_all_devices()
    before = bridge.get_devices_modified_timestamps({TAP})
    held.gone(TAP)
    netgraph.clear_guard(held, TAP)  # a node of ng_ether goes with its interface
    made(held)
    bridge.get_all_devices()
    assert bridge.get_devices_modified_timestamps({TAP}) != before
    held.log.clear()
    assert plug(bridge)
    assert netgraph.list_guards(held) == [TAP]
    assert [line.split()[0] for line in held.log][-3:] == ["set_guard", "detach_member", "attach_member"]
    assert TAP in held.net[BRIDGE].members


def test_one_that_the_server_does_not_know_yet_stays_and_is_no_alarm(
    bridge: manager.BridgeManager, held: FakeNet
) -> None:
    bridge.get_all_devices()
    bridge.settle([TAP])
    assert set(held.net[HOLDING].members) == {TAP}
    assert bridge.alarms == []
    assert bridge._bridges.sweep() == set()
    assert HOLDING in held.net
