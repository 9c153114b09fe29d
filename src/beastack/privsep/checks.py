"""Checks of what crosses the privilege boundary, made on the privileged side.

A caller may be compromised, so nothing of it is believed: each function returns the value it was given, in one
canonical form, or raises ``Refused``. What a check does not know it refuses.
"""

import ipaddress
import re
from collections.abc import Collection
from uuid import UUID

# FreeBSD's IFNAMSIZ is 16 with the closing NUL.
_PORT_INTERFACE = re.compile(r"(?:tap|ns-|qr-|qg-)[0-9a-f]{8}-[0-9a-f]{2}")
_TAP = re.compile(r"tap[0-9a-f]{8}-[0-9a-f]{2}")
_BRIDGE = re.compile(r"brq[0-9a-f]{8}-[0-9a-f]{2}")
_UPLINK = re.compile(r"(?:vln|vxl)[0-9a-f]{8}-[0-9a-f]{2}")
_NIC = re.compile(r"[a-z][a-z0-9_]{0,9}[0-9]{1,3}")
_JAIL = re.compile(r"(?:qdhcp|qrouter)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_TABLE = re.compile(r"bs[46]_[0-9a-f]{8,27}")
_DESCRIPTION = re.compile(r"beastack:[a-z]{1,16}:[0-9a-zA-Z._-]{1,63}")
_HOST_NAME = re.compile(r"[0-9a-zA-Z](?:[0-9a-zA-Z.-]{0,252}[0-9a-zA-Z])?")


class Refused(Exception):
    """The privileged side does not do this; the text says which value and why."""


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise Refused(f"{what}: a text is wanted, not {type(value).__name__}")
    return value


def _match(pattern: re.Pattern[str], value: object, what: str) -> str:
    text = _text(value, what)
    if pattern.fullmatch(text) is None:
        raise Refused(f"{what}: {text!r} is not of the form {pattern.pattern}")
    return text


def uuid(value: object) -> str:
    """A UUID in its canonical, lower-case form with hyphens."""
    text = _text(value, "UUID")
    try:
        canonical = str(UUID(text))
    except ValueError:
        canonical = None
    if canonical != text:
        raise Refused(f"UUID: {text!r} is not one in canonical form")
    return text


def interface_name(value: object) -> str:
    """An interface of ours: tap…, ns-…, qr-…, qg-… and 11 characters of a port's id."""
    return _match(_PORT_INTERFACE, value, "interface")


def tap_name(value: object) -> str:
    """A port's interface on the host: tap and 11 characters of the port's id."""
    return _match(_TAP, value, "tap")


def is_tap_name(value: str) -> bool:
    """Whether it has that form."""
    return _TAP.fullmatch(value) is not None


def bridge_name(value: object) -> str:
    """A bridge of ours: brq and 11 characters of a network's id."""
    return _match(_BRIDGE, value, "bridge")


def uplink_name(value: object) -> str:
    """A network's way out of the host: vln (vlan) or vxl (vxlan) and 11 characters of the network's id."""
    return _match(_UPLINK, value, "uplink")


def nic_name(value: object, allowed: Collection[str]) -> str:
    """A network card's name that the configuration allows."""
    name = _match(_NIC, value, "network card")
    if name not in allowed:
        raise Refused(f"network card: {name!r} is not among those allowed ({', '.join(sorted(allowed)) or 'none'})")
    return name


def jail_name(value: object) -> str:
    """A jail of ours: qdhcp- or qrouter- and a UUID."""
    return _match(_JAIL, value, "jail")


def table_name(value: object) -> str:
    """A pf table of ours, within pf's 31 characters."""
    return _match(_TABLE, value, "table")


def description(value: object) -> str:
    """The mark on what we make: beastack:KIND:ID."""
    return _match(_DESCRIPTION, value, "description")


def description_of(value: object, kind: str, interface: str) -> str:
    """The mark of ``interface``: beastack:KIND:UUID, where the interface's name comes from the same UUID."""
    text = description(value)
    _, found, whole = text.split(":", 2)
    if found != kind or uuid(whole)[:11] != interface[3:]:
        raise Refused(f"description: {text!r} is not that of {interface}")
    return text


def host_name(value: object) -> str:
    """A DNS name (RFC 1123), at most 254 characters."""
    return _match(_HOST_NAME, value, "host name")


def mac(value: object) -> str:
    """A unicast Ethernet address, lower case with colons, not all zero."""
    text = _match(_MAC, value, "MAC address")
    first = int(text[:2], 16)
    if first & 1 or text == "00:00:00:00:00:00":
        raise Refused(f"MAC address: {text} is not a unicast one")
    return text


def ip(value: object) -> str:
    """One IPv4 or IPv6 address without a zone, in canonical form."""
    text = _text(value, "IP address")
    try:
        address = ipaddress.ip_address(text)
    except ValueError as e:
        raise Refused(f"IP address: {e}") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise Refused(f"IP address: {text!r} carries a zone")
    return str(address)


def peer(value: object) -> str:
    """Another host's address: unicast, neither this host's loopback nor bound to one link."""
    text = ip(value)
    address = ipaddress.ip_address(text)
    if (
        address.is_multicast
        or address.is_unspecified
        or address.is_loopback
        or address.is_link_local
        or text == "255.255.255.255"
    ):
        raise Refused(f"IP address: {text} is no other host's")
    return text


def cidr(value: object) -> str:
    """An address with its prefix length; host bits may be set (an interface's address)."""
    text = _text(value, "address/prefix")
    if "%" in text or "/" not in text:
        raise Refused(f"address/prefix: {text!r} is not ADDRESS/LENGTH")
    try:
        found = ipaddress.ip_interface(text)
    except ValueError as e:
        raise Refused(f"address/prefix: {e}") from None
    if not text.rpartition("/")[2].isdecimal():
        raise Refused(f"address/prefix: {text!r}: the length is not a number")
    return str(found)


def network(value: object) -> str:
    """A network: ADDRESS/LENGTH without host bits."""
    text = cidr(value)
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as e:
        raise Refused(f"network: {e}") from None


def number(value: object, low: int, high: int, what: str) -> int:
    """A whole number from ``low`` to ``high``; booleans are none."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Refused(f"{what}: {value!r} is not a whole number from {low} to {high}")
    return value


def port_number(value: object) -> int:
    """A TCP or UDP port."""
    return number(value, 1, 65535, "port")


def mtu(value: object) -> int:
    """An interface's MTU, bytes: IPv4's least (RFC 791) to epair's most."""
    return number(value, 68, 65535, "MTU")


def flag(value: object, what: str) -> bool:
    """True or False, and nothing that only counts as one."""
    if not isinstance(value, bool):
        raise Refused(f"{what}: {value!r} is neither true nor false")
    return value


def text(value: object, most: int, what: str) -> str:
    """One line of at most ``most`` printable ASCII characters; may be empty."""
    found = _text(value, what)
    if len(found) > most or not found.isascii() or (found and not found.isprintable()):
        raise Refused(f"{what}: at most {most} printable ASCII characters are wanted")
    return found


def items(value: object, most: int, what: str) -> list[object]:
    """A list of at most ``most`` things; each is for its own check."""
    if not isinstance(value, list | tuple) or len(value) > most:
        raise Refused(f"{what}: a list of at most {most} is wanted")
    return list(value)


def data(value: object, most: int) -> bytes:
    """From 1 to ``most`` bytes."""
    if not isinstance(value, bytes) or not 1 <= len(value) <= most:
        raise Refused(f"data: from 1 to {most} bytes are wanted")
    return value
