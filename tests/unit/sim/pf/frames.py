"""Frames for pf's tests, built by hand."""

import ipaddress
import struct

MACS = bytes.fromhex("fa163e000002fa163e000001")
FIN, SYN, RST, ACK = 1, 2, 4, 16


def ip(source: str, target: str, proto: int, payload: bytes, **more: int) -> bytes:
    """An Ethernet frame with one IPv4 or IPv6 packet."""
    src, dst = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if src.version == 6:
        header = struct.pack("!IHBB", 6 << 28, len(payload), proto, 64)
        return MACS + b"\x86\xdd" + header + src.packed + dst.packed + payload
    fragment = more.get("offset", 0) // 8 | (0x2000 if more.get("more") else 0)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), more.get("ident", 1), fragment, 64, proto, 0)
    return MACS + b"\x08\x00" + header + src.packed + dst.packed + payload


def tcp(source: str, sport: int, target: str, dport: int, flags: int) -> bytes:
    return ip(source, target, 6, struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 0x50, flags, 1024, 0, 0))


def udp_payload(sport: int, dport: int, data: bytes = b"hello") -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data


def udp(source: str, sport: int, target: str, dport: int) -> bytes:
    return ip(source, target, 17, udp_payload(sport, dport))


def icmp(source: str, target: str, kind: int, ident: int = 7, code: int = 0, data: bytes = b"") -> bytes:
    proto = 58 if ":" in source else 1
    return ip(source, target, proto, struct.pack("!BBHHH", kind, code, 0, ident, 1) + data)


def icmp_error(source: str, target: str, kind: int, code: int, about: bytes) -> bytes:
    proto = 58 if ":" in source else 1
    return ip(source, target, proto, struct.pack("!BBHI", kind, code, 0, 0) + about[14 : 14 + 48])
