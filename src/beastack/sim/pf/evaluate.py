"""Owns the evaluation of rules: the last match decides, unless it is quick; anchors in place (pf.conf(5)).

A program is the rules that can match on one interface in one direction for one family, in order. It is made once per
change of the rules, so a host with hundreds of ports costs each frame only its own ports' rules.
"""

from collections.abc import Callable, Collection, Iterator

from beastack.sim.pf.anchors import Anchor
from beastack.sim.pf.model import Addr, Port, Rule
from beastack.sim.pf.packet import Packet

Test = Callable[[Packet], bool]
Side = Callable[[bytes], bool]
_DEPTH = 64


def on_interface(ifname: str, wanted: str, groups: Collection[str]) -> bool:
    """Whether an interface is the named one or of the named group (`lo` is lo0's group)."""
    return ifname == wanted or wanted in groups


class Step:
    """A rule with its compiled test; an anchor rule also has the steps below it."""

    __slots__ = ("below", "rule", "test")

    def __init__(self, rule: Rule, test: Test | None, below: "list[Step] | None") -> None:
        self.rule = rule
        self.test = test
        self.below = below


def program(
    anchor: Anchor, ifname: str, direction: str, family: int, groups: Collection[str], depth: int = 0
) -> list[Step]:
    """What is left of the rules for one interface (with its groups), direction and family."""
    steps = []
    for rule in anchor.filters:
        if rule.direction and rule.direction != direction:
            continue
        if rule.af and rule.af != family:
            continue
        if rule.ifname and on_interface(ifname, rule.ifname, groups) == rule.ifnot:
            continue
        below = None
        if rule.anchor:
            below = []
            if depth < _DEPTH:
                for child in called(anchor, rule):
                    below += program(child, ifname, direction, family, groups, depth + 1)
            if not below:
                continue
        steps.append(Step(rule, compiled(rule, anchor), below))
    return steps


def called(anchor: Anchor, rule: Rule) -> Iterator[Anchor]:
    path = anchor.called(rule)
    wild = path == "*" or path.endswith("/*")
    found = anchor.root.find(path.removesuffix("*"))
    if found is None:
        return
    if wild:
        yield from found.sorted_children()
    else:
        yield found


def decide(steps: list[Step], packet: Packet) -> Rule | None:
    """The rule that decides; None when none matched."""
    found = _Found()
    _run(steps, packet, found)
    return found.rule


class _Found:
    __slots__ = ("matches", "rule")

    def __init__(self) -> None:
        self.rule: Rule | None = None
        self.matches = 0


def _run(steps: list[Step], packet: Packet, found: _Found) -> bool:
    """True when a quick rule ended the evaluation."""
    for step in steps:
        rule = step.rule
        rule.evaluations += 1
        test = step.test
        if test is not None and not test(packet):
            continue
        if step.below is not None:
            before = found.matches
            if _run(step.below, packet, found):
                return True
            if rule.quick and found.matches != before:
                return True
            continue
        if rule.tag:
            packet.tag = rule.tag
        if rule.action == "match":
            if rule.pool:
                packet.translation = rule
            continue
        found.rule = rule
        found.matches += 1
        if rule.quick:
            return True
    return False


def compiled(rule: Rule, anchor: Anchor) -> Test | None:
    """What is left to ask of a packet once interface, direction and family are known."""
    tests = list(_tests(rule, anchor))
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        one, two = tests
        return lambda packet: one(packet) and two(packet)
    return lambda packet: all(test(packet) for test in tests)


def _tests(rule: Rule, anchor: Anchor) -> Iterator[Test]:
    if rule.proto:
        proto = rule.proto
        yield lambda packet: packet.proto == proto
    src, dst = _side(rule.src, anchor), _side(rule.dst, anchor)
    if src is not None:
        from_ = src
        yield lambda packet: from_(packet.src)
    if dst is not None:
        to = dst
        yield lambda packet: to(packet.dst)
    if rule.sport is not None:
        source_port = _port(rule.sport)
        yield lambda packet: source_port(packet.sport) and not packet.piece
    if rule.dport is not None:
        target_port = _port(rule.dport)
        yield lambda packet: target_port(packet.dport) and not packet.piece
    if rule.icmp_type >= 0:
        kind, code = rule.icmp_type, rule.icmp_code
        yield lambda packet: packet.icmp_type == kind and code in (-1, packet.icmp_code) and not packet.piece
    if rule.flags is not None and rule.flags[1]:
        wanted, considered = rule.flags
        yield lambda packet: packet.proto != 6 or (packet.flags & considered == wanted and not packet.piece)
    if rule.tos:
        tos = rule.tos
        yield lambda packet: packet.tos == tos
    if rule.fragment:
        yield lambda packet: packet.frag_id >= 0
    if rule.tagged:
        tag = rule.tagged
        yield lambda packet: packet.tag == tag


def _side(addr: Addr, anchor: Anchor) -> Side | None:
    if addr.kind == "any":
        return None if not addr.neg else _nothing
    plain = _plain(addr, anchor)
    if addr.neg:
        return lambda raw: not plain(raw)
    return plain


def _nothing(_: bytes) -> bool:
    return False


def _plain(addr: Addr, anchor: Anchor) -> Side:
    if addr.kind == "table":
        name = addr.name

        def in_table(raw: bytes) -> bool:
            table = anchor.table(name)
            return table is not None and table.contains(raw)

        return in_table
    if addr.kind == "dyn":
        root, ifname = anchor.root, addr.name
        return lambda raw: raw in root.addresses(ifname)
    size, width = (4, 32) if addr.af == 4 else (16, 128)
    if addr.kind == "range":
        low, high = addr.low.to_bytes(size, "big"), addr.high.to_bytes(size, "big")
        return lambda raw: low <= raw <= high
    network = addr.low
    if addr.prefix == width:
        exact = network.to_bytes(size, "big")
        return lambda raw: raw == exact
    shift = width - addr.prefix
    wanted = network >> shift
    return lambda raw: int.from_bytes(raw, "big") >> shift == wanted


def _port(port: Port) -> Callable[[int], bool]:
    low, high = port.low, port.high
    comparisons: dict[str, Callable[[int], bool]] = {
        "=": lambda value: value == low,
        "!=": lambda value: value != low,
        "<": lambda value: value < low,
        "<=": lambda value: value <= low,
        ">": lambda value: value > low,
        ">=": lambda value: value >= low,
        ":": lambda value: low <= value <= high,
        "><": lambda value: low < value < high,
        "<>": lambda value: value < low or value > high,
    }
    return comparisons[port.op]
