"""Owns what `block return` sends back: a TCP reset, or an ICMP error that quotes the packet (pf_return in pf(4))."""

from struct import Struct
from typing import NamedTuple

from beastack.sim.pf.packet import ICMP, ICMP6, TCP, Packet

_TCP = Struct("!HHIIBBHHH")
_SEQUENCES = Struct("!II").unpack_from
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
# destination unreachable, port unreachable (RFC 792, RFC 4443)
_UNREACHABLE4, _UNREACHABLE6 = (3, 3), (1, 4)
# as much of the packet as FreeBSD quotes by default, behind its header (net.inet.icmp.quotelen), and for IPv6
_QUOTED4, _QUOTED6 = 8, 1232


class Answer(NamedTuple):
    """A packet for the stack to send. `source` is None where the stack takes an address of its own."""

    family: int
    source: bytes | None
    target: bytes
    proto: int
    payload: bytes


def answer(blocking: str, packet: Packet, frame: bytes) -> Answer | None:
    """What a rule that blocks with `drop`, `return`, `return-rst` or `return-icmp…` says to this packet's sender."""
    if blocking == "drop" or packet.frag_offset:
        return None
    if packet.proto == TCP and blocking in ("return", "return-rst"):
        return None if packet.flags & _RST else _reset(packet, frame)
    if blocking == "return-rst" or packet.dst[0] >= (0xE0 if packet.family == 4 else 0xFF):
        return None  # nor an error about what was sent to many
    if packet.proto == (ICMP if packet.family == 4 else ICMP6):
        return None
    if (blocking == "return-icmp" and packet.family == 6) or (blocking == "return-icmp6" and packet.family == 4):
        return None
    (kind, code), proto = (_UNREACHABLE4, ICMP) if packet.family == 4 else (_UNREACHABLE6, ICMP6)
    end = 14 + packet.length
    quoted = frame[14 : min(end, 14 + packet.body + _QUOTED4)] if packet.family == 4 else frame[14:end][:_QUOTED6]
    message = bytearray((kind, code, 0, 0, 0, 0, 0, 0)) + quoted
    if packet.family == 4:
        message[2:4] = _checksum(bytes(message)).to_bytes(2, "big")
    return Answer(packet.family, None, packet.src, proto, bytes(message))


def _reset(packet: Packet, frame: bytes) -> Answer:
    at = 14 + packet.body
    sequence, acknowledged = _SEQUENCES(frame, at + 4)
    header = (frame[at + 12] >> 4) * 4
    length = max(0, 14 + packet.length - at - header) + bool(packet.flags & _SYN) + bool(packet.flags & _FIN)
    body = bytearray(
        _TCP.pack(
            packet.dport, packet.sport, acknowledged, (sequence + length) & 0xFFFFFFFF, 0x50, _RST | _ACK, 0, 0, 0
        )
    )
    pseudo = packet.dst + packet.src + TCP.to_bytes(4, "big") + len(body).to_bytes(4, "big")
    body[16:18] = _checksum(pseudo + bytes(body)).to_bytes(2, "big")
    return Answer(packet.family, packet.dst, packet.src, TCP, bytes(body))


def _checksum(data: bytes) -> int:
    total = sum(data[at] << 8 | data[at + 1] for at in range(0, len(data) - 1, 2)) + (
        data[-1] << 8 if len(data) & 1 else 0
    )
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
