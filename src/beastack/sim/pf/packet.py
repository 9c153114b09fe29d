"""Owns reading an Ethernet frame into what pf looks at (pf_setup_pdesc in pf(4)): addresses, ports, types, fragments.

`parse` returns None for what pf drops as malformed ("short"), and for nothing else.
"""

from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beastack.sim.pf.model import Rule

_IP4 = Struct("!BBHHHBBH4s4s").unpack_from
_IP6 = Struct("!IHBB16s16s").unpack_from
_PORTS = Struct("!HH").unpack_from
_SHORT = Struct("!H").unpack_from

TCP, UDP, ICMP, IGMP, ICMP6, SCTP = 6, 17, 1, 2, 58, 132
# ICMP queries: type -> (the request's type, whether this is the reply)
QUERIES4 = {8: (8, False), 0: (8, True), 13: (13, False), 14: (13, True), 15: (15, False), 16: (15, True)}
QUERIES4 |= {17: (17, False), 18: (17, True)}
QUERIES6 = {128: (128, False), 129: (128, True)}
ERRORS4 = frozenset((3, 4, 5, 11, 12))
ERRORS6 = frozenset((1, 2, 3, 4, 137))
_MLD = frozenset((130, 131, 132, 143))


class Packet:
    """One IP packet. `sport` and `dport` are what a state's key holds: for ICMP queries id and request's type."""

    __slots__ = (
        "badopts", "body", "dport", "dst", "family", "flags", "frag_id", "frag_more", "frag_offset", "frag_size",
        "icmp_code", "icmp_type", "inner", "length", "piece", "proto", "reply", "sport", "src", "stateful", "tag",
        "tos", "translation",
    )  # fmt: skip

    def __init__(self, family: int, src: bytes, dst: bytes, proto: int, length: int, tos: int) -> None:
        self.family = family
        self.src = src
        self.dst = dst
        self.proto = proto
        self.length = length
        self.tos = tos
        self.sport = self.dport = 0
        self.flags = 0
        self.icmp_type = self.icmp_code = -1
        self.reply = False
        self.stateful = True
        self.inner: bytes | None = None
        self.badopts = False
        self.body = 0  # where the transport header begins, from the IP header on
        self.frag_id = -1
        self.frag_offset = self.frag_size = 0
        self.frag_more = False
        self.piece = False  # a fragment that is judged for itself: its ports and types are not looked at
        self.tag = ""
        self.translation: Rule | None = None  # of the last match rule that asked for one


def parse(frame: bytes) -> Packet | None:
    """The packet of a frame whose EtherType is IPv4 or IPv6."""
    return (_ipv4 if frame[12] == 8 else _ipv6)(frame, 14, len(frame), False)


def parse_inner(data: bytes, family: int) -> Packet | None:
    """The packet that an ICMP error quotes: its header and at least 8 bytes."""
    return (_ipv4 if family == 4 else _ipv6)(data, 0, len(data), True)


def _ipv4(data: bytes, at: int, end: int, quoted: bool) -> Packet | None:
    if end - at < 20:
        return None
    first, tos, total, ident, fragment, _, proto, _, src, dst = _IP4(data, at)
    header = (first & 15) * 4
    if first >> 4 != 4 or header < 20 or total < header or (at + total > end and not quoted) or at + header > end:
        return None
    packet = Packet(4, src, dst, proto, total, tos)
    if header > 20:
        packet.badopts = _options4(data[at + 20 : at + header]) or proto != IGMP
    stop = min(at + total, end)
    at += header
    if fragment & 0x3FFF:
        packet.frag_id = ident
        packet.frag_offset = (fragment & 0x1FFF) * 8
        packet.frag_more = bool(fragment & 0x2000)
        packet.frag_size = stop - at
        if packet.frag_offset:
            return packet
    return packet if _transport(packet, data, at, stop, quoted) else None


