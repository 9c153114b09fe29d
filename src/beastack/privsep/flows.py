"""Check of flows for Open vSwitch, in the words that neutron's firewall driver writes for ovs-ofctl(8).

One flow is ``FIELD=VALUE,…`` and, when it is added or changed, ``actions=ACTION,…`` at its end (ovs-fields(7),
ovs-actions(7)). What is not listed here is refused: no action sends to a controller, learns, or names another bridge.
Pure: a text in, the same text out, or ``Refused``.
"""

import ipaddress
import re

from beastack.privsep.checks import Refused

# A flow of a rule whose remote group has many ports names as many conjunctions.
MOST_CHARACTERS = 16_384
ACTIONS = ("add", "mod", "del")

_NUMBER = r"(?:0x[0-9a-f]{1,16}|\d{1,20})"
_MAC = r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}"
_NUMBERS = re.compile(_NUMBER)
_MASKED = re.compile(rf"{_NUMBER}(?:/{_NUMBER})?")
_COOKIE = re.compile(rf"{_NUMBER}(?:/(?:-1|{_NUMBER}))?")
_MACS = re.compile(rf"{_MAC}(?:/{_MAC})?", re.IGNORECASE)
_STATES = re.compile(r"(?:[+-](?:trk|new|est|rel|rpl|inv))+")

_FIELDS: dict[str, re.Pattern[str]] = {
    **dict.fromkeys(("table", "priority", "hard_timeout", "idle_timeout", "in_port", "conj_id", "ct_zone"), _NUMBERS),
    **dict.fromkeys(("dl_type", "nw_proto", "icmp_type", "icmp_code", "dl_vlan"), _NUMBERS),
    **dict.fromkeys(("reg5", "reg6", "reg7", "ct_mark", "vlan_tci"), _MASKED),
    **dict.fromkeys((f"{p}_{end}" for p in ("tp", "tcp", "udp", "sctp") for end in ("src", "dst")), _MASKED),
    **dict.fromkeys(("dl_src", "dl_dst", "arp_sha"), _MACS),
    "cookie": _COOKIE,
    "ct_state": _STATES,
}
_ADDRESSES = {"nw_src": 4, "nw_dst": 4, "arp_spa": 4, "ipv6_src": 6, "ipv6_dst": 6, "nd_target": 6}

_CT = rf"(?:commit|table=\d{{1,3}}|zone=(?:\d{{1,5}}|NXM_NX_REG6\[0\.\.15\])|exec\(set_field:{_NUMBER}->ct_mark\))"
_ACTION = re.compile(
    r"drop|normal|strip_vlan|ct_clear"
    r"|resubmit\(,\d{1,3}\)|output:\d{1,5}|mod_vlan_vid:\d{1,4}"
    rf"|set_field:{_NUMBER}->reg[567]"
    r"|conjunction\(\d{1,10},\d/\d\)"
    rf"|ct\({_CT}(?:,{_CT})*\)"
)


def _split(actions: str) -> list[str]:
    """At commas outside of brackets."""
    parts, depth, begin = [], 0, 0
    for at, letter in enumerate(actions):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(actions[begin:at])
            begin = at + 1
    return [*parts, actions[begin:]]


def _address(field: str, value: str, version: int) -> None:
    try:
        found = ipaddress.ip_network(value, strict=False)
    except ValueError as e:
        raise Refused(f"flow: {field}: {e}") from None
    if found.version != version or "%" in value:
        raise Refused(f"flow: {field}: {value!r} is not of IPv{version}")


def _field(part: str) -> None:
    field, equals, value = part.partition("=")
    if not equals:
        raise Refused(f"flow: {part!r} is not FIELD=VALUE")
    if field in _ADDRESSES:
        _address(field, value, _ADDRESSES[field])
        return
    pattern = _FIELDS.get(field)
    if pattern is None or pattern.fullmatch(value) is None:
        raise Refused(f"flow: {part!r} is none of the known fields with a value of its form")


def checked(flow: object, action: str) -> str:
    """One flow to ``add``, ``mod`` or ``del``, as it was given; raises Refused."""
    if not isinstance(flow, str) or not flow or len(flow) > MOST_CHARACTERS or not flow.isascii():
        raise Refused(f"flow: one line of at most {MOST_CHARACTERS} ASCII characters is wanted")
    match, marker, actions = flow.rpartition(",actions=")
    if not marker:
        match, actions = flow, ""
    if (action == "del") == bool(marker):
        raise Refused(f"flow: {flow[:200]!r} to {action}: {'no ' if marker else ''}actions are wanted")
    for part in match.split(","):
        _field(part)
    for part in _split(actions) if marker else ():
        if _ACTION.fullmatch(part) is None:
            raise Refused(f"flow: action {part[:200]!r} is none of the known ones")
    return flow
