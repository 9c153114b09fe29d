"""vlan(4), gif(4), vxlan(4) and the bridge's own table: made, read back, made again when they differ (02, 07)."""

import pytest

from beastack.freebsd import bridge as bridges
from beastack.freebsd import gif, ifnet, vlan, vxlan
from beastack.freebsd.errors import CommandFailed, InterfaceExists, NoSuchInterface, NotAMember, ProgramMissing
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_read import get_interface

from .lab import Lab, until


def _remove_later(lab: Lab, name: str) -> str:
    lab.later(lambda: ifnet.destroy(lab.host, name))
    return name


def test_static_and_learnt_addresses(host: Host, lab: Lab) -> None:
    bridge, (one, two) = lab.guests(2)
    found = {entry.mac: entry for entry in bridges.addresses(host, bridge)}
    assert found[one.mac].member == one.port
    assert found[two.mac].member == two.port
    assert not found[one.mac].static
    bridges.flush(host, bridge)
    bridges.add_static(host, bridge, one.port, "fa:16:3e:00:00:99")
    bridges.add_static(host, bridge, one.port, "fa:16:3e:00:00:99")
    static = [entry for entry in bridges.addresses(host, bridge) if entry.static]
    assert [(entry.mac, entry.member) for entry in static] == [("fa:16:3e:00:00:99", one.port)]
    bridges.remove_address(host, bridge, "fa:16:3e:00:00:99")
    bridges.remove_address(host, bridge, "fa:16:3e:00:00:99")
    assert not [entry for entry in bridges.addresses(host, bridge) if entry.static]
    with pytest.raises(NotAMember):
        bridges.add_static(host, bridge, "bscnone0", "fa:16:3e:00:00:99")


def test_flags_and_limits_of_a_member(host: Host, lab: Lab) -> None:
    bridge, tap = lab.bridge(), lab.tap(1)
    bridges.attach_private(host, bridge, tap)
    bridges.set_flags(host, bridge, tap, learn=False, discover=False, sticky=True)
    assert bridges.require_member(host, bridge, tap).flags >= {"PRIVATE", "STICKY"}
    assert not bridges.require_member(host, bridge, tap).flags & {"LEARNING", "DISCOVER"}
    bridges.set_flags(host, bridge, tap, learn=True, discover=True, private=False, sticky=False)
    assert bridges.require_member(host, bridge, tap).flags >= {"LEARNING", "DISCOVER"}
    bridges.limit_addresses(host, bridge, tap, 3)
    assert bridges.require_member(host, bridge, tap).max_addresses == 3
    bridges.limit_addresses(host, bridge, tap, 0)
    assert bridges.require_member(host, bridge, tap).max_addresses == 0


def test_a_vlan_child(host: Host, lab: Lab) -> None:
    parent, _other = lab.epair()
    name = _remove_later(lab, "bscvl1")
    vlan.ensure_vlan(host, name, parent, 100, "beastack:conformance:vlan")
    vlan.ensure_vlan(host, name, parent, 100, "beastack:conformance:vlan")
    found = get_interface(host, name)
    assert found.vlan is not None
    assert (found.vlan.tag, found.vlan.parent) == (100, parent)
    vlan.ensure_vlan(host, name, parent, 200, "beastack:conformance:vlan")
    found = get_interface(host, name)
    assert found.vlan is not None and found.vlan.tag == 200
    with pytest.raises(InterfaceExists):
        vlan.ensure_vlan(host, "bscvl2", parent, 200, "beastack:conformance:vlan")
    assert ifnet.find(host, "bscvl2") is None
    with pytest.raises(NoSuchInterface):
        vlan.ensure_vlan(host, "bscvl2", "bscnone0", 5, "beastack:conformance:vlan")
    assert ifnet.find(host, "bscvl2") is None


