"""Owns nat, binat, rdr and ether lines: they are read, checked and listed. Nothing is translated (see engine.py)."""

import re
from collections.abc import Iterator
from dataclasses import replace

from beastack.sim.pf import hosts, render
from beastack.sim.pf.lexer import Cursor
from beastack.sim.pf.model import EtherRule, Rule
from beastack.sim.pf.rules import Draft, expand, family, from_to, interface, protocols

_MAC = re.compile(r"[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}", re.IGNORECASE)


def _target(cursor: Cursor) -> str:
    """What follows `->`: addresses, a port, pool options."""
    found = hosts.listed(cursor, hosts.host)
    text = render.address(found[0]) if len(found) == 1 else "{ " + ", ".join(map(render.address, found)) + " }"
    if cursor.accept("port"):
        wanted = hosts.port(cursor)
        text += f" port {wanted.low}" + (f":{wanted.high}" if wanted.op == ":" else "")
    explicit = False
    while not cursor.done:
        option = cursor.expect("static-port", "round-robin", "random", "sticky-address", "bitmask")
        explicit = explicit or option in ("round-robin", "random", "bitmask")
        text += f" {option}"
    return text if explicit or len(found) == 1 else text + " round-robin"


def translation_rules(cursor: Cursor) -> Iterator[Rule]:
    """[no] nat|rdr|binat [pass] on … -> …"""
    negated = bool(cursor.accept("no"))
    rule = Rule(cursor.expect("nat", "rdr", "binat"), negated=negated)
    if cursor.accept("pass"):
        rule.nat_pass = True
        if cursor.accept("log"):
            rule.log = "log"
    draft = Draft(rule)
    interface(cursor, draft)
    family(cursor, draft)
    protocols(cursor, draft)
    from_to(cursor, draft)
    if cursor.accept("tag"):
        rule.tag = cursor.word()
    if cursor.accept("tagged"):
        rule.tagged = cursor.word()
    if negated:
        cursor.finish()
    else:
        cursor.expect("->")
        rule.target = _target(cursor)
        cursor.finish()
    yield from expand(cursor, draft)


def _mac(cursor: Cursor) -> str:
    neg = "! " if cursor.accept("!") else ""
    text = cursor.word()
    if not _MAC.fullmatch(text):
        cursor.fail()
    if cursor.accept("/"):
        return f"{neg}{text.lower()}/{cursor.word()}"
    return neg + text.lower()


def ether_rules(cursor: Cursor) -> Iterator[EtherRule]:
    """ether pass|block|anchor …"""
    cursor.expect("ether")
    rule = EtherRule(cursor.expect("pass", "block", "match", "anchor"))
    if rule.action == "anchor":
        rule.anchor = cursor.word()
    rule.direction = cursor.accept("in", "out")
    rule.quick = bool(cursor.accept("quick"))
    draft = Draft(Rule("pass"))
    interface(cursor, draft)
    kinds = [0]
    if cursor.accept("proto"):
        kinds = hosts.listed(cursor, Cursor.number)
    sources, targets = [""], [""]
    if cursor.accept("from"):
        sources = hosts.listed(cursor, _mac)
    if cursor.accept("to"):
        targets = hosts.listed(cursor, _mac)
    layer3 = Draft(Rule("block"))
    if cursor.accept("l3"):
        from_to(cursor, layer3)
    if cursor.accept("tag"):
        rule.tag = cursor.word()
    cursor.finish()
    for ifname, ifnot in draft.interfaces:
        for kind in kinds:
            for src in sources:
                for dst in targets:
                    for inner in expand(cursor, layer3):
                        made = replace(rule, ifname=ifname, ifnot=ifnot, proto=kind, src=src, dst=dst)
                        made.l3 = render.from_to(inner)
                        yield made
