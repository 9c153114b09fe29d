"""nat, binat and rdr against a slow and obvious router, written from pf.conf(5), TRANSLATION: first match, binat before
nat going out, rdr before binat coming in, answers go back the way they came. Every checksum must be right afterwards.
"""

import ipaddress
import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.sim.pf.frames import icmp_error, ip

from beastack.sim.net.offload import ones_sum
from beastack.sim.pf import Pf

INSIDE = [f"10.0.0.{n}" for n in (1, 2, 3)]
OUTSIDE = ["198.51.100.7", "198.51.100.8"]
OWN = ["203.0.113.1", "203.0.113.2", "203.0.113.3"]
PORTS = [22, 80, 8080]
PROXY = range(50001, 65536)
WAN = "wan0"


class Flow(NamedTuple):
    source: str
    sport: int
    target: str
    dport: int

    def backwards(self) -> "Flow":
        return Flow(self.target, self.dport, self.source, self.sport)


@dataclass(frozen=True)
class Line:
    """One translation. `outer` is the router's side, `inner` what it stands for."""

    kind: str
    inner: str
    outer: str
    port: int = 0
    to: int = 0
    static: bool = False
    negated: bool = False

    def text(self) -> str:
        no = "no " if self.negated else ""
        match self.kind:
            case "nat":
                end = "" if self.negated else f" -> {self.outer}{' static-port' if self.static else ''}"
                return f"{no}nat on {WAN} inet from {self.inner} to any{end}"
            case "binat":
                return f"{no}binat on {WAN} inet from {self.inner} to any{'' if self.negated else f' -> {self.outer}'}"
        end = "" if self.negated else f" -> {self.inner} port {self.to}"
        return f"{no}rdr on {WAN} inet proto udp from any to {self.outer} port {self.port}{end}"


@dataclass
class Router:
    """Connections are a list of (what it is inside, what it is outside), each as its first packet went."""

    lines: list[Line]
    known: list[tuple[Flow, Flow]] = field(default_factory=list)

    def of(self, kind: str) -> list[Line]:
        return [line for line in self.lines if line.kind == kind]

    def out(self, flow: Flow) -> tuple[Flow, bool]:
        """What leaves, and whether its port is pf's to choose."""
        for inner, outer in self.known:
            if flow in (inner, inner.backwards()):
                return (outer if flow == inner else outer.backwards()), False
        for line in (*self.of("binat"), *self.of("nat")):
            if flow.source == line.inner or (line.kind == "nat" and line.inner == "any"):
                if line.negated:
                    if line.kind == "binat":
                        return flow, False
                    break
                return flow._replace(source=line.outer), line.kind == "nat" and not line.static
        return flow, False

    def came(self, flow: Flow) -> Flow:
        for inner, outer in self.known:
            if flow in (outer, outer.backwards()):
                return inner if flow == outer else inner.backwards()
        for line in self.of("rdr"):
            if (flow.target, flow.dport) == (line.outer, line.port):
                return flow if line.negated else flow._replace(target=line.inner, dport=line.to)
        for line in self.of("binat"):
            if not line.negated and flow.target == line.outer:
                return flow._replace(target=line.inner)
        return flow


def frame_of(flow: Flow) -> bytes:
    """UDP with whole checksums."""
    data = b"data!"
    body = struct.pack("!HHHH", flow.sport, flow.dport, 8 + len(data), 0) + data
    made = bytearray(ip(flow.source, flow.target, 17, body))
    made[24:26] = (~ones_sum(made[14:34]) & 0xFFFF).to_bytes(2, "big")
    total = ones_sum(made[34:], ones_sum(made[26:34], 17 + len(body)))
    made[40:42] = (~total & 0xFFFF or 0xFFFF).to_bytes(2, "big")
    return bytes(made)


def flow_in(frame: bytes, at: int = 14) -> Flow:
    source, target = (str(ipaddress.IPv4Address(frame[place : place + 4])) for place in (at + 12, at + 16))
    return Flow(source, *struct.unpack_from("!H", frame, at + 20), target, *struct.unpack_from("!H", frame, at + 22))


def whole(frame: bytes) -> bool:
    """Both checksums are right."""
    return (
        ones_sum(frame[14:34]) == 0xFFFF
        and ones_sum(frame[34:], ones_sum(frame[26:34], 17 + len(frame) - 34)) == 0xFFFF
    )


