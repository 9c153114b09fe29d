"""Reading `pfctl -sr` back (pfctl(8); shared/freebsd/15.1/04-pf): names become numbers, a line becomes a Rule again.

Only the forms that ``pf_rules.render`` writes are known. Anything else raises UnexpectedOutput: a rule in force that
cannot be read is not the rule that was asked for.
"""

import re
from functools import lru_cache

from beastack.freebsd import pf_names
from beastack.freebsd.errors import UnexpectedOutput
from beastack.freebsd.pf_rules import BadRule, Rule, address

_TOKEN = re.compile(r'"[^"]*"|\([^)]*\)|\S+')


class _Unread(ValueError):
    pass


class _Words:
    """The words of a line, read one after the other."""

    def __init__(self, line: str) -> None:
        self._words = _TOKEN.findall(line)
        self._at = 0

    def peek(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def take(self) -> str:
        word = self.peek()
        if not word:
            raise _Unread("the line ends too early")
        self._at += 1
        return word

    def accept(self, *words: str) -> str:
        if self.peek() in words:
            return self.take()
        return ""

    def expect(self, word: str) -> None:
        if self.take() != word:
            raise _Unread(f"{word!r} is missing")


def parse_rules(text: str, argv: tuple[str, ...] = ("pfctl", "-sr")) -> list[tuple[str, Rule]]:
    """Interface and rule of every line. Raises UnexpectedOutput."""
    found = []
    for line in text.splitlines():
        try:
            found.append(_line(line))
        except (_Unread, pf_names.UnknownName, BadRule) as e:
            raise UnexpectedOutput(argv, line, f"a rule as we write them ({e})") from e
    return found


@lru_cache(maxsize=16384)
def _line(line: str) -> tuple[str, Rule]:
    """Remembered: rules are read before and after each load, and most of them are the same then."""
    return _rule(_Words(line))


def _rule(words: _Words) -> tuple[str, Rule]:
    action = words.take()
    if action == "block":
        words.expect("drop")
    elif action != "pass":
        raise _Unread(f"unknown action {action}")
    direction = words.accept("in", "out") or None
    words.expect("quick")
    words.expect("on")
    interface = words.take()
    family = {"inet": 4, "inet6": 6, "": None}[words.accept("inet", "inet6")]
    protocol = pf_names.protocol(words.take()) if words.accept("proto") else None
    source, source_not, source_ports = "", False, None
    destination, destination_ports = "", None
    if not words.accept("all"):
        words.expect("from")
        source, source_not, source_ports = _side(words)
        words.expect("to")
        destination, negated, destination_ports = _side(words)
        if negated:
            raise _Unread("a negated destination")
    flags = words.take() if words.accept("flags") else "any"
    icmp_type = icmp_code = None
    if words.accept("icmp-type", "icmp6-type"):
        icmp_type = pf_names.icmp_type(words.take(), family or 4)
        if words.accept("code"):
            icmp_code = pf_names.icmp_code(words.take(), icmp_type, family or 4)
    stateful = _state(words, action)
    allow_opts = bool(words.accept("allow-opts"))
    words.expect("label")
    label = words.take().strip('"')
    if words.peek():
        raise _Unread(f"unknown word {words.peek()}")
    rule = Rule(
        action=action, label=label, direction=direction, family=family, protocol=protocol, source=source,
        source_not=source_not, source_ports=source_ports, destination=destination,
        destination_ports=destination_ports, icmp_type=icmp_type, icmp_code=icmp_code, stateful=stateful,
        allow_opts=allow_opts,
    )  # fmt: skip
    if flags != (rule.flags or "any"):
        raise _Unread(f"flags {flags}")
    return interface, rule


def _state(words: _Words, action: str) -> bool:
    if words.accept("keep"):
        words.expect("state")
        words.expect("(if-bound)")
        return True
    if words.accept("no"):
        words.expect("state")
    elif action == "pass":
        raise _Unread("neither 'keep state (if-bound)' nor 'no state'")
    return False


def _side(words: _Words) -> tuple[str, bool, tuple[int, int] | None]:
    negated = bool(words.accept("!"))
    text = words.take()
    if text == "any":
        where = ""
    elif text.startswith("<"):
        where = text
    else:
        where = address(text)
        if not where:
            raise _Unread(f"{text} where 'any' was expected")
    ports = None
    if words.accept("port"):
        if words.accept("="):
            port = pf_names.port(words.take())
            ports = (port, port)
        else:
            low, colon, high = words.take().partition(":")
            if not colon:
                raise _Unread("a port comparison")
            ports = (pf_names.port(low), pf_names.port(high))
    return where, negated, ports
