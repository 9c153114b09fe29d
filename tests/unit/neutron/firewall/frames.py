"""Bytes of the reference model's packets."""

import ipaddress
import struct

from tests.unit.neutron.firewall.reference import ICMP, ICMP6, SCTP, TCP, UDP, Packet

LISTENER = (130, 131, 132, 143)
FRAGMENT = 24  # bytes of the first one: the longest header is TCP's


def raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def payload(packet: Packet, data: bytes = b"0123456789abcdef0123456789abcdef") -> bytes:
    ports = struct.pack("!HH", packet.sport, packet.dport)
    if packet.proto == TCP:
        return ports + struct.pack("!IIBBHHH", 1, 1, 0x50, 0x02 if packet.syn else 0x10, 1024, 0, 0) + data
    if packet.proto == UDP:
        return ports + struct.pack("!HH", 8 + len(data), 0) + data
    if packet.proto == SCTP:
        return ports + struct.pack("!II", 0, 0) + b"\x01\0\0\x14" + bytes(16)
    if packet.proto in (ICMP, ICMP6):
        head = struct.pack("!BBH", packet.kind, packet.code, 0)
        if packet.about is not None:
            return head + bytes(4) + ip(packet.about)[:60]
        if packet.neighbour:
            return head + bytes(4) + ipaddress.ip_address(packet.neighbour).packed
        return head + struct.pack("!HH", packet.ident, 1) + data
    return data


def ip(packet: Packet, body: bytes | None = None, fragment: int = 0) -> bytes:
    """The packet from its IP header on; ``fragment`` is the field of an IPv4 header."""
    body = payload(packet) if body is None else body
    ends = ipaddress.ip_address(packet.source).packed + ipaddress.ip_address(packet.target).packed
    if packet.family == 4:
        options = b"\x94\x04\0\0" if packet.options else b""
        size = 20 + len(options)
        head = struct.pack(
            "!BBHHHBBH", 0x40 | size // 4, 0, size + len(body), packet.ident, fragment, 64, packet.proto, 0
        )
        return head + ends + options + body
    proto = packet.proto
    if packet.is_icmp and packet.kind in LISTENER:
        body = bytes([ICMP6, 0, 5, 2, 0, 0, 1, 0]) + body
        proto = 0
    elif packet.pieces and fragment:
        offset = (fragment & 0x1FFF) << 3
        body = struct.pack("!BBHI", proto, 0, offset | bool(fragment & 0x2000), packet.ident + 1) + body
        proto = 44
    return struct.pack("!IHBB", 6 << 28, len(body), proto, 255) + ends + body


def frames(packet: Packet) -> list[bytes]:
    """One Ethernet frame, or two when the packet goes in pieces."""
    head = b"\xfa\x16\x3e\x00\x00\xee" + raw(packet.mac) + (b"\x08\x00" if packet.family == 4 else b"\x86\xdd")
    if not packet.pieces:
        return [head + ip(packet)]
    body = payload(packet)
    return [head + ip(packet, body[:FRAGMENT], 0x2000), head + ip(packet, body[FRAGMENT:], FRAGMENT // 8)]