nats = st.builds(
    Line,
    st.just("nat"),
    st.sampled_from([*INSIDE, "any"]),
    st.sampled_from(OWN),
    static=st.booleans(),
    negated=st.booleans(),
)
binats = st.lists(st.builds(Line, st.just("binat"), st.sampled_from(INSIDE), st.sampled_from(OWN)), max_size=2)
rdrs = st.builds(
    Line,
    st.just("rdr"),
    st.sampled_from(INSIDE),
    st.sampled_from(OWN),
    st.sampled_from(PORTS),
    st.sampled_from(PORTS),
    negated=st.booleans(),
)
ENDS = st.sampled_from(OUTSIDE), st.sampled_from(PORTS)
outgoing = st.builds(Flow, st.sampled_from(INSIDE), st.sampled_from(PORTS), *ENDS)
incoming = st.builds(Flow, *ENDS, st.sampled_from(OWN), st.sampled_from(PORTS))
moves = st.tuples(st.just("out"), outgoing) | st.tuples(st.just("in"), incoming)


@settings(max_examples=300, deadline=None)
@given(st.lists(nats, max_size=3), binats, st.lists(rdrs, max_size=3), st.lists(moves, max_size=12))
def test_same_ends(nat: list[Line], binat: list[Line], rdr: list[Line], traffic: list[tuple[str, Flow]]) -> None:
    router = Router([*nat, *binat, *rdr])
    pf = Pf(addresses=lambda _name: [ipaddress.IPv4Address(one).packed for one in OWN])
    text = "".join(line.text() + "\n" for line in router.lines) + "pass all keep state (if-bound)\n"
    assert pf.pfctl(["-ef", "-"], text, 0.0).rc == 0, text
    for direction, flow in traffic:
        frame = frame_of(flow)
        wanted, free = router.out(flow) if direction == "out" else (router.came(flow), False)
        judged = pf.judge(WAN, direction, frame, 1.0)
        # two connections that would be the same one inside or outside: the later one is refused, the first lives on
        pair = (flow, wanted) if direction == "out" else (wanted, flow)
        ways = [(one, other) for a, b in router.known for one, other in ((a, b), (a.backwards(), b.backwards()))]
        clash = not free and any((pair[0] == one) != (pair[1] == other) for one, other in ways)
        assert (judged is None) == clash, (direction, flow, wanted)
        if judged is None:
            continue
        got = flow_in(judged)
        assert whole(judged)
        if free:
            assert got.sport in PROXY
            assert got not in [outer for _inner, outer in router.known], "a port twice"
            wanted = wanted._replace(sport=got.sport)
        assert got == wanted, (direction, flow)
        if direction == "out":
            inner, outer = flow, got
        else:
            inner, outer = got, flow
        known = [pair for pair in router.known if inner in (pair[0], pair[0].backwards())]
        if not known:
            router.known.append((inner, outer))
        # the answer, and an ICMP error in its place
        if direction == "out":
            answer = pf.judge(WAN, "in", frame_of(got.backwards()), 1.0)
            assert answer is not None and whole(answer) and flow_in(answer) == flow.backwards()
            said = pf.judge(WAN, "in", icmp_error(OUTSIDE[0], got.source, 3, 1, judged), 1.0)
            assert said is not None
            assert str(ipaddress.IPv4Address(said[30:34])) == flow.source
            assert flow_in(said, 42) == flow, "what it quotes is what was sent"
        else:
            answer = pf.judge(WAN, "out", frame_of(got.backwards()), 1.0)
            assert answer is not None and whole(answer) and flow_in(answer) == flow.backwards()


def test_states_are_killed_by_the_addresses_on_the_wire() -> None:
    """pf_killstates() looks at the outer key: a floating address that goes takes its connections with it."""
    pf = Pf(addresses=lambda _name: [ipaddress.IPv4Address(one).packed for one in OWN])
    text = f"binat on {WAN} inet from {INSIDE[0]} to any -> {OWN[1]}\npass all keep state (if-bound)\n"
    assert pf.pfctl(["-ef", "-"], text, 0.0).rc == 0
    assert pf.judge(WAN, "out", frame_of(Flow(INSIDE[0], 22, OUTSIDE[0], 80)), 1.0)
    assert pf.judge(WAN, "in", frame_of(Flow(OUTSIDE[1], 22, OWN[1], 80)), 1.0)
    said = [pf.pfctl(["-k", *more], "", 1.0).err for more in ((INSIDE[0],), (OWN[1],), ("0.0.0.0/0", "-k", OWN[1]))]
    assert [words.split()[1] for words in said] == ["0", "1", "1"]
    assert not pf.pfctl(["-s", "states"], "", 1.0).out
