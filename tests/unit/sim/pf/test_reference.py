"""pf against a slow and obvious evaluator of its own, written from pf.conf(5): rules are looked at one by one, states
are a plain list. Translations have one of their own: test_translation.py.
"""

import ipaddress
from dataclasses import dataclass, field, replace
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.sim.pf.frames import SYN, icmp, icmp_error, ip, tcp, udp, udp_payload

from beastack.sim.pf import Pf

ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "2001:db8::1", "2001:db8::2"]
NETWORKS = [*ADDRESSES, "10.0.0.0/24", "10.0.0.0/8", "2001:db8::/64"]
INTERFACES = ["tap1", "tap2"]
TABLES = {"t1": ["10.0.0.0/24", "!10.0.0.2"], "t2": ["2001:db8::1", "10.0.1.1"]}
# what the anchor `a` has of its own: a table is looked up in the rule's anchor, then in main
OWN_TABLES = {"t1": ["10.0.0.2", "10.0.1.1"]}
PORTS = [22, 53, 80, 1000]


@dataclass
class Spec:
    """A rule as the test thinks of it."""

    action: str
    direction: str = ""
    quick: bool = False
    interfaces: list[str] = field(default_factory=list)
    negated_interface: bool = False
    proto: str = ""
    source: str = "any"
    target: str = "any"
    port: str = ""
    if_bound: bool = True
    state: bool = True
    anchor: str = ""
    label: str = ""
    # packets coming in and going out, as `-s labels` tells them
    counted: dict[str, int] = field(default_factory=lambda: {"in": 0, "out": 0})

    def text(self) -> str:
        words = [self.action, self.direction, "quick" if self.quick else ""]
        if self.interfaces:
            inner = ", ".join(self.interfaces)
            words.append(f"on ! {self.interfaces[0]}" if self.negated_interface else f"on {{ {inner} }}")
        words += [f"proto {self.proto}" if self.proto else "", f"from {self.source} to {self.target}"]
        words.append(f"port {self.port}" if self.port else "")
        if self.action == "pass":
            words.append(f"keep state ({'if-bound' if self.if_bound else 'floating'})" if self.state else "no state")
        words.append(f'label "{self.label}"' if self.label else "")
        return " ".join(word for word in words if word)

    def matches(self, ifname: str, direction: str, packet: "Sent") -> bool:
        for side in (self.source, self.target):  # a literal address, `!` or not, makes it a rule of one family
            if side != "any" and "<" not in side and (":" in side) != (":" in packet.source):
                return False
        listed = ifname in self.interfaces[: 1 if self.negated_interface else None]
        return (
            self.direction in ("", direction)
            and (not self.interfaces or listed != self.negated_interface)
            and self.proto in ("", packet.proto)
            and inside(packet.source, self.source, self.anchor)
            and inside(packet.target, self.target, self.anchor)
            # a fragment that is not put together has no ports
            and (not self.port or (not packet.piece and port_in(packet.dport, self.port)))
        )


@dataclass(frozen=True)
class Sent:
    proto: str
    source: str
    target: str
    sport: int
    dport: int
    piece: bool = False
    about: "Sent | None" = None

    def frame(self) -> bytes:
        if self.about is not None:
            kind, code = (1, 4) if ":" in self.source else (3, 1)
            return icmp_error(self.source, self.target, kind, code, self.about.frame())
        if self.piece:
            return ip(self.source, self.target, 17, udp_payload(self.sport, self.dport), more=1)
        if self.proto == "tcp":
            return tcp(self.source, self.sport, self.target, self.dport, SYN)
        if self.proto == "udp":
            return udp(self.source, self.sport, self.target, self.dport)
        return icmp(self.source, self.target, 128 if self.proto == "icmp6" else 8, self.sport)

    def backwards(self) -> "Sent":
        return Sent(self.proto, self.target, self.source, self.dport, self.sport)


