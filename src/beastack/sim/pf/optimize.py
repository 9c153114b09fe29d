"""Owns what `set ruleset-optimization basic` (the default) does to a ruleset: duplicates go, rules are grouped.

Seen in 04-pf: of three neighbouring `pass quick` rules the two inbound ones moved before the outbound one. The grouping
follows the skip steps of pfctl's optimizer; that it also folds addresses into tables is not simulated.
"""

from collections.abc import Callable, Hashable

from beastack.sim.pf import render
from beastack.sim.pf.model import Addr, Port, Rule


def _addr(addr: Addr) -> Hashable:
    return (addr.kind, addr.af, addr.low, addr.prefix, addr.high, addr.name, addr.neg)


def _port(port: Port | None) -> Hashable:
    return port and (port.op, port.low, port.high)


_FIELDS: tuple[Callable[[Rule], Hashable], ...] = (
    lambda rule: (rule.ifname, rule.ifnot),
    lambda rule: rule.direction,
    lambda rule: rule.af,
    lambda rule: rule.proto,
    lambda rule: _addr(rule.src),
    lambda rule: _addr(rule.dst),
    lambda rule: _port(rule.sport),
    lambda rule: _port(rule.dport),
)


def _barrier(rule: Rule) -> Hashable:
    """Rules that differ here stay in their order; a rule with None stands alone."""
    if rule.anchor or rule.labels or rule.tag or rule.tagged or rule.translation or rule.ridentifier:
        return None
    return (
        rule.action, rule.blocking, rule.quick, rule.log, rule.state, rule.if_bound, rule.sloppy, rule.no_sync,
        rule.max_states, tuple(sorted(rule.timeouts.items())), rule.allow_opts, rule.fragment,
    )  # fmt: skip


def _grouped(rules: list[Rule]) -> list[Rule]:
    """The largest group that shares a field first, and so on in it and in the rest."""
    best: list[Rule] = []
    for value in _FIELDS:
        groups: dict[Hashable, list[Rule]] = {}
        for rule in rules:
            groups.setdefault(value(rule), []).append(rule)
        if len(groups) > 1:
            largest = max(groups.values(), key=len)
            if len(largest) > max(1, len(best)):
                best = largest
    if not best:
        return rules
    chosen = set(map(id, best))
    return _grouped(best) + _grouped([rule for rule in rules if id(rule) not in chosen])


def optimized(rules: list[Rule]) -> list[Rule]:
    found: list[Rule] = []
    block: list[Rule] = []
    current: Hashable = None
    for rule in rules:
        barrier = _barrier(rule)
        if barrier is None or barrier != current:
            found += _grouped(block)
            block, current = [], barrier
        if barrier is None or render.rule(rule) not in map(render.rule, block):
            block.append(rule)
    return found + _grouped(block)
