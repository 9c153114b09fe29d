"""Owns which nat, binat or rdr rule a packet takes, and what its ends become (pf.conf(5), TRANSLATION).

The first rule that matches decides, not the last. Going out, binat comes before nat; coming in, rdr before binat.
"""

import random
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from beastack.sim.pf.anchors import Anchor
from beastack.sim.pf.evaluate import Test, called, compiled, on_interface
from beastack.sim.pf.model import Addr, Port, Rule
from beastack.sim.pf.packet import ICMP, ICMP6, TCP, UDP, Packet
from beastack.sim.pf.rewrite import Flow

PROXY_PORTS = (50001, 65535)
_TRIES = 65536
_DEPTH = 64


class Candidate(NamedTuple):
    """One rule with what is left to ask of a packet; `reverse` is a binat seen from outside."""

    rule: Rule
    tests: tuple[Test, ...]
    reverse: bool


Addresses = Callable[[str], Collection[bytes]]


def candidates(
    anchor: Anchor, ifname: str, direction: str, family: int, groups: Collection[str]
) -> tuple[Candidate, ...]:
    """The rules that may translate on one interface in one direction, in pf's order."""
    lists = ("binats", "nats") if direction == "out" else ("rdrs", "binats")
    found: list[Candidate] = []
    for kind in lists:
        found += _below(anchor, kind, ifname, direction, family, groups, (), 0)
    return tuple(found)


def _below(
    anchor: Anchor,
    kind: str,
    ifname: str,
    direction: str,
    family: int,
    groups: Collection[str],
    outer: tuple[Test, ...],
    depth: int,
) -> Iterator[Candidate]:
    rules: list[Rule] = getattr(anchor, kind)
    for rule in rules:
        if rule.ifname and on_interface(ifname, rule.ifname, groups) == rule.ifnot:
            continue
        if (rule.af and rule.af != family) or rule.direction not in ("", direction):
            continue
        if rule.anchor:
            test = compiled(rule, anchor)
            tests = (*outer, test) if test is not None else outer
            for child in called(anchor, rule) if depth < _DEPTH else ():
                yield from _below(child, kind, ifname, direction, family, groups, tests, depth + 1)
            continue
        reverse = kind == "binats" and direction == "in"
        test = _from_outside(rule, anchor) if reverse else compiled(rule, anchor)
        yield Candidate(rule, (*outer, test) if test is not None else outer, reverse)


def _from_outside(rule: Rule, anchor: Anchor) -> Test:
    """A binat rule for what comes in: to its outer address, from whom its inner side may speak to."""
    turned = Rule(rule.action, proto=rule.proto, src=rule.dst, sport=rule.dport, tagged=rule.tagged)
    rest = compiled(turned, anchor)
    outer = rule.pool[0] if rule.pool else Addr("net", rule.af, 0, 0)

    def test(packet: Packet) -> bool:
        return _inside(packet.dst, outer, anchor) and (rest is None or rest(packet))

    return test


def _inside(raw: bytes, addr: Addr, anchor: Anchor) -> bool:
    if addr.kind == "dyn":
        return raw in anchor.root.addresses(addr.name)
    if (len(raw) == 4) != (addr.af == 4):
        return False
    shift = len(raw) * 8 - addr.prefix
    return int.from_bytes(raw, "big") >> shift == addr.low >> shift


class Translator:
    """Chooses new ends. `taken` says whether a port is in use towards the same far end."""

    def __init__(self, main: Anchor, generator: random.Random) -> None:
        self._main = main
        self._random = generator

    def find(self, among: tuple[Candidate, ...], packet: Packet) -> Candidate | None:
        """The rule that translates; None also when the first that matches says `no`."""
        for candidate in among:
            candidate.rule.evaluations += 1
            if all(test(packet) for test in candidate.tests):
                return None if candidate.rule.negated else candidate
        return None

    def apply(self, rule: Rule, packet: Packet, kind: str, reverse: bool, taken: Callable[[Flow], bool]) -> Flow | None:
        """The packet's new ends by a nat, rdr or binat rule; None when no port is left."""
        src, sport, dst, dport = packet.src, packet.sport, packet.dst, packet.dport
        if kind == "binat":
            if reverse:
                inner = Addr("net", rule.src.af, rule.src.low, rule.src.prefix)
                return Flow(src, sport, _mapped(dst, inner), dport)
            return Flow(_mapped(src, self._fixed(rule.pool[0], src)), sport, dst, dport)
        address = self._choose(rule, packet)
        if address is None:
            return None
        if kind == "rdr":
            return Flow(src, sport, address, _redirected(rule, dport))
        return self._source_port(rule, packet, Flow(address, sport, dst, dport), taken)

    def _fixed(self, addr: Addr, like: bytes) -> Addr:
        if addr.kind != "dyn":
            return addr
        own = next((one for one in self._main.addresses(addr.name) if len(one) == len(like)), None)
        width = len(like) * 8
        return Addr("net", 4 if width == 32 else 6, int.from_bytes(own or like, "big"), width)

    def _choose(self, rule: Rule, packet: Packet) -> bytes | None:
        pool: list[Addr] = []
        width = 32 if packet.family == 4 else 128
        for addr in rule.pool:
            if addr.kind == "dyn":
                own = [one for one in self._main.addresses(addr.name) if len(one) * 8 == width]
                pool += [Addr("net", packet.family, int.from_bytes(one, "big"), width) for one in own]
            elif addr.af == packet.family:
                pool.append(addr)
        sizes = [1 << (width - addr.prefix) for addr in pool]
        if not pool:
            return None
        value = int.from_bytes(packet.src, "big")
        if "bitmask" in rule.pool_options:
            number = value % sizes[0]
        elif "sticky-address" in rule.pool_options:
            number = value % sum(sizes)
        elif "random" in rule.pool_options:
            number = self._random.randrange(sum(sizes))
        else:
            number = rule.turn % sum(sizes)
            rule.turn += 1
        for addr, size in zip(pool, sizes, strict=True):
            if number < size:
                return (addr.low + number).to_bytes(width // 8, "big")
            number -= size
        return None

    def _source_port(self, rule: Rule, packet: Packet, flow: Flow, taken: Callable[[Flow], bool]) -> Flow | None:
        query = packet.proto in (ICMP, ICMP6) and packet.stateful and not packet.reply
        if packet.proto not in (TCP, UDP) and not query:
            return flow  # no ports to choose
        if "static-port" in rule.pool_options:
            return None if taken(flow) else flow
        low, high = (1, 65535) if query else PROXY_PORTS
        if rule.pool_port is not None and not query:
            low = rule.pool_port.low
            high = rule.pool_port.high if rule.pool_port.op == ":" else low
        count = high - low + 1
        start = self._random.randrange(count)
        for step in range(min(count, _TRIES)):
            wanted = flow._replace(sport=low + (start + step) % count)
            if not taken(wanted):
                return wanted
        return None


def _mapped(raw: bytes, onto: Addr) -> bytes:
    """The host part of an address below another network."""
    width = len(raw) * 8
    host = int.from_bytes(raw, "big") & ((1 << (width - onto.prefix)) - 1)
    return (onto.low | host).to_bytes(len(raw), "big")


def _redirected(rule: Rule, dport: int) -> int:
    wanted, asked = rule.pool_port, rule.dport
    if wanted is None:
        return dport
    if wanted.op != ":":
        return wanted.low
    return wanted.low + (dport - (asked or Port("=", dport)).low) % (wanted.high - wanted.low + 1)