def inside(address: str, wanted: str, anchor: str) -> bool:
    if wanted == "any":
        return True
    if wanted.startswith("! "):
        return not inside(address, wanted[2:], anchor)
    one = ipaddress.ip_address(address)
    if wanted.startswith("<"):
        name = wanted[1:-1]
        members = OWN_TABLES[name] if anchor == "a" and name in OWN_TABLES else TABLES[name]
        hits = [
            (ipaddress.ip_network(member.lstrip("!")).prefixlen, not member.startswith("!"))
            for member in members
            if one in ipaddress.ip_network(member.lstrip("!"))
        ]
        return bool(hits) and max(hits)[1]
    return one in ipaddress.ip_network(wanted)


def port_in(port: int, wanted: str) -> bool:
    if ":" in wanted:
        low, high = wanted.split(":")
        return int(low) <= port <= int(high)
    if wanted.startswith("> "):
        return port > int(wanted[2:])
    return port == int(wanted)


class Reference:
    def __init__(self, before: list[Spec], anchors: dict[str, list[Spec]], after: list[Spec]) -> None:
        self.rules = [*before, *(rule for name in sorted(anchors) for rule in anchors[name]), *after]
        self.states: list[tuple[str | None, str, Sent, Spec]] = []
        for name, rules in anchors.items():
            for rule in rules:
                rule.anchor = name
        for number, rule in enumerate(self.rules):
            rule.label = f"r{number}"

    def filter(self, ifname: str, direction: str, packet: Sent) -> bool:
        # an ICMP error goes the other way than the packet that it is about
        known, way = packet, direction
        if packet.about is not None:
            known, way = packet.about, "out" if direction == "in" else "in"
        for bound, made, first, rule in self.states:
            same = known == (first if made == way else first.backwards())
            if bound in (None, ifname) and same and not packet.piece:
                rule.counted[direction] += 1
                return True
        decided: Spec | None = None
        for rule in self.rules:
            if rule.matches(ifname, direction, packet):
                decided = rule
                if rule.quick:
                    break
        if decided is None:
            return True
        decided.counted[direction] += 1
        if decided.action == "pass" and decided.state and packet.about is None and not packet.piece:
            self.states.append((ifname if decided.if_bound else None, direction, packet, decided))
        return decided.action == "pass"


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    proto = draw(st.sampled_from(["", "tcp", "udp", "icmp", "icmp6"]))
    sides = st.one_of(
        st.just("any"),
        st.sampled_from(NETWORKS),
        st.sampled_from(NETWORKS).map(lambda one: f"! {one}"),
        st.sampled_from(["<t1>", "<t2>", "! <t1>"]),
    )
    source, target = draw(sides), draw(sides)
    families = {6 if ":" in side else 4 for side in (source, target) if side != "any" and "<" not in side}
    families |= {4} if proto == "icmp" else {6} if proto == "icmp6" else set()
    if len(families) > 1:
        source = target = "any"
    return Spec(
        draw(st.sampled_from(["pass", "block"])),
        draw(st.sampled_from(["", "in", "out"])),
        draw(st.booleans()),
        draw(st.lists(st.sampled_from(INTERFACES), max_size=2, unique=True)),
        draw(st.booleans()),
        proto,
        source,
        target,
        draw(st.sampled_from(["", "22", "53:80", "> 80"])) if proto in ("tcp", "udp") else "",
        draw(st.booleans()),
        draw(st.booleans()),
    )


packets = st.builds(
    lambda proto, pair, sport, dport: Sent(
        proto if proto != "icmp" or ":" not in pair[0] else "icmp6",
        pair[0],
        pair[1],
        sport,
        8 if proto == "icmp" else dport,
    ),
    st.sampled_from(["tcp", "udp", "icmp"]),
    st.sampled_from([(a, b) for a, b in product(ADDRESSES, ADDRESSES) if a != b and (":" in a) == (":" in b)]),
    st.sampled_from(PORTS),
    st.sampled_from(PORTS),
)
rulesets = st.lists(specs(), max_size=6)


