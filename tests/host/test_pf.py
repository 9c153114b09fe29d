"""pf(4) as the firewall uses it: rules read back, tables, states, what really passes (transcripts 04, 05, 14)."""

from dataclasses import replace

import pytest

from beastack.freebsd import ifnet, pf, pf_host, sysctl
from beastack.freebsd.errors import CommandFailed
from beastack.freebsd.host import Host
from beastack.freebsd.pf_rules import ICMP, ICMP6, TCP, UDP, Rule

from .lab import Guest, Lab, until

# every shape that the driver writes
SHAPES = [
    Rule("pass", "a", "out", 4, ICMP, stateful=True),
    Rule("pass", "b", "out", 4, TCP, source="10.0.0.0/8", destination_ports=(80, 80), stateful=True),
    Rule("pass", "c", "out", 4, TCP, source="<bsc_one>", destination_ports=(1000, 2000), stateful=True),
    Rule("pass", "d", "out", 4, UDP, source_ports=(67, 67), destination_ports=(68, 68)),
    Rule("block", "e", "in", 4, source="10.5.0.1", source_not=True),
    Rule("pass", "f", "in", 4, ICMP, icmp_type=8, icmp_code=0, stateful=True),
    Rule("pass", "g", "in", 6, ICMP6, icmp_type=135),
    Rule("pass", "h", "out", 6, TCP, source="2001:db8::/32", stateful=True),
    Rule("pass", "i", "out", 4, 112, stateful=True),
    Rule("pass", "j", "in", 4, 2, allow_opts=True),
    Rule("block", "k", None, 4, destination="192.0.2.1"),
    Rule("pass", "l", "in", stateful=True),
]
EGRESS = Rule("pass", "egress", "in", 4, stateful=True)
PING = Rule("pass", "ping", "out", 4, ICMP, stateful=True)
# states are ended by label on the whole host: a label that two ports share would end both ports' states
OWN_PING = [replace(PING, label=f"ping{number}") for number in range(4)]


def test_a_prepared_host(own_pf: Host) -> None:
    assert pf_host.prepare(own_pf) == []
    for name, value in pf_host.SYSCTLS:
        assert sysctl.read_int(own_pf, name) == value
    # a setting that somebody changes is put right, and told
    own_pf.run(["sysctl", "net.link.bridge.pfil_member=0"])
    assert pf_host.prepare(own_pf) == ["net.link.bridge.pfil_member=1"]


def test_what_ipfw_resets_is_seen(own_pf: Host, lab: Lab) -> None:
    lab.later(lambda: pf_host.prepare(own_pf))
    lab.later(lambda: own_pf.run(["sysctl", "net.link.bridge.ipfw=0"]))
    own_pf.run(["sysctl", "net.link.bridge.ipfw=1"])
    assert "net.link.bridge.pfil_member=1" in pf_host.prepare(own_pf)


def test_rules_are_read_back_as_they_were_meant(filtering: Host, lab: Lab) -> None:
    tap = lab.tap(1)
    pf.replace_table(filtering, "bsc_one", ["10.5.0.1"])
    pf.load_rules(filtering, tap, SHAPES)
    found = pf.read_rules(filtering, tap)
    assert found is not None
    assert found[:-1] == SHAPES
    assert (found[-1].action, found[-1].direction) == ("block", None)
    assert tap in pf.list_anchors(filtering)
    pf.unload(filtering, tap)
    assert not pf.read_rules(filtering, tap)
    pf.unload(filtering, tap)


@pytest.mark.parametrize("count", [1, 100, 500])
def test_many_rules_keep_their_order(filtering: Host, lab: Lab, count: int) -> None:
    tap = lab.tap(1)
    rules = [Rule("pass", f"n{n}", "out", 4, TCP, f"10.{n // 250}.{n % 250}.0/24", stateful=True) for n in range(count)]
    pf.load_rules(filtering, tap, rules)
    found = pf.read_rules(filtering, tap)
    assert found is not None
    assert [rule.label for rule in found[:-1]] == [rule.label for rule in rules]


