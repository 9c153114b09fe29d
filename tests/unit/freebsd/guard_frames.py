"""Frames for the guard, what it should say of them (a slow predicate in plain Python), and bpf_filter(9)."""

import ipaddress
import struct

from hypothesis import strategies as st

from beastack.freebsd.bpf import Instruction
from beastack.freebsd.bpf_guard import link_local

MAC, OTHER, FOREIGN = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02", "fa:16:3e:66:66:66"
PAIRS = [
    (MAC, "10.0.0.5"),
    (MAC, "192.168.0.0/20"),
    (MAC, "10.0.0.6"),
    (MAC, "2001:db8::5"),
    (MAC, "2001:db8:1::/50"),
    (OTHER, "10.0.0.9"),
]


def run(program: list[Instruction], p: bytes) -> int:
    """bpf_filter(9), as far as the assembler goes."""
    a = x = pc = 0
    memory = [0] * 16
    while True:
        i = program[pc]
        pc += 1
        size = {0x20: 4, 0x28: 2, 0x30: 1, 0x40: 4, 0x48: 2, 0xB1: 1}.get(i.code)
        at = i.k + (x if i.code in (0x40, 0x48) else 0)
        if size and at + size > len(p):
            return 0
        match i.code:
            case 0x20 | 0x28 | 0x30 | 0x40 | 0x48:
                a = int.from_bytes(p[at : at + (size or 0)], "big")
            case 0xB1:
                x = 4 * (p[at] & 15)
            case 0x54:
                a &= i.k
            case 0x07:
                x = a
            case 0x00:
                a = i.k
            case 0x01:
                x = i.k
            case 0x02:
                memory[i.k] = a
            case 0x60:
                a = memory[i.k]
            case 0x05:
                pc += i.k
            case 0x15:
                pc += i.jt if a == i.k else i.jf
            case 0x1D:
                pc += i.jt if a == x else i.jf
            case 0x45:
                pc += i.jt if a & i.k else i.jf
            case 0x06:
                return i.k
            case _:
                raise AssertionError(hex(i.code))


def inside(address: bytes, networks: list[str]) -> bool:
    found = ipaddress.ip_address(address)
    return any(found in n for n in map(ipaddress.ip_network, networks) if n.version == found.version)


def reference(p: bytes, pairs: list[tuple[str, str]]) -> bool:
    """What a port may send, said plainly."""
    if len(p) < 14:
        return False
    mac = ":".join(f"{b:02x}" for b in p[6:12])
    if mac not in {m for m, _ in pairs}:
        return False
    allowed = [a for m, a in pairs if m == mac] + [link_local(mac)]
    kind, body = p[12:14], p[14:]
    if kind == b"\x08\x06":
        if len(body) < 18 or body[:6] != bytes.fromhex("000108000604"):
            return False
        if body[8:14] != p[6:12] or body[6:8] not in (b"\0\1", b"\0\2"):
            return False
        if body[14:18] == bytes(4):
            return body[6:8] == b"\0\1" and len(body) >= 28 and inside(body[24:28], allowed)
        return inside(body[14:18], allowed)
    if kind == b"\x08\x00":
        return four(body, allowed)
    if kind == b"\x86\xdd":
        return six(body, allowed)
    return False


def four(b: bytes, allowed: list[str]) -> bool:
    if len(b) < 20 or b[0] >> 4 != 4:
        return False
    header = 4 * (b[0] & 15)
    fragment = struct.unpack_from("!H", b, 6)[0]
    ports = None
    if b[9] == 17 and not fragment & 0x1FFF:
        if len(b) < header + 4:
            return False
        ports = struct.unpack_from("!HH", b, header)
    if b[12:16] == bytes(4):
        return b[16:20] == b"\xff" * 4 and not fragment & 0x3FFF and ports == (68, 67)
    return (ports is None or ports[1] != 68) and inside(b[12:16], allowed)