def test_a_gif_in_a_bridge(host: Host, lab: Lab) -> None:
    bridge = lab.bridge()
    name = _remove_later(lab, "bscgif1")
    gif.ensure_gif(host, name, "10.5.8.1", "10.5.8.2", "beastack:conformance:gif")
    gif.ensure_gif(host, name, "10.5.8.1", "10.5.8.3", "beastack:conformance:gif", mtu=1400)
    found = get_interface(host, name)
    assert found.tunnel is not None
    assert (found.tunnel.local, found.tunnel.remote, found.mtu) == ("10.5.8.1", "10.5.8.3", 1400)
    ifnet.attach_member(host, bridge, name)
    assert name in get_interface(host, bridge).members


@pytest.fixture
def underlay(host: Host, lab: Lab) -> str:
    """An interface of the host's with 10.5.8.1."""
    one, _other = lab.epair(9)
    ifnet.add_address(host, one, "10.5.8.1/24")
    ifnet.set_up(host, one)
    return one


def test_a_vxlan(host: Host, lab: Lab, underlay: str) -> None:
    name = _remove_later(lab, "bscvx1")
    spec = vxlan.Spec(4242, "10.5.8.1", "10.5.8.2", learn=False)
    vxlan.ensure_vxlan(host, name, spec, "beastack:conformance:vxlan", 1400)
    vxlan.ensure_vxlan(host, name, spec, "beastack:conformance:vxlan", 1400)
    found = get_interface(host, name)
    assert found.vxlan == spec.shown
    assert found.mtu == 1400
    # the same network on the same address and port: up, but it never runs
    _remove_later(lab, "bscvx2")
    with pytest.raises(vxlan.NotRunning):
        vxlan.ensure_vxlan(host, "bscvx2", spec, "beastack:conformance:vxlan", 1400)
    assert ifnet.find(host, "bscvx2") is None
    other = vxlan.Spec(4242, "10.5.8.1", "10.5.8.1", remote_port=14789, learn=False)
    vxlan.ensure_vxlan(host, name, other, "beastack:conformance:vxlan", 1400)
    assert get_interface(host, name).vxlan == other.shown


def test_a_vxlan_with_a_group(host: Host, lab: Lab, underlay: str) -> None:
    name = _remove_later(lab, "bscvx1")
    spec = vxlan.Spec(4243, "10.5.8.1", "239.9.9.9", device=underlay)
    vxlan.ensure_vxlan(host, name, spec, "beastack:conformance:vxlan", 1450)
    until(lambda: get_interface(host, name).vxlan == spec.shown, "the tunnel")


def test_a_vxlan_is_not_made_in_a_jail(lab: Lab) -> None:
    inside = lab.jail("a")
    with pytest.raises(CommandFailed):
        inside.run(
            ["ifconfig", "vxlan", "create", "vxlanid", "7", "vxlanlocal", "127.0.0.1", "vxlanremote", "127.0.0.2"]
        )


def test_static_entries_of_the_forwarding_table(host: Host, lab: Lab, underlay: str) -> None:
    name = _remove_later(lab, "bscvx1")
    spec = vxlan.Spec(4244, "10.5.8.1", "10.5.8.1", remote_port=14789, learn=False)
    vxlan.ensure_vxlan(host, name, spec, "beastack:conformance:vxlan", 1450)
    try:
        vxlan.add_entry(host, name, "fa:16:3e:00:00:01", "10.5.8.7")
    except ProgramMissing as e:
        pytest.skip(f"needs Python on the host, which is not in the base system: {e}")
    vxlan.add_entry(host, name, "fa:16:3e:00:00:01", "10.5.8.7")
    vxlan.remove_entry(host, name, "fa:16:3e:00:00:01")
    vxlan.remove_entry(host, name, "fa:16:3e:00:00:01")
    with pytest.raises(NoSuchInterface):
        vxlan.add_entry(host, "bscnone0", "fa:16:3e:00:00:01", "10.5.8.7")
