"""Filter rules of one interface as data, and as text for pf.conf(5).

Every rule is ``quick`` and on one interface; a passing one says whether it keeps state, which is then bound to the
interface (shared/freebsd, 05: with floating states a guest may speak through another's). Every rule has a label: it
names the rule in listings, its states can be ended by it, and pfctl's optimizer leaves labelled rules in their order.

Ports are written as ranges even when there is one, as pfctl prints ranges in numbers and single ports by name (04).
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

ICMP, TCP, UDP, ICMP6, SCTP = 1, 6, 17, 58, 132
PORT_PROTOCOLS = (TCP, UDP, SCTP)
# pf's PF_RULE_LABEL_SIZE and PF_TABLE_NAME_SIZE are 64 and 32 with the closing NUL
_LABEL = re.compile(r"[0-9A-Za-z:/._-]{1,63}")
_TABLE = re.compile(r"<[0-9A-Za-z_]{1,31}>")


class BadRule(Exception):
    """A rule that pf could not mean as it was meant; the text says which value."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One filter rule. ``in`` is what the guest sends, ``out`` what is sent to it; None is either.

    ``source`` and ``destination`` are an address, a network, ``<table>`` or "" for any; ports are (low, high).
    """

    action: str
    label: str
    direction: str | None = None
    family: int | None = None
    protocol: int | None = None
    source: str = ""
    source_not: bool = False
    source_ports: tuple[int, int] | None = None
    destination: str = ""
    destination_ports: tuple[int, int] | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    stateful: bool = False
    allow_opts: bool = False

    def __post_init__(self) -> None:
        """Raises BadRule."""
        if self.action not in ("pass", "block"):
            raise BadRule(f"action {self.action!r}")
        if self.direction not in ("in", "out", None):
            raise BadRule(f"direction {self.direction!r}")
        if self.family not in (4, 6, None):
            raise BadRule(f"family {self.family!r}")
        if not isinstance(self.label, str) or _LABEL.fullmatch(self.label) is None:
            raise BadRule(f"label {self.label!r}")
        for flag in (self.source_not, self.stateful, self.allow_opts):
            if not isinstance(flag, bool):
                raise BadRule(f"flag {flag!r}")
        if self.action == "block" and (self.stateful or self.allow_opts):
            raise BadRule("a blocking rule keeps no state and allows no options")
        if self.source_not and not self.source:
            raise BadRule("not from any would match nothing")
        _number(self.protocol, 1, 255, "protocol")
        for address in (self.source, self.destination):
            self._check_address(address)
        for ports in (self.source_ports, self.destination_ports):
            self._check_ports(ports)
        self._check_icmp()

    def _check_address(self, text: object) -> None:
        if text == "":
            return
        if not isinstance(text, str):
            raise BadRule(f"address {text!r}")
        if text.startswith("<"):
            if _TABLE.fullmatch(text) is None:
                raise BadRule(f"table {text!r}")
            return
        if address(text) != text:
            raise BadRule(f"address {text!r} is not in canonical form")
        if self.family != (6 if ":" in text else 4):
            raise BadRule(f"address {text} in a rule of family {self.family}")

    def _check_ports(self, ports: object) -> None:
        if ports is None:
            return
        if not isinstance(ports, tuple) or len(ports) != 2:
            raise BadRule(f"ports {ports!r}")
        for port in ports:
            _number(port, 0, 65535, "port")
        if ports[0] is None or ports[1] is None or ports[0] > ports[1]:
            raise BadRule(f"ports {ports!r}")
        if self.protocol not in PORT_PROTOCOLS:
            raise BadRule(f"ports with protocol {self.protocol}")

    def _check_icmp(self) -> None:
        _number(self.icmp_type, 0, 255, "ICMP type")
        _number(self.icmp_code, 0, 255, "ICMP code")
        if self.icmp_code is not None and self.icmp_type is None:
            raise BadRule("an ICMP code without a type")
        if (self.protocol, self.family) in ((ICMP, 6), (ICMP6, 4)):
            raise BadRule(f"protocol {self.protocol} in IPv{self.family}")
        if self.icmp_type is not None and (self.protocol, self.family) not in ((ICMP, 4), (ICMP6, 6)):
            raise BadRule(f"an ICMP type with protocol {self.protocol} in IPv{self.family}")

    @property
    def flags(self) -> str | None:
        """TCP flags that pf compares: a state begins with SYN; rules without state look at no flags."""
        return "S/SA" if self.stateful and self.protocol in (TCP, None) else None


def _number(value: object, low: int, high: int, what: str) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadRule(f"{what} {value!r}")


@lru_cache(maxsize=8192)
def address(text: str) -> str:
    """An address or network as pf prints it: no host bits, no length of a single one, "" for any. Raises BadRule."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as e:
        raise BadRule(f"address {text!r}: {e}") from None
    if "%" in text:
        raise BadRule(f"address {text!r} carries a zone")
    if network.prefixlen == 0:
        return ""
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def to_dict(rule: Rule) -> dict[str, object]:
    """For the privilege boundary: what differs from the default, in types that msgpack carries.

    By identity: ICMP type 0 is a number and equals False, and a rule without its type would pass every type.
    """
    found: dict[str, object] = {}
    for name in _NAMES:
        value = getattr(rule, name)
        if name in ("action", "label") or not (value is None or value is False or value == ""):
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


_NAMES = tuple(f.name for f in fields(Rule))
_FIELDS = set(_NAMES)


def from_dict(values: object) -> Rule:
    """The rule again; raises BadRule for anything that is not one."""
    if not isinstance(values, Mapping) or not values.keys() <= _FIELDS or not {"action", "label"} <= values.keys():
        raise BadRule(f"not a rule: {values!r}"[:300])
    found: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return Rule(**found)
    except TypeError as e:
        raise BadRule(f"not a rule: {e}") from None


def _side(word: str, text: str, negated: bool, ports: tuple[int, int] | None) -> str:
    shown = f"{word} {'! ' if negated else ''}{text or 'any'}"
    return f"{shown} port {ports[0]}:{ports[1]}" if ports else shown


def render(rule: Rule, interface: str) -> str:
    """One line of pf.conf(5)."""
    words = ["pass"] if rule.action == "pass" else ["block drop"]
    if rule.direction:
        words.append(rule.direction)
    words.append(f"quick on {interface}")
    if rule.family:
        words.append("inet" if rule.family == 4 else "inet6")
    if rule.protocol is not None:
        words.append(f"proto {rule.protocol}")
    if rule.source or rule.destination or rule.source_ports or rule.destination_ports:
        words.append(_side("from", rule.source, rule.source_not, rule.source_ports))
        words.append(_side("to", rule.destination, False, rule.destination_ports))
    else:
        words.append("all")
    if rule.action == "pass" and rule.protocol in (TCP, None):
        words.append(f"flags {rule.flags or 'any'}")
    if rule.icmp_type is not None:
        words.append(f"{'icmp6-type' if rule.family == 6 else 'icmp-type'} {rule.icmp_type}")
        if rule.icmp_code is not None:
            words.append(f"code {rule.icmp_code}")
    if rule.action == "pass":
        words.append("keep state (if-bound)" if rule.stateful else "no state")
    if rule.allow_opts:
        words.append("allow-opts")
    words.append(f'label "{rule.label}"')
    return " ".join(words)


def block_all(interface: str) -> Rule:
    """The last rule of every port."""
    return Rule("block", label=f"{interface}/end")