def six(b: bytes, allowed: list[str]) -> bool:
    if len(b) < 40 or b[0] >> 4 != 6:
        return False
    kind, source, target, rest = b[6], b[8:24], b[24:40], b[40:]
    byte = lambda at: rest[at] if at < len(rest) else None  # noqa: E731
    listener = byte(8) if rest[:2] == bytes([58, 0]) else None
    if source == bytes(16):
        if target[:2] != b"\xff\x02":
            return False
        asks = kind == 58 and byte(0) == 135 and len(rest) >= 24 and inside(rest[8:24], allowed)
        return asks or (kind == 0 and listener in (131, 143))
    if kind == 58:
        if byte(0) in (None, 134):
            return False
        if byte(0) == 136:
            return len(rest) >= 24 and inside(rest[8:24], allowed)
    elif kind == 17:
        if not client(rest):
            return False
    elif kind == 0:
        if listener not in (130, 131, 132, 143):
            return False
    elif kind == 44:
        if byte(0) in (None, 0, 43, 44, 60, 58):
            return False
        if byte(0) == 17:
            if len(rest) < 4:
                return False
            if not struct.unpack_from("!H", rest, 2)[0] & 0xFFF8 and not client(rest[8:]):
                return False
    elif kind in (43, 60):
        return False
    return inside(source, allowed)


def client(udp: bytes) -> bool:
    """UDP that goes to no DHCPv6 client and is long enough to know."""
    return len(udp) >= 4 and udp[2:4] != struct.pack("!H", 546)


SOURCES4 = ["10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.9", "192.168.15.255", "192.168.16.0", "0.0.0.0"]
SOURCES6 = [
    "2001:db8::5", "2001:db8::6", "2001:db8:1::1", "2001:db8:1:3fff::1", "2001:db8:1:4000::1", "::", "ff02::1",
    link_local(MAC), link_local(OTHER), link_local(FOREIGN),
]  # fmt: skip
BYTES = st.binary(max_size=40)


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    mac = bytes.fromhex(draw(st.sampled_from([MAC, MAC, OTHER, FOREIGN])).replace(":", ""))
    kind = draw(st.sampled_from(["arp", "ip4", "ip6", "ip6", "other"]))
    if kind == "arp":
        head = draw(
            st.sampled_from(
                ["0001080006040001", "0001080006040002", "0001080006040008", "0006080006040001", "0001080006030001"]
            )
        )
        sender = draw(st.sampled_from([mac, mac, bytes(6), bytes.fromhex("fa163e000001")]))
        body = bytes.fromhex(head) + sender + packed(draw(st.sampled_from(SOURCES4))) + bytes(6)
        body += packed(draw(st.sampled_from(SOURCES4)))
        ethertype = b"\x08\x06"
    elif kind == "ip4":
        options = draw(st.integers(5, 7))
        proto = draw(st.sampled_from([17, 17, 6, 1]))
        ports = draw(st.sampled_from([(68, 67), (67, 68), (67, 67), (5000, 68), (53, 53)]))
        fragment = draw(st.sampled_from([0, 0, 0, 0x2000, 1, 0x4000]))
        target = draw(st.sampled_from(["255.255.255.255", "10.0.0.1"]))
        first = draw(st.sampled_from([4, 4, 4, 6])) << 4 | options
        body = struct.pack("!BBHHHBBH", first, 0, 0, 0, fragment, 64, proto, 0)
        body += packed(draw(st.sampled_from(SOURCES4))) + packed(target) + bytes(4 * (options - 5))
        body += struct.pack("!HH", *ports) + draw(BYTES)
        ethertype = b"\x08\x00"
    elif kind == "ip6":
        body = draw(ip6())
        ethertype = b"\x86\xdd"
    else:
        body, ethertype = draw(BYTES), draw(st.sampled_from([b"\x81\x00", b"\x88\xcc", b"\x00\x10", b"\x88\xa8"]))
    frame = b"\xff" * 6 + mac + ethertype + body
    return frame[: draw(st.integers(0, len(frame)))] if draw(st.integers(0, 9)) == 0 else frame


