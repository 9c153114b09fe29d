"""if_bridge(4): members and their rules, and which frames they let through (transcripts 02, 06)."""

import pytest

from beastack.freebsd import ifnet
from beastack.freebsd.errors import CommandFailed, DeviceBusy, NoSuchInterface
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_read import get_interface

from .lab import Lab, until


def test_members(host: Host, lab: Lab) -> None:
    bridge, other, tap = lab.bridge(0), lab.bridge(1), lab.tap(1)
    ifnet.attach_member(host, bridge, tap)
    ifnet.attach_member(host, bridge, tap)
    member = get_interface(host, bridge).members[tap]
    assert {"LEARNING", "DISCOVER"} <= member.flags
    assert ifnet.bridge_of(host, tap) == bridge
    with pytest.raises(DeviceBusy):
        ifnet.attach_member(host, other, tap)
    ifnet.detach_member(host, bridge, tap)
    ifnet.detach_member(host, bridge, tap)
    assert get_interface(host, bridge).members == {}
    assert ifnet.bridge_of(host, tap) is None
    with pytest.raises(NoSuchInterface):
        ifnet.attach_member(host, bridge, "bscnone0")
    ifnet.detach_member(host, bridge, "bscnone0")


def test_a_member_that_is_destroyed_leaves_its_bridge(host: Host, lab: Lab) -> None:
    bridge, tap = lab.bridge(), lab.tap(1)
    ifnet.attach_member(host, bridge, tap)
    ifnet.destroy(host, tap)
    until(lambda: get_interface(host, bridge).members == {}, "the member to be gone")


def test_the_bridge_rules_its_members_mtu(host: Host, lab: Lab) -> None:
    bridge, one, two = lab.bridge(), lab.tap(1, mtu=1450), lab.tap(2)
    ifnet.attach_member(host, bridge, one)
    assert get_interface(host, bridge).mtu == 1450
    ifnet.attach_member(host, bridge, two)
    assert get_interface(host, two).mtu == 1450
    with pytest.raises(CommandFailed):
        ifnet.set_mtu(host, two, 1500)
    # asked for again by its maker, it stays what the bridge made it
    ifnet.ensure_tap(host, two, "beastack:conformance:tap", 1500)
    assert get_interface(host, two).mtu == 1450


def test_frames_between_two_guests_and_the_table(host: Host, lab: Lab) -> None:
    bridge, (one, two) = lab.guests(2)
    table = host.run(["ifconfig", bridge, "addr"]).out
    assert {one.mac, two.mac} <= set(table.split())
    host.run(["ifconfig", two.port, "down"])
    assert not one.pings(two.address)
    ifnet.set_up(host, two.port)
    one.reaches(two.address)


def test_private_members_do_not_meet(host: Host, lab: Lab) -> None:
    bridge, (one, two) = lab.guests(2)
    host.run(["ifconfig", bridge, "private", one.port, "private", two.port])
    assert all("PRIVATE" in member.flags for member in get_interface(host, bridge).members.values())
    assert not one.pings(two.address)
    host.run(["ifconfig", bridge, "-private", one.port])
    one.reaches(two.address)


def test_a_bridge_in_monitor_mode_drops_what_its_members_send(host: Host, lab: Lab) -> None:
    bridge, (one, two) = lab.guests(2)
    ifnet.add_address(host, bridge, "10.5.0.250/24")
    one.reaches("10.5.0.250")
    host.run(["ifconfig", bridge, "monitor"])
    assert {"UP", "MONITOR"} <= get_interface(host, bridge).flags
    assert not one.pings(two.address)
    assert not one.pings("10.5.0.250")
    host.run(["ifconfig", bridge, "-monitor"])
    one.reaches(two.address)


def test_a_limit_of_addresses_stops_an_unknown_source(host: Host, lab: Lab) -> None:
    bridge, (one, two) = lab.guests(2)
    host.run(["ifconfig", bridge, "flushall"])
    host.run(["ifconfig", bridge, "static", one.port, one.mac])
    host.run(["ifconfig", bridge, "ifmaxaddr", one.port, "1"])
    assert get_interface(host, bridge).members[one.port].max_addresses == 1
    one.reaches(two.address)
    ifnet.set_mac(one.host, one.nic, "fa:16:3e:66:66:66")
    one.host.run(["arp", "-ad"], check=False)
    assert not one.pings(two.address)
    ifnet.set_mac(one.host, one.nic, one.mac)
    one.reaches(two.address)


def test_an_address_on_the_bridge_is_the_hosts(host: Host, lab: Lab) -> None:
    bridge, (one, _two) = lab.guests(2)
    ifnet.add_address(host, bridge, "10.5.0.254/24")
    one.reaches("10.5.0.254")


def test_ipv6_between_guests(lab: Lab) -> None:
    _bridge, (one, two) = lab.guests(2)
    for guest in (one, two):
        ifnet.add_address(guest.host, guest.nic, f"2001:db8:5::{guest.number}/64")
    one.reaches("2001:db8:5::2")
    assert "2001:db8:5::2" in one.host.run(["ndp", "-an"]).out