def _options4(options: bytes) -> bool:
    """Whether there is anything else than padding and Router Alert."""
    at = 0
    while at < len(options):
        kind = options[at]
        if kind == 0:
            return False
        if kind == 1:
            at += 1
            continue
        if kind != 148 or at + 1 >= len(options) or options[at + 1] < 2:
            return True
        at += options[at + 1]
    return False


def _ipv6(data: bytes, at: int, end: int, quoted: bool) -> Packet | None:
    if end - at < 40:
        return None
    word, payload, proto, _, src, dst = _IP6(data, at)
    if word >> 28 != 6 or (at + 40 + payload > end and not quoted):
        return None
    packet = Packet(6, src, dst, proto, 40 + payload, word >> 20 & 0xFF)
    stop = min(at + 40 + payload, end)
    at += 40
    first, alert = True, False
    while proto in (0, 43, 44, 51, 60):
        if at + 8 > stop:
            return None
        following, length = data[at], data[at + 1]
        if proto == 44:
            (word,) = _SHORT(data, at + 2)
            if packet.frag_id >= 0:
                return None
            packet.frag_offset, packet.frag_more = word & 0xFFF8, bool(word & 1)
            if word & 0xFFF9:  # an atomic fragment is a whole packet
                packet.frag_id = int.from_bytes(data[at + 4 : at + 8], "big")
            packet.proto = proto = following
            at += 8
            packet.frag_size = stop - at
            if packet.frag_offset:
                return packet
            continue
        size = (length + 2) * 4 if proto == 51 else (length + 1) * 8
        if at + size > stop:
            return None
        if proto == 43 and data[at + 2] == 0:
            return None  # routing header type 0
        if proto == 0:
            if not first:
                return None
            alert = _router_alert(data[at + 2 : at + size])
            packet.badopts = packet.badopts or not alert
        first = False
        packet.proto = proto = following
        at += size
    if not _transport(packet, data, at, stop, quoted):
        return None
    if alert and not (proto == ICMP6 and packet.icmp_type in _MLD):
        packet.badopts = True
    return packet


def _router_alert(options: bytes) -> bool:
    """Whether there is nothing but padding and Router Alert."""
    at = 0
    while at < len(options):
        kind = options[at]
        if kind == 0:
            at += 1
            continue
        if kind not in (1, 5) or at + 1 >= len(options):
            return False
        at += 2 + options[at + 1]
    return at == len(options)


def _transport(packet: Packet, data: bytes, at: int, stop: int, quoted: bool) -> bool:
    """Ports, flags, types; False when the header does not fit."""
    proto, room = packet.proto, stop - at
    packet.body = at if quoted else at - 14  # a quoted packet begins its data, a whole one follows Ethernet's header
    if proto == TCP:
        if room < (8 if quoted else 20):
            return False
        packet.sport, packet.dport = _PORTS(data, at)
        if room >= 14:
            packet.flags = data[at + 13]
    elif proto == UDP:
        if room < 8:
            return False
        packet.sport, packet.dport = _PORTS(data, at)
        (size,) = _SHORT(data, at + 4)
        if packet.dport == 0 or size < 8 or (size > room and not quoted and not packet.frag_more):
            return False
    elif proto == SCTP:
        if room < (8 if quoted else 12):
            return False
        packet.sport, packet.dport = _PORTS(data, at)
    elif (proto == ICMP and packet.family == 4) or (proto == ICMP6 and packet.family == 6):
        if room < 8:
            return False
        _icmp(packet, data, at, stop)
    return True


def _icmp(packet: Packet, data: bytes, at: int, stop: int) -> None:
    kind = packet.icmp_type = data[at]
    packet.icmp_code = data[at + 1]
    queries, errors = (QUERIES4, ERRORS4) if packet.family == 4 else (QUERIES6, ERRORS6)
    query = queries.get(kind)
    if query is None:
        packet.stateful = False
        if kind in errors:
            packet.inner = data[at + 8 : stop]
        return
    (ident,) = _SHORT(data, at + 4)
    request, packet.reply = query
    packet.sport, packet.dport = (request, ident) if packet.reply else (ident, request)
