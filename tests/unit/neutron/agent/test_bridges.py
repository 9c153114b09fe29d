"""A network's bridge and its way out of the host, for each type."""

from typing import Any

import pytest
from neutron.plugins.ml2.drivers.agent._agent_manager_base import NetworkSegment
from tests.unit.neutron.fakes import GROUP, TUNNEL, UP, FakeNet

from beastack.freebsd.ifnet_lines import Vlan
from beastack.freebsd.ifnet_read import Interface, Member
from beastack.neutron.agent.bridges import Bridges, CannotPlug, Ways, Wired

NETWORK = "8a2f0c3e-5a6b-4e0a-9f0e-1d8a6b1c2d3e"
OTHER = "9b3f0c3e-5a6b-4e0a-9f0e-1d8a6b1c2d3e"
BRIDGE, VLN, VXL = "brq8a2f0c3e-5a", "vln8a2f0c3e-5a", "vxl8a2f0c3e-5a"
TAP = "tap12345678-90"
WAYS = Ways({"physnet1": "em0"}, {"lab": "bridge0"}, TUNNEL)
FLAT = NetworkSegment("flat", "physnet1", None, 1500)
VLAN = NetworkSegment("vlan", "physnet1", 7, 1500)
VXLAN = NetworkSegment("vxlan", None, 10001, 1450)
LOCAL = NetworkSegment("local", None, None, 1500)


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> FakeNet:
    found = FakeNet(monkeypatch)
    found.net["vtnet0"] = Interface("vtnet0", UP, 1500, inet=[f"{TUNNEL}/24"])
    return found


@pytest.fixture
def bridges(net: FakeNet) -> Bridges:
    return Bridges(net, WAYS)


def plug(net: FakeNet, bridges: Bridges, segment: Any, network: str = NETWORK, tap: str = TAP) -> Wired:
    if tap not in net.net:
        net.tap(tap)
        net.net[tap].mtu = segment.mtu
    wired = bridges.ensure(network, segment)
    bridges.attach(wired.bridge, tap)
    return wired


@pytest.mark.parametrize(
    ("segment", "member", "vni"), [(FLAT, "em0", None), (VLAN, VLN, None), (VXLAN, VXL, 10001), (LOCAL, None, None)]
)
def test_each_type_once_and_then_left_alone(
    segment: Any, member: str | None, vni: int | None, net: FakeNet, bridges: Bridges
) -> None:
    wired = plug(net, bridges, segment)
    assert wired == Wired(BRIDGE, vni, fresh=vni is not None)
    assert set(net.net[BRIDGE].members) == {TAP} | ({member} if member else set())
    assert net.net[BRIDGE].mtu == segment.mtu
    net.log.clear()
    # what a new agent sees: nothing is asked of the privileged side
    again = Bridges(net, WAYS)
    seen = net.list_interfaces(None)
    assert again.ensure(NETWORK, segment, seen) == Wired(BRIDGE, vni)
    again.attach(BRIDGE, TAP, seen)
    assert net.log == []


def test_what_is_broken_is_mended_and_the_rest_left(net: FakeNet, bridges: Bridges) -> None:
    plug(net, bridges, VXLAN)
    net.destroy_uplink(VXL)
    net.log.clear()
    assert bridges.ensure(NETWORK, VXLAN) == Wired(BRIDGE, 10001, fresh=True)
    assert TAP in net.net[BRIDGE].members
    plug(net, bridges, VLAN, OTHER, "tap22345678-90")
    net.net["vln9b3f0c3e-5a"].vlan = Vlan(0, None)  # the card went and came again
    bridges.ensure(OTHER, VLAN)
    assert net.net["vln9b3f0c3e-5a"].vlan == Vlan(7, "em0")


def test_a_new_mtu_reaches_every_member(net: FakeNet, bridges: Bridges) -> None:
    plug(net, bridges, VXLAN)
    bridges.ensure(NETWORK, NetworkSegment("vxlan", None, 10001, 1400))
    assert {net.net[n].mtu for n in (BRIDGE, VXL, TAP)} == {1400}


