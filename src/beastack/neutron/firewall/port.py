"""All pf rules of one port, in order: what no group can allow, what every port needs, its groups, and nothing else.

The base follows neutron/agent/linux/iptables_firewall.py (_spoofing_rule, _drop_dhcp_rule, _accept_inbound_icmpv6) and
is stricter in one thing: a port without addresses sends from none. Base rules keep no state: DHCP's answers and
neighbour discovery come from other addresses than a state would expect (shared/freebsd, 12 and 14).
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beastack.freebsd.bpf_guard import link_local
from beastack.freebsd.pf_rules import ICMP6, UDP, Rule, address
from beastack.neutron.firewall.translate import Unsupported, remote_id, table, translate

RS, RA, NS, NA = 133, 134, 135, 136
LISTENER = (130, 131, 132, 143)
UNSPECIFIED_LISTENER = (131, 143)
NOBODY = "0.0.0.0"  # noqa: S104 - a packet's source, not an address to listen on


@dataclass(frozen=True)
class Plan:
    """A port's rules, the groups whose members they name, tables of its own, and what could not be translated."""

    rules: tuple[Rule, ...]
    groups: frozenset[str] = frozenset()
    tables: Mapping[str, frozenset[str]] = field(default_factory=dict)
    reports: tuple[str, ...] = ()


def pairs(port: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(MAC, address or network) that the port may speak as. Fixed addresses are texts or neutron's dictionaries."""
    mac = str(port["mac_address"]).lower()
    found = [(mac, str(ip["ip_address"] if isinstance(ip, Mapping) else ip)) for ip in port.get("fixed_ips") or ()]
    for pair in port.get("allowed_address_pairs") or ():
        found.append((str(pair.get("mac_address") or mac).lower(), str(pair["ip_address"])))
    return found or [(mac, "")]


def sources(port: Mapping[str, Any], family: int) -> list[str]:
    """Addresses that the port may send from, each MAC's own link-local one with IPv6."""
    found = set()
    for mac, text in pairs(port):
        if text and (":" in text) == (family == 6):
            found.add(address(text))
        if family == 6:
            found.add(link_local(mac))
    return sorted(found)


def open_port(interface: str) -> Plan:
    """Everything passes: DHCP and router ports of neutron's own, and ports without port security."""
    return Plan((Rule("pass", f"{interface}/open", allow_opts=True),))


def closed_port() -> Plan:
    """Nothing passes."""
    return Plan(())


def plan(port: Mapping[str, Any], groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> Plan:
    """The rules of a port in these groups (group id -> its rules)."""
    interface = str(port["device"])
    if not port.get("port_security_enabled", True):
        return open_port(interface)
    reports: list[str] = []
    tables: dict[str, frozenset[str]] = {}
    rules = _base(port, interface, tables)
    rules += _translated(port.get("security_group_rules") or (), interface, False, reports)
    remote: set[str] = set()
    own: list[Rule] = []
    for group in port.get("security_groups") or ():
        known = groups.get(group)
        if known is None:
            reports.append(f"security group {group}: its rules are unknown")
            continue
        named = [{"security_group_id": group, **rule} for rule in known]
        own += _translated(named, interface, True, reports)
        remote |= _remotes(named)
    rules += sorted(set(own), key=lambda rule: rule.label)
    return Plan(tuple(rules), frozenset(remote), tables, tuple(reports))


def _remotes(rules: Iterable[Mapping[str, Any]]) -> set[str]:
    found = set()
    for rule in rules:
        if rule.get("remote_group_id") and rule.get("remote_address_group_id"):
            continue  # not translated
        group = remote_id(rule)
        if group:
            found.add(group)
    return found


def _translated(rules: Iterable[Mapping[str, Any]], interface: str, stateful: bool, reports: list[str]) -> list[Rule]:
    found = []
    for rule in rules:
        try:
            found.append(translate(rule, interface, stateful))
        except Unsupported as e:
            reports.append(f"rule {dict(rule)}: not applied: {e}")
    return found


def _base(port: Mapping[str, Any], interface: str, tables: dict[str, frozenset[str]]) -> list[Rule]:
    def name(what: str) -> str:
        return f"{interface}/base/{what}"

    def udp(what: str, action: str, direction: str, family: int, low: int, high: int, **more: Any) -> Rule:
        return Rule(action, name(what), direction, family, UDP, source_ports=(low, low),
                    destination_ports=(high, high), **more)  # fmt: skip

    def icmp6(what: str, action: str, direction: str, kind: int, **more: Any) -> Rule:
        return Rule(action, name(f"{what}-{kind}"), direction, 6, ICMP6, icmp_type=kind, **more)

    everyone = {"source": "::", "destination": "ff02::/16"}
    rules = [
        udp("dhcp-ask", "pass", "in", 4, 68, 67, source=NOBODY, destination="255.255.255.255"),
        udp("dhcp-server", "block", "in", 4, 67, 68),
        udp("dhcp6-server", "block", "in", 6, 547, 546),
        icmp6("advertise", "block", "in", RA),
        icmp6("duplicate", "pass", "in", NS, **everyone),
        *(icmp6("duplicate", "pass", "in", k, allow_opts=True, **everyone) for k in UNSPECIFIED_LISTENER),
    ]
    for family in (4, 6):
        rules.append(_only_from(interface, family, sources(port, family), tables))
    rules += [
        udp("dhcp-renew", "pass", "in", 4, 68, 67),
        udp("dhcp6-ask", "pass", "in", 6, 546, 547),
        *(icmp6("discover", "pass", "in", k) for k in (RS, NS, NA)),
        *(icmp6("listen", "pass", "in", k, allow_opts=True) for k in LISTENER),
        *(icmp6("discovered", "pass", "out", k) for k in (NS, NA)),
        icmp6("listened", "pass", "out", 130, allow_opts=True),
    ]
    return rules


def _only_from(interface: str, family: int, allowed: list[str], tables: dict[str, frozenset[str]]) -> Rule:
    """Drop what the port sends from anywhere else."""
    label = f"{interface}/base/only-from-{family}"
    if not allowed:
        return Rule("block", label, "in", family)
    if "" in allowed:
        # everything is allowed by an address pair of length 0; the place is kept by a rule that blocks nothing more
        nowhere = ipaddress.ip_network("0.0.0.0/32" if family == 4 else "::/128").network_address
        return Rule("block", label, "in", family, source=str(nowhere))
    if len(allowed) == 1:
        return Rule("block", label, "in", family, source=allowed[0], source_not=True)
    name = table(family, f"port:{interface}")
    tables[name] = frozenset(allowed)
    return Rule("block", label, "in", family, source=f"<{name}>", source_not=True)