def test_a_syntax_error_leaves_the_old_rules(filtering: Host, lab: Lab) -> None:
    tap = lab.tap(1)
    pf.load_rules(filtering, tap, [PING])
    before = pf.read_rules(filtering, tap)
    with pytest.raises(CommandFailed, match="syntax error"):
        filtering.run(["pfctl", "-q", "-a", pf.anchor(tap), "-f", "-"], input="pass in bogus\n")
    assert pf.read_rules(filtering, tap) == before


def test_tables(filtering: Host) -> None:
    assert pf.read_table(filtering, "bsc_none") is None
    assert pf.replace_table(filtering, "bsc_one", ["10.5.0.1", "10.6.0.0/16", "2001:db8::1"]) == []
    assert set(pf.read_table(filtering, "bsc_one") or []) == {"10.5.0.1", "10.6.0.0/16", "2001:db8::1"}
    assert "bsc_one" in pf.list_tables(filtering)
    assert pf.replace_table(filtering, "bsc_one", ["10.5.0.1", "10.5.0.2"]) == ["10.6.0.0/16", "2001:db8::1/128"]
    pf.drop_table(filtering, "bsc_one")
    pf.drop_table(filtering, "bsc_one")
    assert pf.read_table(filtering, "bsc_one") is None


def test_a_table_of_a_thousand(filtering: Host) -> None:
    members = [f"10.9.{n // 250}.{n % 250}" for n in range(1000)]
    pf.replace_table(filtering, "bsc_many", members)
    assert len(pf.read_table(filtering, "bsc_many") or []) == 1000
    assert pf.replace_table(filtering, "bsc_many", members[1:]) == ["10.9.0.0/32"]


def _open(host: Host, *guests: Guest) -> None:
    """What a guest sends passes, and its answers; nothing else."""
    for guest in guests:
        pf.load_rules(host, guest.port, [EGRESS])


def test_default_deny_and_a_port_that_opens(filtering: Host, lab: Lab) -> None:
    _bridge, (one, two, three) = _closed(filtering, lab, 3)
    _open(filtering, one, two, three)
    assert not one.pings(two.address)
    pf.load_rules(filtering, two.port, [EGRESS, PING])
    one.reaches(two.address)
    three.reaches(two.address)
    assert not two.pings(one.address)


def _closed(host: Host, lab: Lab, count: int) -> tuple[str, list[Guest]]:
    """Guests whose cables work: seen before anything is closed."""
    bridge = lab.bridge()
    guests = []
    for number in range(1, count + 1):
        guest = lab.guest(number, bridge)
        guests.append(guest)
        pf.load_rules(host, guest.port, [Rule("pass", "all", None, stateful=True)])
    for guest in guests[1:]:
        guests[0].reaches(guest.address)
    for guest in guests:
        pf.load_rules(host, guest.port, [])
        pf.kill_states(host, guest.port)
    return bridge, guests


def test_an_interface_without_an_anchor_passes_nothing(filtering: Host, lab: Lab) -> None:
    _bridge, (one, two) = _closed(filtering, lab, 2)
    for guest in (one, two):
        pf.unload(filtering, guest.port)
    assert not one.pings(two.address)


def test_members_of_a_table_may(filtering: Host, lab: Lab) -> None:
    _bridge, (one, two, three) = _closed(filtering, lab, 3)
    _open(filtering, one, three)
    pf.replace_table(filtering, "bsc_sg", [one.address])
    pf.load_rules(filtering, two.port, [EGRESS, Rule("pass", "sg", "out", 4, ICMP, source="<bsc_sg>", stateful=True)])
    one.reaches(two.address)
    assert not three.pings(two.address)
    pf.replace_table(filtering, "bsc_sg", [one.address, three.address])
    three.reaches(two.address)
    for gone in pf.replace_table(filtering, "bsc_sg", [three.address]):
        pf.kill_address(filtering, two.port, gone)
    assert not one.pings(two.address)


def test_tcp_by_port(filtering: Host, lab: Lab) -> None:
    _bridge, (one, two) = _closed(filtering, lab, 2)
    _open(filtering, one)
    lab.listener(two, 8080)
    lab.listener(two, 8081)
    pf.load_rules(
        filtering, two.port, [EGRESS, Rule("pass", "web", "out", 4, TCP, destination_ports=(8080, 8080), stateful=True)]
    )
    until(lambda: one.connects(two.address, 8080), "the open port")
    assert not one.connects(two.address, 8081)


