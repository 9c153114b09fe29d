"""States: read as pfctl prints them, and ended when the rules and tables in force would not make them any more."""

import time

import pytest
from tests.unit.freebsd.simulated import SimulatedHost
from tests.unit.sim.pf.frames import SYN, icmp, tcp, udp

from beastack.freebsd import pf, pf_host, pf_states
from beastack.freebsd.errors import UnexpectedOutput
from beastack.freebsd.host import Completed
from beastack.freebsd.pf_rules import ICMP, ICMP6, TCP, UDP, Rule
from beastack.freebsd.pf_states import State, parse_states

TAP, OTHER, TABLE = "tap12345678-90", "tap12345678-91", "bs4_0123456789ab"
ME, PEER, THIRD = "10.5.0.2", "10.5.0.1", "10.5.0.3"
# the lines of 05-security-groups, with what -vv adds (print_state in pf_print_state.c)
LISTING = f"""No ALTQ support in kernel
ALTQ related functions disabled
{TAP} icmp 10.5.0.1:8 <- 10.5.0.2:34056       0:0
   age 00:00:01, expires in 00:00:09, 1:1 pkts, 84:84 bytes, anchor 0, rule 0, allow-opts
   id: 4823e84500000003 creatorid: 0a0b0c0d
   origif: {TAP}
{TAP} icmp 10.5.0.1:35592 -> 10.5.0.2:8       0:0
   age 00:00:01, expires in 00:00:09, 1:1 pkts, 84:84 bytes, anchor 0, rule 0
   id: 4823e84500000004 creatorid: 0a0b0c0d
{OTHER} tcp 10.5.0.1:35592 (192.0.2.1:4000) -> 10.5.0.2:8       ESTABLISHED:ESTABLISHED
   [1 + 2]  [3 + 4]
{TAP} tcp 2001:db8::1[80] <- 2001:db8::2[40000]       ESTABLISHED:ESTABLISHED
   [4209 + 65536] wscale 7  [11 + 2] wscale 3
   age 00:00:01, expires in 24:00:00, 1:1 pkts, 84:84 bytes, anchor 0, rule 0
   id: 4823e84500000005 creatorid: 0a0b0c0d
{TAP} carp 10.5.0.1 -> 224.0.0.18       SINGLE:NO_TRAFFIC
   age 00:00:01, expires in 00:00:30, 1:0 pkts, 84:0 bytes, anchor 0, rule 0
   id: 4823e84500000006 creatorid: 0a0b0c0d
"""


def test_listings_are_read() -> None:
    assert [(s.direction, s.protocol, s.source, s.source_port, s.destination, s.destination_port, s.key)
            for s in parse_states(LISTING, {TAP}, ())] == [
        ("in", ICMP, ME, 34056, PEER, 8, "4823e84500000003/0a0b0c0d"),
        ("out", ICMP, PEER, 35592, ME, 8, "4823e84500000004/0a0b0c0d"),
        ("in", TCP, "2001:db8::2", 40000, "2001:db8::1", 80, "4823e84500000005/0a0b0c0d"),
        ("out", 112, PEER, 0, "224.0.0.18", 0, "4823e84500000006/0a0b0c0d"),
    ]  # fmt: skip
    for broken in (f"{TAP} tcp what?\n", LISTING.replace("   id: 4823e84500000006 creatorid: 0a0b0c0d\n", "")):
        with pytest.raises(UnexpectedOutput):
            parse_states(broken, {TAP}, ())
    with pytest.raises(UnexpectedOutput):
        parse_states(LISTING, {OTHER}, ())


class Port:
    """A port whose group lets in ssh and web, and everything of a table's members."""

    SSH, WEB = (Rule("pass", f"{TAP}/{n}", "out", 4, TCP, destination_ports=(n, n), stateful=True) for n in (22, 80))
    FRIENDS = Rule("pass", f"{TAP}/friends", "out", 4, source=f"<{TABLE}>", stateful=True)
    EGRESS = Rule("pass", f"{TAP}/egress", "in", 4, stateful=True)

    def __init__(self) -> None:
        self.host = SimulatedHost()
        pf_host.prepare(self.host)
        pf.replace_table(self.host, TABLE, [PEER, THIRD])

    def load(self, *rules: Rule) -> None:
        pf.load_rules(self.host, TAP, rules)

    def passes(self, direction: str, frame: bytes) -> None:
        assert self.host.pf.filter(TAP, direction, frame, time.monotonic())

    def open(self) -> set[str]:
        """Who is connected: initiator and its target, with ports."""
        found = pf_states.read_states(self.host, [TAP])
        return {f"{s.source}:{s.source_port} {s.destination}:{s.destination_port}" for s in found}