def test_an_mtu_that_does_not_fit(net: FakeNet, bridges: Bridges, caplog: pytest.LogCaptureFixture) -> None:
    net.net["em0"].mtu = 1400
    for segment in (FLAT, VLAN):
        with pytest.raises(CannotPlug, match=r"1500.*1400"):
            bridges.ensure(NETWORK, segment)
    bridges.ensure(NETWORK, NetworkSegment("vxlan", None, 10001, 1500))
    assert "1550" in caplog.text
    del net.net["vtnet0"]
    with pytest.raises(CannotPlug, match=TUNNEL):
        bridges.ensure(OTHER, VXLAN)


def test_two_networks_on_one_card(net: FakeNet, bridges: Bridges) -> None:
    """One flat network, and VLANs beside it where the release can (its bridges show flags: 15.0)."""
    plug(net, bridges, FLAT)
    with pytest.raises(CannotPlug, match="before FreeBSD 15"):
        bridges.ensure(OTHER, VLAN)
    net.net[BRIDGE].bridge_flags = frozenset()
    bridges.ensure(OTHER, VLAN)
    with pytest.raises(CannotPlug, match="one flat network"):
        bridges.ensure(OTHER, FLAT)


def test_no_flat_network_beside_vlans_on_an_old_release(net: FakeNet, bridges: Bridges) -> None:
    plug(net, bridges, VLAN)
    with pytest.raises(CannotPlug, match="carries VLANs"):
        bridges.ensure(OTHER, FLAT)


@pytest.mark.parametrize("description", ["beastack:network:8a2f0c3e-5aff-4e0a-9f0e-1d8a6b1c2d3e", "mine"])
def test_a_bridge_of_another_network_is_not_taken(description: str, net: FakeNet, bridges: Bridges) -> None:
    net.ensure_bridge(BRIDGE, description)
    with pytest.raises(CannotPlug, match="another network"):
        bridges.ensure(NETWORK, VXLAN)


def operators(net: FakeNet) -> Interface:
    made = Interface("bridge0", UP, 1500, groups=frozenset({"bridge"}))
    made.members["igb0"] = Member("igb0", frozenset())
    net.net["bridge0"] = made
    return made


def test_an_operators_bridge_is_joined_and_nothing_else(net: FakeNet, bridges: Bridges) -> None:
    lab = NetworkSegment("flat", "lab", None, 1500)
    with pytest.raises(CannotPlug, match="not there"):
        bridges.ensure(NETWORK, lab)
    theirs = operators(net)
    assert plug(net, bridges, lab) == Wired("bridge0")
    assert set(theirs.members) == {"igb0", TAP}
    bridges.detach(TAP)
    assert set(theirs.members) == {"igb0"}
    assert bridges.sweep() == set()
    assert "bridge0" in net.net
    assert [line.split()[0] for line in net.log] == ["attach_member", "detach_member"]
    with pytest.raises(CannotPlug, match="flat only"):
        bridges.ensure(NETWORK, NetworkSegment("vlan", "lab", 7, 1500))
    theirs.flags = frozenset()
    with pytest.raises(CannotPlug, match="down"):
        bridges.ensure(NETWORK, lab)


def test_a_card_in_an_operators_bridge_is_left_there(net: FakeNet, bridges: Bridges) -> None:
    operators(net).members["em0"] = Member("em0", frozenset())
    with pytest.raises(CannotPlug, match="bridge_mappings = physnet1:bridge0"):
        bridges.ensure(NETWORK, FLAT)


def test_everything_of_a_network_goes_and_nothing_else(net: FakeNet, bridges: Bridges) -> None:
    plug(net, bridges, VXLAN)
    plug(net, bridges, VLAN, OTHER, "tap22345678-90")
    theirs = operators(net)
    net.net["vxl00000000-00"] = Interface("vxl00000000-00", UP, 1500)  # not ours: it has no mark
    net.net["vln00000000-00"] = Interface("vln00000000-00", UP, 1500, groups=GROUP)  # a way that leads nowhere
    net.gone(TAP)
    assert bridges.sweep() == {BRIDGE}
    assert set(net.net) == {
        *("em0", "vtnet0", "vxl00000000-00", "bridge0", "brq9b3f0c3e-5a", "vln9b3f0c3e-5a", "tap22345678-90"),
    }
    assert set(theirs.members) == {"igb0"}


def test_types_follow_the_configuration() -> None:
    assert Ways({}, {}, TUNNEL).types == ["local", "vxlan"]
    assert Ways({}, {"lab": "bridge0"}).types == ["local", "flat"]
    assert Ways({"physnet1": "em0"}).types == ["local", "flat", "vlan"]