def test_withdrawn_access_ends_its_states_and_no_others(filtering: Host, lab: Lab) -> None:
    _bridge, (one, two, three) = _closed(filtering, lab, 3)
    _open(filtering, one, three)
    pf.load_rules(filtering, two.port, [EGRESS, OWN_PING[2]])
    pf.load_rules(filtering, three.port, [EGRESS, OWN_PING[3]])
    one.reaches(two.address)
    one.reaches(three.address)
    assert _states(filtering, two.port)
    kept = _states(filtering, three.port)
    pf.load_rules(filtering, two.port, [EGRESS])
    assert not [line for line in _states(filtering, two.port) if "icmp" in line]
    assert _states(filtering, three.port) == kept
    assert not one.pings(two.address)


def _states(host: Host, interface: str) -> list[str]:
    """Who has a state on the interface, without its age."""
    lines = host.run(["pfctl", "-i", interface, "-s", "states"]).out.splitlines()
    return sorted(" ".join(line.split()[:5]) for line in lines if line.split()[:1] == [interface])


def test_states_are_bound_to_their_interface(filtering: Host, lab: Lab) -> None:
    """A guest may not speak through another's state (05: FLOATING: SPOOFED PACKET SEEN)."""
    _bridge, (one, two, three) = _closed(filtering, lab, 3)
    own = Rule("pass", "own", "in", 4, source="10.5.0.1", stateful=True)
    pf.load_rules(filtering, one.port, [own])
    pf.load_rules(filtering, two.port, [EGRESS, PING])
    pf.load_rules(filtering, three.port, [Rule("pass", "own", "in", 4, source="10.5.0.3", stateful=True)])
    one.reaches(two.address)
    assert {line.split()[0] for line in _states(filtering, one.port)} == {one.port}
    ifnet.add_address(three.host, three.nic, "10.5.0.1/32")
    before = _received(filtering, "own", three.port)
    assert not three.pings(two.address, source="10.5.0.1")
    assert _received(filtering, "own", three.port) == before


def _received(host: Host, label: str, interface: str) -> int:
    """Packets that a rule of the port has passed (`pfctl -s labels`: label evaluations packets …)."""
    for line in host.run(["pfctl", "-a", pf.anchor(interface), "-s", "labels"]).out.splitlines():
        words = line.split()
        if words[0] == label:
            return int(words[2])
    raise AssertionError(f"no label {label} on {interface}")


def test_arp_passes_and_ipv6_needs_its_neighbours(filtering: Host, lab: Lab) -> None:
    _bridge, (one, two) = _closed(filtering, lab, 2)
    six = [
        Rule("pass", "six", "in", 6, stateful=True),
        Rule("pass", "ping6", "out", 6, ICMP6, icmp_type=128, stateful=True),
    ]
    neighbours = [
        Rule("pass", f"nd{kind}", way, 6, ICMP6, icmp_type=kind) for kind in (135, 136) for way in ("in", "out")
    ]
    for guest in (one, two):
        ifnet.add_address(guest.host, guest.nic, f"2001:db8:5::{guest.number}/64")
        # states of neighbour discovery match no answer (14): these rules come first and keep none
        pf.load_rules(filtering, guest.port, six)
    assert not one.pings("2001:db8:5::2")
    for guest in (one, two):
        pf.load_rules(filtering, guest.port, [*neighbours, *six])
    one.reaches("2001:db8:5::2")
    one.host.run(["arp", "-ad"], check=False)
    one.pings(two.address)
    assert two.mac in one.host.run(["arp", "-an"]).out


def test_a_hundred_anchors(filtering: Host, lab: Lab) -> None:
    names = [f"bscport{n}" for n in range(100)]
    for name in names:
        pf.load_rules(filtering, name, [EGRESS, PING])
    assert set(names) <= set(pf.list_anchors(filtering))
    assert pf.read_rules(filtering, names[50]) == pf.read_rules(filtering, names[50])
    for name in names:
        pf.unload(filtering, name)
    assert not set(names) & set(pf.list_anchors(filtering))
