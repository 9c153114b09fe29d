"""Owns a whole pf.conf(5): options, tables, macros, and which grammar reads which line. All errors are kept."""

from beastack.sim.pf import hosts, render
from beastack.sim.pf.lexer import Cursor, Lines
from beastack.sim.pf.model import Parsed, PfSyntaxError, Rule, TableSpec
from beastack.sim.pf.nat import ether_rules, translation_rules
from beastack.sim.pf.optimize import optimized
from beastack.sim.pf.rules import TIMEOUTS, anchor_rule, expand, filter_rule
from beastack.sim.pf.scrub import scrub_rule

LIMITS = ("states", "src-nodes", "frags", "table-entries", "anchors", "eth-anchors")
# `set x value` that changes nothing here; read, so that a file for a real host loads
_PLAIN = {
    "optimization": ("normal", "default", "high-latency", "satellite", "aggressive", "conservative"),
    "require-order": ("yes", "no"),
    "debug": ("none", "urgent", "misc", "loud"),
    "keepcounters": None,
    "hostid": (),
    "loginterface": (),
    "fingerprints": (),
    "reassemble": ("yes", "no"),
    "fail-policy": ("drop", "return"),
}


class _Reader:
    """The state of reading one file."""

    def __init__(self) -> None:
        self.parsed = Parsed()
        self.if_bound = False
        self.policy = "drop"

    def statement(self, cursor: Cursor, lines: Lines) -> None:
        first = cursor.peek()
        if cursor.peek(1) == "=" and first.replace("_", "a").replace("-", "a").isalnum():
            cursor.take()
            cursor.take()
            lines.define(first, cursor.rest())
            return
        cursor.check_macros()
        parsed = self.parsed
        if first == "set":
            self._option(cursor)
        elif first == "table":
            self._table(cursor)
        elif first in ("pass", "block", "match"):
            parsed.filters += expand(cursor, filter_rule(cursor, self.policy), self.if_bound)
        elif first.endswith("anchor"):
            self._place(list(expand(cursor, anchor_rule(cursor))))
        elif first == "scrub" or (first == "no" and cursor.peek(1) == "scrub"):
            parsed.scrubs += expand(cursor, scrub_rule(cursor))
        elif first in ("nat", "rdr", "binat", "no"):
            self._place(list(translation_rules(cursor)))
        elif first == "ether":
            parsed.ethers += ether_rules(cursor)
        elif first in ("altq", "queue", "load", "include", "antispoof", "limiter"):
            cursor.fail(f"{first} is not simulated")
        else:
            cursor.fail()

    def _place(self, rules: list[Rule]) -> None:
        parsed = self.parsed
        for rule in rules:
            kind = rule.action.removesuffix("-anchor")
            where = {"nat": parsed.nats, "rdr": parsed.rdrs, "binat": parsed.binats}.get(kind, parsed.filters)
            where.append(rule)

    def _option(self, cursor: Cursor) -> None:
        cursor.take()
        key = cursor.word()
        parsed = self.parsed
        if key == "skip":
            cursor.expect("on")
            names = hosts.listed(cursor, Cursor.word)
            parsed.skip += names
            parsed.echo.append("set skip on " + (names[0] if len(names) == 1 else "{ " + " ".join(names) + " }"))
        elif key == "state-policy":
            value = cursor.expect("if-bound", "floating")
            self.if_bound = value == "if-bound"
            parsed.echo.append(f"set state-policy {value}")
        elif key == "block-policy":
            self.policy = cursor.expect("drop", "return")
            parsed.echo.append(f"set block-policy {self.policy}")
        elif key == "ruleset-optimization":
            value = cursor.expect("none", "basic", "profile")
            parsed.optimize = value != "none"
            parsed.echo.append(f"set ruleset-optimization {value}")
        elif key in ("limit", "timeout"):
            known, values = (LIMITS, parsed.limits) if key == "limit" else (TIMEOUTS, parsed.timeouts)
            for name, number in hosts.listed(cursor, lambda one: (one.word(), one.number())):
                if name not in known:
                    cursor.fail(f"unable to set {key}" if key == "limit" else f"unknown timeout {name}")
                values[name] = number
                parsed.echo.append(f"set {key} {name} {number}")
        elif key in _PLAIN:
            choices = _PLAIN[key]
            if choices is not None:
                value = cursor.expect(*choices) if choices else cursor.word()
                cursor.accept("no-df")
                if key == "reassemble":
                    parsed.reassemble = value == "yes"
                parsed.echo.append(f"set {key} {value}")
        else:
            cursor.fail()
        cursor.finish()

    def _table(self, cursor: Cursor) -> None:
        cursor.take()
        cursor.expect("<")
        spec = TableSpec(cursor.word())
        cursor.expect(">")
        if len(spec.name) > 31:
            cursor.fail("table name too long, max 31 chars")
        while not cursor.done:
            word = cursor.peek()
            if cursor.accept("persist"):
                spec.persist = True
            elif cursor.accept("const"):
                spec.const = True
            elif cursor.accept("counters"):
                spec.counters = True
            elif word == "{" and cursor.peek(1) == "}":
                cursor.take()
                cursor.take()
                spec.members = spec.members or []
            elif word == "{":
                members = hosts.listed(cursor, hosts.host)
                for member in members:
                    if member.kind not in ("net", "any") or not member.af:
                        cursor.fail("tables can contain only addresses")
                    member.kind = "net"
                spec.members = (spec.members or []) + members
            elif word == "file":
                cursor.fail("tables from files are not simulated in rules; use pfctl -T replace -f")
            else:
                cursor.fail()
        flags = "".join(f" {name}" for name in ("const", "persist", "counters") if getattr(spec, name))
        listing = "".join(f" {'!' if one.neg else ''}{render.address(one)}" for one in spec.members or [])
        spec.text = f"table <{spec.name}>{flags}" + (f" {{{listing} }}" if spec.members is not None else "")
        self.parsed.tables.append(spec)
        self.parsed.echo.append(spec.text)


def parse(text: str) -> Parsed:
    """Read a file. Lines that cannot be read are in `errors`; nothing may be loaded when there is one."""
    reader = _Reader()
    parsed = reader.parsed
    try:
        lines = Lines(text)
    except PfSyntaxError as error:
        parsed.errors.append(error)
        return parsed
    while True:
        try:
            cursor = next(lines, None)
            if cursor is None:
                break
            reader.statement(cursor, lines)
        except PfSyntaxError as error:
            parsed.errors.append(error)
    if parsed.optimize:
        parsed.filters = optimized(parsed.filters)
    for rules in (parsed.scrubs, parsed.filters, parsed.nats, parsed.rdrs, parsed.binats):
        for number, rule in enumerate(rules):
            rule.number = number
    return parsed