@settings(max_examples=300, deadline=None)
@given(
    rulesets,
    st.dictionaries(st.sampled_from(["a", "b", "c"]), rulesets, max_size=3),
    rulesets,
    st.lists(st.tuples(st.sampled_from(INTERFACES), st.sampled_from(["in", "out"]), packets), max_size=15),
    st.booleans(),
)
def test_same_verdicts(
    before: list[Spec],
    anchors: dict[str, list[Spec]],
    after: list[Spec],
    traffic: list[tuple[str, str, Sent]],
    optimize: bool,
) -> None:
    pf, reference = Pf(), Reference(before, anchors, after)

    def load(anchor: list[str], lines: list[str]) -> None:
        option = "" if optimize else "set ruleset-optimization none\n"
        result = pf.pfctl([*anchor, "-f", "-"], option + "".join(line + "\n" for line in lines), 0.0)
        assert result.rc == 0 and not result.out, (result, lines)
        assert not result.err or "already defined in anchor" in result.err

    tables = [f"table <{name}> persist {{ {' '.join(members)} }}" for name, members in TABLES.items()]
    load([], [*tables, *(rule.text() for rule in before), 'anchor "x/*"', *(rule.text() for rule in after)])
    for name, rules in anchors.items():
        own = [f"table <{t}> persist {{ {' '.join(m)} }}" for t, m in OWN_TABLES.items()] if name == "a" else []
        load(["-a", f"x/{name}"], [*own, *(rule.text() for rule in rules)])
    pf.pfctl(["-e"], "", 0.0)
    asked: list[tuple[str, str, Sent]] = []
    for ifname, direction, packet in traffic:
        asked.append((ifname, direction, packet))
        back = "out" if direction == "in" else "in"
        abouts = [(packet, back), (packet, direction)]
        if packet.proto not in ("icmp", "icmp6"):  # the answer to an echo request is another message
            asked.append((ifname, back, packet.backwards()))
            abouts.append((packet.backwards(), direction))
        # somebody on the way says that the packet did not arrive; and one who was not asked says so of another
        kind = "icmp6" if ":" in packet.source else "icmp"
        for about, way in abouts:
            asked.append((ifname, way, Sent(kind, packet.target, about.source, 0, 0, about=about)))
        if packet.proto == "udp" and kind == "icmp":
            asked.append((ifname, direction, replace(packet, piece=True)))
    for at, (ifname, direction, packet) in enumerate(asked):
        verdict = pf.filter(ifname, direction, packet.frame(), 1.0)
        assert verdict == reference.filter(ifname, direction, packet), (at, asked[at])
    if not optimize:  # pfctl joins rules otherwise
        shown = {rule.label: [0, 0] for rule in reference.rules}
        for name in ("", *anchors):
            said = pf.pfctl([*(["-a", f"x/{name}"] if name else []), "-s", "labels"], "", 1.0).out
            for line in said.splitlines():
                label, _evaluations, counted, _bytes, came, _in_bytes, went, *_more = line.split()
                assert int(counted) == int(came) + int(went)
                # a rule for several interfaces became several
                shown[label] = [shown[label][0] + int(came), shown[label][1] + int(went)]
        assert shown == {rule.label: [rule.counted["in"], rule.counted["out"]] for rule in reference.rules}


@settings(max_examples=150, deadline=None)
@given(rulesets)
def test_a_listing_loads_again_and_lists_the_same(rules: list[Spec]) -> None:
    pf = Pf()
    assert pf.pfctl(["-f", "-"], "".join(rule.text() + "\n" for rule in rules), 0.0).rc == 0
    listing = pf.pfctl(["-sr"], "", 0.0).out
    assert pf.pfctl(["-f", "-"], "set ruleset-optimization none\n" + listing, 0.0).rc == 0
    assert pf.pfctl(["-sr"], "", 0.0).out == listing


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.sampled_from([b"\x08\x00", b"\x86\xdd"]), st.booleans())
def test_no_frame_breaks_it(noise: bytes, kind: bytes, plausible: bool) -> None:
    pf = Pf()
    pf.pfctl(["-ef", "-"], "pass all keep state\n", 0.0)
    if plausible and len(noise) > 4:
        noise = (b"\x45\x00" + len(noise).to_bytes(2, "big") if kind[0] == 8 else b"\x60\0\0\0") + noise[4:]
    pf.filter("tap1", "in", bytes(12) + kind + noise, 1.0)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='pas blockinut{}<>()"!=/,:$\\#1.\n', max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    assert Pf().pfctl(["-nf", "-"], text, 0.0).rc in (0, 1)
