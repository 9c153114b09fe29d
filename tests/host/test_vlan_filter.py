"""if_bridge(4) that keeps VLANs apart, from FreeBSD 15.0 on, with real frames (transcript 02)."""

import pytest

from beastack.freebsd import bridge as bridges
from beastack.freebsd import ifnet, vlan
from beastack.freebsd.errors import CommandFailed
from beastack.freebsd.host import Host
from beastack.freebsd.release import Release

from .lab import Guest, Lab
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


def _child(lab: Lab, guest: Guest, number: int, tag: int) -> None:
    """A vlan(4) child of a guest's card, with 10.6.0.NUMBER."""
    name = f"bscvl{number}"
    # made in the jail: it would come home with what was moved in
    lab.later(lambda: ifnet.destroy(guest.host, name))
    vlan.ensure_vlan(guest.host, name, guest.nic, tag, "beastack:conformance:vlan")
    ifnet.add_address(guest.host, name, f"10.6.0.{number}/24")


def test_tags_of_members_without_tags_are_dropped(host: Host, lab: Lab, filters_vlans: None) -> None:
    """What the drivers' bridges are (freebsd/bridge.py, attach_untagged): also one that had members before."""
    bridge, (one, two) = lab.guests(2)
    _child(lab, one, 1, 10)
    _child(lab, two, 2, 10)
    # a bridge as it is made passes tags
    one.reaches("10.6.0.2")
    for _ in range(2):
        for guest in (one, two):
            bridges.attach_untagged(host, bridge, guest.port)
    assert not one.pings("10.6.0.2")
    one.reaches(two.address)
    three = lab.guest(3, None)
    bridges.attach_untagged(host, bridge, three.port)
    three.reaches(one.address)
    shown = bridges.require_member(host, bridge, three.port)
    assert (shown.untagged, shown.tagged) == (1, frozenset())


def test_a_card_in_a_bridge_keeps_its_vlans(host: Host, lab: Lab, filters_vlans: None) -> None:
    """A flat network and a VLAN on one card: tags go to vlan(4), as the drivers count on from 15.0 on."""
    flat, tagged = lab.bridge(0), lab.bridge(1)
    card, far = lab.guest(1, None), lab.guest(2, flat)
    near = lab.guest(3, tagged, "10.6.0.3/24")
    _child(lab, card, 1, 10)
    # the cable's end on the host is the "card": its other end is a host of its own
    lab.later(lambda: ifnet.destroy(host, "bscvl9"))
    vlan.ensure_vlan(host, "bscvl9", card.port, 10, "beastack:conformance:vlan")
    bridges.attach_untagged(host, flat, card.port)
    bridges.attach_untagged(host, tagged, "bscvl9")
    bridges.attach_untagged(host, tagged, near.port)
    far.reaches(card.address)
    near.reaches("10.6.0.1")
    # the flat network hears nothing of it
    ifnet.add_address(far.host, far.nic, "10.6.0.2/24")
    assert not far.pings(near.address)