@pytest.fixture
def port() -> Port:
    return Port()


def test_a_rule_that_goes_ends_its_own_states_only(port: Port) -> None:
    port.load(port.SSH, port.WEB)
    port.passes("out", tcp(PEER, 4000, ME, 22, SYN))
    port.passes("out", tcp(PEER, 4001, ME, 80, SYN))
    port.load(port.WEB)
    assert port.open() == {f"{PEER}:4001 {ME}:80"}


def test_what_another_rule_allows_goes_on(port: Port) -> None:
    port.load(port.SSH, port.FRIENDS)
    port.passes("out", tcp(PEER, 4000, ME, 22, SYN))
    port.load(port.FRIENDS)
    assert port.open() == {f"{PEER}:4000 {ME}:22"}
    # and ends when that one goes, though the rule that made it went long ago
    pf.change_table(port.host, TABLE, [], [PEER])
    pf.end_member_states(port.host, [TAP], [PEER])
    assert port.open() == set()


def test_rules_that_are_in_force_are_read_only(port: Port) -> None:
    port.load(port.SSH, port.WEB)
    before = len(port.host.ran)
    port.load(port.SSH, port.WEB)
    assert port.host.ran[before:] == [["pfctl", "-a", f"beastack/{TAP}", "-sr"]]


def test_a_rule_more_ends_nothing_and_lists_nothing(port: Port) -> None:
    port.load(port.SSH)
    before = len(port.host.ran)
    port.load(port.SSH, port.WEB)
    assert not [argv for argv in port.host.ran[before:] if "states" in argv or "-k" in argv]


def test_a_member_that_goes_ends_what_only_it_was_allowed(port: Port) -> None:
    port.load(port.WEB, port.FRIENDS, port.EGRESS)
    port.passes("out", tcp(PEER, 4000, ME, 22, SYN))
    port.passes("out", tcp(PEER, 4001, ME, 80, SYN))
    port.passes("out", tcp(THIRD, 4002, ME, 22, SYN))
    port.passes("in", udp(ME, 5000, PEER, 53))
    assert pf.change_table(port.host, TABLE, [], [PEER])
    before = len(port.host.ran)
    pf.end_member_states(port.host, [TAP, OTHER], [PEER])
    assert port.open() == {f"{PEER}:4001 {ME}:80", f"{THIRD}:4002 {ME}:22", f"{ME}:5000 {PEER}:53"}
    # one listing for all ports, one reading of the port's rules, one question about the table, one state ended
    assert [argv[1] for argv in port.host.ran[before:-1]] == ["-vv", "-a", "-t", "-k"]


def test_an_address_that_the_port_loses(port: Port) -> None:
    def own(address: str) -> Rule:
        return Rule("block", f"{TAP}/own", "in", 4, source=address, source_not=True)

    port.load(own(ME), port.WEB, port.EGRESS)
    port.passes("out", tcp(PEER, 4001, ME, 80, SYN))
    port.passes("in", udp(ME, 5000, PEER, 53))
    port.load(own(THIRD), port.WEB, port.EGRESS)
    assert port.open() == set()


def test_icmp_by_type(port: Port) -> None:
    echo = Rule("pass", f"{TAP}/echo", "out", 4, ICMP, icmp_type=8, icmp_code=0, stateful=True)
    port.load(port.WEB, Rule("pass", f"{TAP}/icmp", "out", 4, ICMP, stateful=True))
    port.passes("out", icmp(PEER, ME, 8, ident=77))
    port.passes("out", icmp(PEER, ME, 13, ident=78))
    port.load(echo)
    assert port.open() == {f"{PEER}:77 {ME}:8"}


def test_a_rule_that_keeps_no_state_keeps_none(port: Port) -> None:
    port.load(port.WEB)
    port.passes("out", tcp(PEER, 4001, ME, 80, SYN))
    port.load(Rule("pass", f"{TAP}/80", "out", 4, TCP, destination_ports=(80, 80)))
    assert port.open() == set()