@st.composite
def ip6(draw: st.DrawFn) -> bytes:
    header = draw(st.sampled_from([58, 58, 58, 17, 0, 44, 43, 60, 6, 51]))
    icmp = st.sampled_from([128, 130, 131, 132, 133, 134, 135, 136, 136, 143])
    target = packed(draw(st.sampled_from(SOURCES6)))
    ports = st.sampled_from([(547, 546), (1234, 546), (546, 547), (547, 5), (53, 53)])
    if header == 58:
        rest = bytes([draw(icmp), 0, 0, 0]) + bytes(4) + target
    elif header == 17:
        rest = struct.pack("!HH", *draw(ports)) + bytes(4)
    elif header == 0:
        rest = bytes([draw(st.sampled_from([58, 58, 17])), draw(st.sampled_from([0, 0, 1]))]) + bytes(6)
        rest += bytes([draw(icmp)]) + bytes(7)
    elif header == 44:
        inner = draw(st.sampled_from([58, 17, 17, 6, 0, 43, 44, 60]))
        rest = bytes([inner, 0]) + struct.pack("!H", draw(st.sampled_from([0, 1, 8, 9]))) + bytes(4)
        rest += struct.pack("!HH", *draw(ports))[: draw(st.integers(0, 4))]
    else:
        rest = draw(BYTES)
    first = bytes([draw(st.sampled_from([0x60, 0x60, 0x60, 0x45]))]) + bytes(3)
    source = packed(draw(st.sampled_from(SOURCES6)))
    where = packed(draw(st.sampled_from(["ff02::1", "ff02::16", "2001:db8::1"])))
    return first + struct.pack("!HBB", len(rest), header, 255) + source + where + rest


def raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def arp(mac: str, sender: str, target: str, kind: int = 1) -> bytes:
    head = b"\xff" * 6 + raw(mac) + b"\x08\x06" + bytes.fromhex("000108000604") + kind.to_bytes(2, "big")
    return head + raw(mac) + packed(sender) + bytes(6) + packed(target)


def ip6_frame(mac: str, source: str, to: str, header: int, rest: bytes) -> bytes:
    head = b"\x33\x33\0\0\0\1" + raw(mac) + b"\x86\xdd\x60\0\0\0" + struct.pack("!HBB", len(rest), header, 255)
    return head + packed(source) + packed(to) + rest


def dad(mac: str, target: str) -> bytes:
    return ip6_frame(mac, "::", "ff02::1:ff00:1", 58, bytes([135, 0, 0, 0]) + bytes(4) + packed(target))


def udp4(source: str, ports: tuple[int, int], fragment: int = 0, options: int = 0, to: str = "10.0.0.1") -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45 + options, 0, 0, 0, fragment, 64, 17, 0)
    rest = packed(source) + packed(to) + bytes(4 * options) + struct.pack("!HH", *ports) + bytes(20)
    return b"\xff" * 6 + raw(MAC) + b"\x08\x00" + head + rest


