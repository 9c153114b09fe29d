"""A security group rule, as neutron's server sends it, as pf rules.

The dictionaries are those of ``security_group_info_for_devices`` 1.3 (neutron/db/securitygroups_rpc_base.py). What is
not understood whole is not translated at all: ``Unsupported`` says why, and the port stays closed for it.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from neutron_lib import constants

from beastack.freebsd.pf_rules import ICMP, ICMP6, PORT_PROTOCOLS, BadRule, Rule, address

_KNOWN = {
    "direction", "ethertype", "protocol", "port_range_min", "port_range_max", "source_port_range_min",
    "source_port_range_max", "source_ip_prefix", "dest_ip_prefix", "remote_group_id", "remote_address_group_id",
    "security_group_id", "stateful",
}  # fmt: skip
_FAMILIES = {constants.IPv4: 4, constants.IPv6: 6}
# Towards the guest is out of the host's interface.
_DIRECTIONS = {constants.INGRESS_DIRECTION: "out", constants.EGRESS_DIRECTION: "in"}


class Unsupported(Exception):
    """A rule that is not translated; nothing is allowed because of it."""


def digest(text: str, length: int = 24) -> str:
    """A short name for a long id."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def table(family: int, subject: str) -> str:
    """The main ruleset's table of a group's (or port's) members of one family, within pf's 31 characters."""
    return f"bs{family}_{digest(subject)}"


def remote_id(rule: Mapping[str, Any]) -> str | None:
    """The remote group or address group that a rule names."""
    both = rule.get("remote_group_id"), rule.get("remote_address_group_id")
    if both[0] and both[1]:
        raise Unsupported("it names a remote group and an address group")
    found = both[0] or both[1]
    return str(found) if found else None


def _protocol(value: Any, family: int) -> int | None:
    if value in (None, "", "any"):
        return None
    text = str(value).lower()
    number = int(text) if text.isdecimal() else constants.IP_PROTOCOL_MAP.get(text)
    if number is None or not 0 <= number <= 255:
        raise Unsupported(f"protocol {value!r}")
    if number == 0:
        return None  # "any or 0" (Networking API v2, security group rules); iptables_firewall._protocol_arg
    if family == 6 and number == ICMP:
        return ICMP6
    return int(number)


def _range(rule: Mapping[str, Any], prefix: str) -> tuple[int, int] | None:
    low, high = rule.get(f"{prefix}port_range_min"), rule.get(f"{prefix}port_range_max")
    if low is None and high is None:
        return None
    if low is None:
        raise Unsupported(f"{prefix}ports up to {high!r}")
    try:
        return int(low), int(low if high is None else high)
    except (TypeError, ValueError) as e:
        raise Unsupported(f"{prefix}ports {low!r} to {high!r}") from e


def _icmp(rule: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Type and code; the provider's rule for router advertisements has the type where the source port goes."""
    kind = rule.get("port_range_min")
    if kind is None:
        kind = rule.get("source_port_range_min")
    code = rule.get("port_range_max")
    return (None if kind is None else int(kind), None if code is None else int(code))


def translate(rule: Mapping[str, Any], interface: str, stateful: bool = True) -> Rule:
    """The pf rule that allows what ``rule`` allows. Raises Unsupported.

    ``stateful`` is False for the provider's own rules (DHCP, router advertisements). The label is the interface, the
    group and what the rule means, 14 + 1 + 36 + 1 + 8 of pf's 63 characters: neutron's server sends no rule ids, and a
    rule has the same name after a restart and after an upgrade that says it in other words. IP options are none of a
    group's business: pf drops them unless told (pf.conf(5), allow-opts), and IGMP cannot be said without one.
    """
    unknown = sorted(k for k, v in rule.items() if k not in _KNOWN and v is not None)
    if unknown:
        raise Unsupported(f"it has attributes that are not known here: {', '.join(unknown)}")
    family = _FAMILIES.get(str(rule.get("ethertype")))
    direction = _DIRECTIONS.get(str(rule.get("direction")))
    if family is None or direction is None:
        raise Unsupported(f"ethertype {rule.get('ethertype')!r}, direction {rule.get('direction')!r}")
    protocol = _protocol(rule.get("protocol"), family)
    icmp = protocol in (ICMP, ICMP6)
    try:
        kind, code = _icmp(rule) if icmp else (None, None)
        ports = None if icmp else _range(rule, "")
        source_ports = None if icmp else _range(rule, "source_")
        if (ports or source_ports) and protocol not in PORT_PROTOCOLS:
            raise Unsupported(f"ports of protocol {rule.get('protocol')!r}")
        source = address(rule["source_ip_prefix"]) if rule.get("source_ip_prefix") else ""
        destination = address(rule["dest_ip_prefix"]) if rule.get("dest_ip_prefix") else ""
        group = remote_id(rule)
        if group is not None:
            if (source if direction == "out" else destination) != "":
                raise Unsupported("it names a remote group and a prefix")
            name = f"<{table(family, group)}>"
            source, destination = (name, destination) if direction == "out" else (source, name)
        keeps = stateful and rule.get("stateful") is not False
        said = (direction, family, protocol, source, source_ports, destination, ports, kind, code, keeps)
        group_id = rule.get("security_group_id") or "provider"
        return Rule(
            action="pass", label=f"{interface}/{group_id}/{digest(repr(said), 8)}", direction=direction, family=family,
            protocol=protocol, source=source, source_ports=source_ports, destination=destination,
            destination_ports=ports, icmp_type=kind, icmp_code=code, stateful=keeps, allow_opts=True,
        )  # fmt: skip
    except (BadRule, ValueError, TypeError) as e:
        raise Unsupported(str(e)) from e
