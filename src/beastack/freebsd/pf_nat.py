"""Translation rules of pf.conf(5) (nat, rdr, binat) as data, as text, and read back from `pfctl -s nat` (IPv4).

The forms are those that 13 to 15 accept and print (shared/freebsd/15.1, 04, 08): `nat on`, `binat on`, `rdr pass on`.
the first translation rule that matches decides.
"""

import ipaddress
import re
from dataclasses import dataclass

from beastack.freebsd import pf_names
from beastack.freebsd.errors import UnexpectedOutput
from beastack.freebsd.pf_rules import PORT_PROTOCOLS, BadRule, address

ACTIONS = ("nat", "rdr", "binat")
_INTERFACE = re.compile(r"[a-z][0-9a-z._-]{0,14}")
_LINE = re.compile(
    r"(?P<no>no )?(?P<action>nat|rdr|binat)(?P<pass> pass)? on (?P<interface>\S+) inet"
    r"(?: proto (?P<protocol>\S+))?"
    r" from (?P<not>! )?(?P<source>[0-9./]+|any) to (?P<destination>[0-9./]+|any)"
    r"(?: port (?P<equals>= )?(?P<ports>\S+))?"
    r"(?: -> (?P<target>[0-9.]+)(?: port (?P<target_ports>[0-9:]+))?)?"
)
Ports = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Translation:
    """One rule on one interface. Addresses and networks are IPv4's, "" is any; ports are (low, high).

    ``negated`` is "no nat": what matches is left as it is. ``passes`` spares the packet the filter rules.
    """

    action: str
    interface: str
    source: str = ""
    source_not: bool = False
    destination: str = ""
    destination_ports: Ports | None = None
    protocol: int | None = None
    target: str = ""
    target_ports: Ports | None = None
    negated: bool = False
    passes: bool = False

    def __post_init__(self) -> None:
        """Raises BadRule."""
        if self.action not in ACTIONS:
            raise BadRule(f"action {self.action!r}")
        if not isinstance(self.interface, str) or _INTERFACE.fullmatch(self.interface) is None:
            raise BadRule(f"interface {self.interface!r}")
        for text in (self.source, self.destination):
            if text != "" and (not isinstance(text, str) or ":" in text or address(text) != text):
                raise BadRule(f"address {text!r}")
        if not self.source and not self.destination:
            raise BadRule("a translation of everything")
        if self.source_not and not self.source:
            raise BadRule("not from any would match nothing")
        if self.protocol is not None and not 1 <= self.protocol <= 255:
            raise BadRule(f"protocol {self.protocol!r}")
        self._check_target()
        for ports in (self.destination_ports, self.target_ports):
            if ports is not None and not 0 < ports[0] <= ports[1] < 65536:
                raise BadRule(f"ports {ports!r}")
        if (self.destination_ports or self.target_ports) and self.protocol not in PORT_PROTOCOLS:
            raise BadRule(f"ports with protocol {self.protocol}")

    def _check_target(self) -> None:
        if self.negated:
            if self.target or self.target_ports or self.passes:
                raise BadRule("a rule that translates nothing has no target")
            return
        try:
            ipaddress.IPv4Address(self.target)
        except ValueError as e:
            raise BadRule(f"target {self.target!r}") from e
        if self.action != "rdr" and self.target_ports:
            raise BadRule(f"{self.action} to a port")
        if self.action == "binat" and (not self.source or self.source_not or "/" in self.source):
            raise BadRule(f"binat of {self.source!r}: one address is wanted")


def render(rule: Translation) -> str:
    """One line of pf.conf(5)."""
    words = ["no"] if rule.negated else []
    words.append(rule.action)
    if rule.passes:
        words.append("pass")
    words.append(f"on {rule.interface} inet")
    if rule.protocol is not None:
        words.append(f"proto {rule.protocol}")
    words.append(f"from {'! ' if rule.source_not else ''}{rule.source or 'any'} to {rule.destination or 'any'}")
    if rule.destination_ports:
        words.append("port {}:{}".format(*rule.destination_ports))
    if not rule.negated:
        words.append(f"-> {rule.target}")
    if rule.target_ports:
        low, high = rule.target_ports
        words.append(f"port {low}" if low == high else f"port {low}:{high}")
    return " ".join(words)


def parse(text: str, argv: tuple[str, ...] = ("pfctl", "-s", "nat")) -> list[Translation]:
    """Every line of `pfctl -s nat`, which lists nat, rdr and binat in this order. Raises UnexpectedOutput."""
    found = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise UnexpectedOutput(argv, line, "a translation rule as we write them")
        try:
            found.append(_rule(match))
        except (BadRule, ValueError) as e:
            raise UnexpectedOutput(argv, line, f"a translation rule as we write them ({e})") from e
    return found


def _rule(match: re.Match[str]) -> Translation:
    source, destination = match["source"], match["destination"]
    return Translation(
        action=match["action"],
        interface=match["interface"],
        source="" if source == "any" else address(source),
        source_not=match["not"] is not None,
        destination="" if destination == "any" else address(destination),
        destination_ports=_ports(match["ports"]),
        protocol=pf_names.protocol(match["protocol"]) if match["protocol"] else None,
        target=match["target"] or "",
        target_ports=_ports(match["target_ports"]),
        negated=match["no"] is not None,
        passes=match["pass"] is not None,
    )


def _ports(text: str | None) -> Ports | None:
    if text is None:
        return None
    low, colon, high = text.partition(":")
    return pf_names.port(low), pf_names.port(high if colon else low)


def listed(rules: list[Translation] | tuple[Translation, ...]) -> list[Translation]:
    """The rules in the order in which pfctl lists them; within one action theirs."""
    return [rule for action in ACTIONS for rule in rules if rule.action == action]
