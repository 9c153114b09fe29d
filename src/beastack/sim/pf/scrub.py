"""Owns `scrub` rules: which fragments pf puts together before it looks for rules (pf_normalize_ip, pf_norm.c, 15.1).

With any scrub rule in the main ruleset, only what the first matching one names is put together. Without one, IPv4 is
when `set reassemble yes` says so, and IPv6 always.
"""

from collections.abc import Collection

from beastack.sim.pf.evaluate import on_interface
from beastack.sim.pf.lexer import Cursor
from beastack.sim.pf.model import Rule
from beastack.sim.pf.rules import Draft, family, from_to, interface


def scrub_rule(cursor: Cursor) -> Draft:
    """`[no] scrub [in|out] on X inet all [fragment [no] reassemble]`; more of it is not simulated."""
    negated = bool(cursor.accept("no"))
    cursor.expect("scrub")
    draft = Draft(Rule("scrub", negated=negated))
    draft.rule.direction = cursor.accept("in", "out")
    interface(cursor, draft)
    family(cursor, draft)
    from_to(cursor, draft)
    if cursor.accept("fragment"):
        draft.rule.fragment = not cursor.accept("no")
        cursor.expect("reassemble")
    else:
        draft.rule.fragment = True
    if not cursor.done:
        cursor.fail(f"scrub {cursor.peek()} is not simulated")
    sides = (*draft.sources, *draft.targets)
    if any(side.kind != "any" for side in sides) or draft.source_ports != [None] or draft.target_ports != [None]:
        cursor.fail("scrub for some addresses is not simulated")
    return draft


def puts_together(
    scrubs: list[Rule], ifname: str, direction: str, family: int, groups: Collection[str], asked: bool
) -> bool:
    """Whether fragments of this family are put together here; `asked`: by `set reassemble yes`."""
    for rule in scrubs:
        if rule.direction not in ("", direction) or rule.af not in (0, family):
            continue
        if rule.ifname and on_interface(ifname, rule.ifname, groups) == rule.ifnot:
            continue
        return not rule.negated and (rule.fragment or family == 6)
    return not scrubs and (asked or family == 6)