def test_many_end_at_once(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    port.load(port.SSH, port.WEB)
    for number in range(pf_states.MOST_KILLS + 1):
        port.passes("out", tcp(PEER, 4000 + number, ME, 22, SYN))
    port.load(port.WEB)
    assert port.open() == set()
    assert port.host.ran[-2] == ["pfctl", "-q", "-i", TAP, "-F", "states"]


def test_a_state_that_pf_does_not_end_takes_the_others_with_it(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    port.load(port.SSH, port.WEB)
    port.passes("out", tcp(PEER, 4000, ME, 22, SYN))
    port.passes("out", tcp(PEER, 4001, ME, 80, SYN))
    whole = port.host.run

    def run(argv, **kw):  # type: ignore[no-untyped-def]
        return Completed(tuple(argv), 0, "", "killed 0 states\n") if "id" in argv else whole(argv, **kw)

    monkeypatch.setattr(port.host, "run", run)
    port.load(port.WEB)
    assert port.open() == set()


def test_states_that_cannot_be_read_are_ended(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    port.load(port.SSH, port.WEB)
    port.passes("out", tcp(PEER, 4001, ME, 80, SYN))
    whole = port.host.run

    def run(argv, **kw):  # type: ignore[no-untyped-def]
        return (
            Completed(tuple(argv), 0, f"{TAP} ???\n", "") if "states" in argv and "-vv" in argv else whole(argv, **kw)
        )

    monkeypatch.setattr(port.host, "run", run)
    port.load(port.WEB)
    pf.end_member_states(port.host, [TAP], [PEER])
    monkeypatch.setattr(port.host, "run", whole)
    assert port.open() == set()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule("pass", "a", None, stateful=True), True),
        (Rule("pass", "a", "in", 6, stateful=True), False),
        (Rule("pass", "a", "out", 4, stateful=True), False),
        (Rule("pass", "a", "out", 6, UDP, stateful=True), False),
        (Rule("pass", "a", "out", 6, TCP, source="2001:db8::/32", source_ports=(1, 5000), stateful=True), True),
        (Rule("pass", "a", "out", 6, TCP, source_ports=(1, 3999), stateful=True), False),
        (Rule("pass", "a", "out", 6, TCP, destination="2001:db8::3", stateful=True), False),
        (Rule("pass", "a", "out", 6, ICMP6, icmp_type=80, stateful=True), False),
        (Rule("block", "a", "out", 6), False),
        (Rule("block", "a", "in", 6, source="2001:db8::2", source_not=True), True),
        (Rule("block", "a", "in", 6, source="2001:db8::3", source_not=True), False),
        (Rule("block", "a", "in", 4), True),
        (Rule("block", "a", "in", 6), False),
        (Rule("block", "a", "in", 6, UDP), True),
    ],
)
def test_a_state_against_a_rule(rule: Rule, expected: bool) -> None:
    state = State(TAP, "out", TCP, "2001:db8::1", 4000, "2001:db8::2", 80, "1/1")
    rest = [Rule("pass", "rest", None, stateful=True)] if rule.action == "block" and rule.direction == "in" else []
    assert pf_states.allowed(state, [rule, *rest], lambda *_: False) is expected


def test_tables_change_by_the_difference() -> None:
    host = SimulatedHost()
    assert not pf.change_table(host, TABLE, ["10.0.0.1"], [])  # there was none
    assert pf.change_table(host, TABLE, ["10.0.0.2", "10.1.0.0/16"], ["10.0.0.1"])
    assert sorted(pf.read_table(host, TABLE) or []) == ["10.0.0.2", "10.1.0.0/16"]
    assert not pf.change_table(host, TABLE, ["10.0.0.2"], [])
    assert not pf.change_table(host, TABLE, [], ["10.0.0.9"])
    many = [f"10.2.{n // 250}.{n % 250}" for n in range(500)]
    assert pf.change_table(host, TABLE, many, ["10.0.0.2"])
    assert len(pf.read_table(host, TABLE) or []) == 501
    assert pf_states.in_table(host, TABLE, "10.2.1.1")
    assert not pf_states.in_table(host, TABLE, "10.3.1.1")
    assert not pf_states.in_table(host, "bs4_000000000000", "10.3.1.1")
