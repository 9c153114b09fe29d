"""Owns filter rules: the grammar of pass, block, match and anchor lines; the expansion of lists (pf.conf(5))."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from beastack.sim.pf import hosts
from beastack.sim.pf.lexer import Cursor
from beastack.sim.pf.model import Addr, Port, Rule
from beastack.sim.pf.pools import target

TIMEOUTS = (  # noqa: SIM905  a list of words is read more easily
    "tcp.first tcp.opening tcp.established tcp.closing tcp.finwait tcp.closed tcp.tsdiff sctp.first sctp.opening "
    "sctp.established sctp.closing sctp.closed udp.first udp.single udp.multiple icmp.first icmp.error other.first "
    "other.single other.multiple frag interval adaptive.start adaptive.end src.track"
).split()
_TRANSLATIONS = ("binat-to", "route-to", "reply-to", "dup-to", "af-to")


@dataclass
class Draft:
    """A rule with its lists still folded."""

    rule: Rule
    interfaces: list[tuple[str, bool]] = field(default_factory=lambda: [("", False)])
    protocols: list[int] = field(default_factory=lambda: [0])
    sources: list[Addr] = field(default_factory=lambda: [Addr()])
    source_ports: list[Port | None] = field(default_factory=lambda: [None])
    targets: list[Addr] = field(default_factory=lambda: [Addr()])
    target_ports: list[Port | None] = field(default_factory=lambda: [None])
    icmp: list[tuple[int, int]] = field(default_factory=lambda: [(-1, -1)])
    icmp_family: int = 0
    statelock: str = ""


def _interface(cursor: Cursor) -> tuple[str, bool]:
    negated = bool(cursor.accept("!"))
    name = cursor.word()
    if len(name) > 15:
        cursor.fail("interface name too long")
    return ("", False) if name == "any" and not negated else (name, negated)


def interface(cursor: Cursor, draft: Draft) -> None:
    if cursor.accept("on"):
        draft.interfaces = hosts.listed(cursor, _interface)


def family(cursor: Cursor, draft: Draft) -> None:
    found = cursor.accept("inet", "inet6")
    if found:
        draft.rule.af = 4 if found == "inet" else 6


def protocols(cursor: Cursor, draft: Draft) -> None:
    if cursor.accept("proto"):
        draft.protocols = hosts.listed(cursor, hosts.protocol)


def from_to(cursor: Cursor, draft: Draft) -> None:
    if cursor.accept("all"):
        return
    if cursor.accept("from"):
        if cursor.peek() != "port":
            draft.sources = hosts.listed(cursor, hosts.host)
        if cursor.accept("port"):
            draft.source_ports = [*hosts.listed(cursor, hosts.port)]
        if cursor.peek() == "os":
            cursor.fail("os fingerprints are not simulated")
    if cursor.accept("to"):
        if cursor.peek() != "port":
            draft.targets = hosts.listed(cursor, hosts.host)
        if cursor.accept("port"):
            draft.target_ports = [*hosts.listed(cursor, hosts.port)]


def _block(cursor: Cursor, rule: Rule, policy: str) -> None:
    rule.blocking = policy
    found = cursor.accept("drop", "return", "return-rst", "return-icmp", "return-icmp6")
    if found:
        rule.blocking = found
        if found.startswith("return-") and cursor.accept("("):
            cursor.fail(f"{found} with a code is not simulated")


def _state_option(cursor: Cursor, draft: Draft) -> None:
    rule, name = draft.rule, cursor.word()
    if name in ("if-bound", "floating"):
        draft.statelock = name
    elif name == "sloppy":
        rule.sloppy = True
    elif name == "no-sync":
        rule.no_sync = True
    elif name == "max":
        rule.max_states = cursor.number()
    elif name in TIMEOUTS:
        rule.timeouts[name] = cursor.number()
    else:
        cursor.fail(f"state option {name} is not simulated")
    cursor.accept(",")


def _states(cursor: Cursor, draft: Draft, kind: str) -> None:
    cursor.expect("state")
    draft.rule.state = kind
    if kind != "no" and cursor.accept("("):
        while not cursor.accept(")"):
            _state_option(cursor, draft)


def options(cursor: Cursor, draft: Draft) -> None:
    """Everything after from … to …; what is not known is refused, never ignored."""
    rule = draft.rule
    while not cursor.done:
        key = cursor.word()
        if key == "flags":
            rule.flags = hosts.tcp_flags(cursor)
        elif key in ("icmp-type", "icmp6-type"):
            draft.icmp_family = 4 if key == "icmp-type" else 6
            draft.icmp = hosts.listed(cursor, lambda one: hosts.icmp_type(one, draft.icmp_family))
        elif key == "tos":
            rule.tos = cursor.number()
        elif key in ("keep", "modulate", "synproxy", "no"):
            _states(cursor, draft, key)
        elif key == "label":
            rule.labels += (cursor.word(),)
        elif key == "ridentifier":
            rule.ridentifier = cursor.number()
        elif key == "tag":
            rule.tag = cursor.word()
        elif key == "tagged":
            rule.tagged = cursor.word()
        elif key == "allow-opts":
            rule.allow_opts = True
        elif key == "fragment":
            rule.fragment = True
        elif key in ("nat-to", "rdr-to"):
            rule.translation = f"{key} {target(cursor, rule)}"
        elif key in _TRANSLATIONS:
            cursor.fail(f"{key} is not simulated")
        else:
            cursor.fail()


def filter_rule(cursor: Cursor, policy: str) -> Draft:
    """pass, block or match; the first word is still to be read."""
    rule = Rule(cursor.expect("pass", "block", "match"))
    if rule.action == "block":
        _block(cursor, rule, policy)
    draft = Draft(rule)
    rule.direction = cursor.accept("in", "out")
    if cursor.accept("log"):
        rule.log = "log"
        if cursor.accept("("):
            cursor.fail("log options are not simulated")
    rule.quick = bool(cursor.accept("quick"))
    interface(cursor, draft)
    family(cursor, draft)
    protocols(cursor, draft)
    from_to(cursor, draft)
    options(cursor, draft)
    return draft


def anchor_rule(cursor: Cursor) -> Draft:
    """anchor, nat-anchor, rdr-anchor, binat-anchor."""
    rule = Rule(cursor.expect("anchor", "nat-anchor", "rdr-anchor", "binat-anchor"))
    if cursor.peek() == "{" or cursor.done:
        cursor.fail("anchors without a name are not simulated")
    rule.anchor = cursor.word()
    draft = Draft(rule)
    rule.direction = cursor.accept("in", "out")
    rule.quick = bool(cursor.accept("quick"))
    interface(cursor, draft)
    family(cursor, draft)
    protocols(cursor, draft)
    from_to(cursor, draft)
    if cursor.peek() == "{":
        cursor.fail("anchors with rules in braces are not simulated")
    options(cursor, draft)
    if rule.state or rule.labels or rule.translation:
        cursor.fail()
    return draft


def _finish(cursor: Cursor, draft: Draft, default_if_bound: bool) -> None:
    """Defaults that do not depend on the lists."""
    rule = draft.rule
    if rule.action == "pass":
        rule.state = rule.state or "keep"
        if rule.state != "no":
            rule.if_bound = draft.statelock == "if-bound" if draft.statelock else default_if_bound
    elif rule.state and rule.state != "no":
        cursor.fail(f"keep state on {rule.action} rules doesn't make sense")
    else:
        rule.state = ""


def _complaint(rule: Rule) -> str:
    if (rule.sport or rule.dport) and rule.proto not in (6, 17, 132):
        return "port only applies to tcp/udp/sctp"
    if rule.icmp_type >= 0 and rule.proto not in (1, 58):
        return "icmp-type/code only applies to icmp"
    if rule.icmp_type >= 0 and not rule.af:
        return "must indicate address family with icmp-type/code"
    if (rule.proto, rule.af) in ((1, 6), (58, 4)):
        name, other = ("icmp", "inet6") if rule.proto == 1 else ("icmp6", "inet")
        return f"proto {name} doesn't match address family {other}"
    if rule.flags not in (None, (0, 0)) and rule.proto not in (0, 6):
        return "flags only apply to tcp"
    if rule.fragment and (rule.sport or rule.dport or rule.flags or rule.icmp_type >= 0):
        return "fragments can be filtered only on IP header fields"
    return ""


def expand(cursor: Cursor, draft: Draft, default_if_bound: bool = False) -> Iterator[Rule]:
    """The rules of all combinations, in pfctl's order."""
    _finish(cursor, draft, default_if_bound)
    made = 0
    for (ifname, ifnot), proto, (kind, code), src, sport, dst, dport in itertools.product(
        draft.interfaces,
        draft.protocols,
        draft.icmp,
        draft.sources,
        draft.source_ports,
        draft.targets,
        draft.target_ports,
    ):
        families = {af for af in (draft.rule.af, src.af, dst.af) if af}
        if len(families) > 1:
            continue
        if kind >= 0 and proto != (1 if draft.icmp_family == 4 else 58):
            if proto in (1, 58) and len(draft.protocols) > 1:
                continue
            cursor.fail("icmp-type/code only applies to icmp" if proto not in (1, 58) else "syntax error")
        rule = replace(
            draft.rule,
            ifname=ifname,
            ifnot=ifnot,
            proto=proto,
            icmp_type=kind,
            icmp_code=code,
            src=src,
            sport=sport,
            dst=dst,
            dport=dport,
            af=families.pop() if families else 0,
            timeouts=dict(draft.rule.timeouts),
        )
        stateful = rule.action == "pass" and rule.state != "no" and not rule.fragment
        if stateful and rule.flags is None and proto in (0, 6):
            rule.flags = (0x02, 0x12)
        complaint = _complaint(rule)
        if complaint:
            cursor.fail(complaint)
        if rule.action in ("pass", "block", "match", "anchor") and "dyn" in (src.kind, dst.kind):
            cursor.fail("addresses of interfaces in filter rules are not simulated")
        made += 1
        yield rule
    if not made:
        cursor.fail("rule expands to no valid combination")
