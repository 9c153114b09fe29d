"""Owns the grammar of nat, binat, rdr and ether lines, and of nat-to and rdr-to. What they do: translate.py."""

import re
from collections.abc import Iterator
from dataclasses import replace

from beastack.sim.pf import hosts, render
from beastack.sim.pf.lexer import Cursor
from beastack.sim.pf.model import EtherRule, Rule
from beastack.sim.pf.pools import target
from beastack.sim.pf.rules import Draft, expand, family, from_to, interface, protocols

_MAC = re.compile(r"[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}", re.IGNORECASE)


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
        rule.target = target(cursor, rule)
        cursor.finish()
    for one in expand(cursor, draft):
        families = {addr.af for addr in one.pool if addr.af}
        if one.af and families - {one.af}:
            continue
        if one.action == "binat" and not negated and (len(one.pool) != 1 or one.src.kind != "net"):
            cursor.fail("binat translates one address or network to another")
        one.af = one.af or (families.pop() if len(families) == 1 else 0)
        yield one


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
