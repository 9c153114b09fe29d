"""if_bridge(4) that keeps VLANs apart, from FreeBSD 15.0 on, with real frames (transcript 02)."""

import pytest

from beastack.freebsd import bridge as bridges
from beastack.freebsd import ifnet, vlan
from beastack.freebsd.errors import CommandFailed
from beastack.freebsd.host import Host
from beastack.freebsd.release import Release

from .lab import Lab
from .targets import Target


@pytest.fixture
def filters_vlans(running: Release, target: Target, lab: Lab) -> None:
    if running.major < 15:
        pytest.skip(f"VLAN filtering in if_bridge(4) came with FreeBSD 15.0; this is {running}")
    try:
        bridges.set_vlan_filter(target.host, lab.bridge(9), True)
    except CommandFailed as e:
        if target.simulated and e.err == "ifconfig: vlanfilter: bad value\n":
            pytest.skip(f"not simulated: {e}")
        raise


def test_vlans_are_kept_apart(host: Host, lab: Lab, filters_vlans: None) -> None:
    bridge, (one, two, three) = lab.guests(3)
    bridges.set_vlan_filter(host, bridge, True)
    bridges.set_vlan_filter(host, bridge, True)
    # a filtering bridge passes nothing at a member without VLANs
    assert not one.pings(two.address)
    for guest, tag in ((one, 10), (two, 10), (three, 20)):
        bridges.set_member_vlans(host, bridge, guest.port, tag)
    one.reaches(two.address)
    assert not one.pings(three.address)
    bridges.set_member_vlans(host, bridge, three.port, 10)
    one.reaches(three.address)
    shown = bridges.require_member(host, bridge, three.port)
    assert (shown.untagged, shown.tagged) == (10, frozenset())


def test_a_trunk_carries_tags(host: Host, lab: Lab, filters_vlans: None) -> None:
    bridge, (one, two) = lab.guests(2)
    bridges.set_vlan_filter(host, bridge, True)
    bridges.set_member_vlans(host, bridge, one.port, None, {10, 20, 21})
    assert bridges.require_member(host, bridge, one.port).tagged == {10, 20, 21}
    bridges.set_member_vlans(host, bridge, two.port, 10)
    ifnet.remove_address(one.host, one.nic, f"{one.address}/24")
    # made in the jail: it would come home with what was moved in
    lab.later(lambda: ifnet.destroy(one.host, "bscvl10"))
    vlan.ensure_vlan(one.host, "bscvl10", one.nic, 10, "beastack:conformance:vlan")
    ifnet.add_address(one.host, "bscvl10", f"{one.address}/24")
    two.reaches(one.address)
    bridges.set_member_vlans(host, bridge, one.port, None, {20, 21})
    assert not two.pings(one.address)
