"""Owns the grammar of what a translation leads to: addresses, ports and how they are chosen (pf.conf(5), POOLS)."""

from beastack.sim.pf import hosts, render
from beastack.sim.pf.lexer import Cursor
from beastack.sim.pf.model import Rule

_POOL_OPTIONS = ("static-port", "round-robin", "random", "sticky-address", "bitmask")


def target(cursor: Cursor, rule: Rule) -> str:
    """What follows `->`, nat-to or rdr-to: addresses, a port, pool options. They go into the rule; the text is told."""
    found = hosts.listed(cursor, hosts.host)
    if any(one.neg or one.kind not in ("net", "dyn") for one in found):
        cursor.fail("a translation leads to addresses, networks or (interfaces); nothing else is simulated")
    text = render.address(found[0]) if len(found) == 1 else "{ " + ", ".join(map(render.address, found)) + " }"
    if cursor.accept("port"):
        wanted = rule.pool_port = hosts.port(cursor)
        if wanted.op not in ("=", ":"):
            cursor.fail()
        text += f" port {wanted.low}" + (f":{wanted.high}" if wanted.op == ":" else "")
    explicit = False
    rule.pool = tuple(found)
    while cursor.peek() in _POOL_OPTIONS:
        option = cursor.word()
        rule.pool_options += (option,)
        explicit = explicit or option in ("round-robin", "random", "bitmask")
        text += f" {option}"
    return text if explicit or len(found) == 1 else text + " round-robin"