HOSTILE = {
    "probes for a neighbour's address": arp(MAC, "0.0.0.0", "10.0.0.77"),
    "an answer from nowhere": arp(MAC, "0.0.0.0", "10.0.0.5", 2),
    "ARP in the name of another": arp(MAC, "10.0.0.9", "10.0.0.1"),
    "ARP's other operations": arp(MAC, "10.0.0.5", "10.0.0.1", 8),
    "duplicate address detection for a neighbour's": dad(MAC, "2001:db8::77"),
    "a DHCP answer from port 67": udp4("10.0.0.5", (67, 68)),
    "a DHCP answer from another port": udp4("10.0.0.5", (1234, 68)),
    "a DHCP answer behind options": udp4("10.0.0.5", (67, 68), options=10),
    "a DHCP answer's first fragment": udp4("10.0.0.5", (67, 68), fragment=0x2000),
    "a DHCP answer from nowhere": udp4("0.0.0.0", (67, 68), to="255.255.255.255"),
    "a DHCPv6 answer": ip6_frame(MAC, "2001:db8::5", "ff02::1", 17, struct.pack("!HH", 999, 546) + bytes(20)),
    "a DHCPv6 answer's first fragment": ip6_frame(
        MAC, "2001:db8::5", "ff02::1", 44, b"\x11\0\0\1" + bytes(4) + struct.pack("!HH", 547, 546) + bytes(20)
    ),
    "a router advertisement": ip6_frame(MAC, link_local(MAC), "ff02::1", 58, bytes([134]) + bytes(60)),
    "one behind hop-by-hop options": ip6_frame(
        MAC, link_local(MAC), "ff02::1", 0, bytes([58, 0]) + bytes(6) + bytes([134]) + bytes(60)
    ),
    "one behind longer hop-by-hop options": ip6_frame(
        MAC, link_local(MAC), "ff02::1", 0, bytes([58, 1]) + bytes(6) + bytes([131]) + bytes(7) + bytes([134])
    ),
    "one behind destination options": ip6_frame(
        MAC, link_local(MAC), "ff02::1", 60, bytes([58, 0]) + bytes(6) + bytes([134]) + bytes(60)
    ),
    "one behind two headers": ip6_frame(
        MAC, link_local(MAC), "ff02::1", 0, bytes([60, 0]) + bytes(6) + bytes([58, 0]) + bytes(6) + bytes([134])
    ),
    "one in an atomic fragment": ip6_frame(
        MAC, link_local(MAC), "ff02::1", 44, bytes([58]) + bytes(7) + bytes([134]) + bytes(60)
    ),
    "a neighbour's advertisement": ip6_frame(
        MAC, link_local(MAC), "ff02::1", 58, bytes([136, 0, 0, 0]) + bytes(4) + packed("2001:db8::77")
    ),
    "an advertisement cut short": ip6_frame(MAC, link_local(MAC), "ff02::1", 58, bytes([136, 0, 0, 0]) + bytes(4)),
    "a foreign MAC": arp(FOREIGN, "10.0.0.5", "10.0.0.1"),
    "a VLAN tag": b"\xff" * 6 + raw(MAC) + b"\x81\x00\x00\x05" + arp(MAC, "10.0.0.5", "10.0.0.1")[12:],
    "two VLAN tags": b"\xff" * 6 + raw(MAC) + b"\x88\xa8\x00\x05\x81\x00\x00\x05\x08\x06" + bytes(28),
    "LLC with SNAP": b"\xff" * 6 + raw(MAC) + b"\x00\x24\xaa\xaa\x03\0\0\0\x08\x06" + bytes(28),
    "a bridge's BPDU": b"\x01\x80\xc2\0\0\0" + raw(MAC) + b"\x00\x26\x42\x42\x03" + bytes(35),
    "IPv4 that says IPv6": udp4("10.0.0.5", (5, 5)).replace(b"\x08\x00\x45", b"\x86\xdd\x45"),
    "nothing": b"",
    "half a header": arp(MAC, "10.0.0.5", "10.0.0.1")[:13],
    "ARP cut short": arp(MAC, "10.0.0.5", "10.0.0.1")[:31],
    "UDP cut short": udp4("10.0.0.5", (5, 5))[:36],
}
HONEST = {
    "a probe for the own address": arp(MAC, "0.0.0.0", "10.0.0.5"),
    "an ARP request": arp(MAC, "10.0.0.5", "10.0.0.1"),
    "an ARP answer": arp(MAC, "10.0.0.5", "10.0.0.1", 2),
    "duplicate address detection": dad(MAC, "2001:db8::5"),
    "the same for the link-local address": dad(MAC, link_local(MAC)),
    "a DHCP request": udp4("0.0.0.0", (68, 67), to="255.255.255.255"),
    "a DHCP renewal": udp4("10.0.0.5", (68, 67)),
    "a later fragment": udp4("10.0.0.5", (67, 68), fragment=0x0001),
    "a DHCPv6 request": ip6_frame(MAC, link_local(MAC), "ff02::1:2", 17, struct.pack("!HH", 546, 547) + bytes(20)),
    "an advertisement": ip6_frame(
        MAC, link_local(MAC), "ff02::1", 58, bytes([136, 0, 0, 0]) + bytes(4) + packed("2001:db8::5")
    ),
    "a listener report": ip6_frame(
        MAC, "::", "ff02::16", 0, bytes([58, 0]) + bytes(6) + bytes([143]) + bytes(20)
    ),
    "a router solicitation": ip6_frame(MAC, link_local(MAC), "ff02::2", 58, bytes([133]) + bytes(15)),
}  # fmt: skip
