"""Owns writing translated addresses and ports into a frame, with every checksum that covers them (RFC 1624)."""

from collections.abc import Iterable
from typing import NamedTuple

from beastack.sim.pf.packet import ICMP, ICMP6, SCTP, TCP, UDP, Packet

_CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMP6: 2}


class Flow(NamedTuple):
    """The two ends of a packet, in its own direction. For ICMP queries: identifier and the request's type."""

    src: bytes
    sport: int
    dst: bytes
    dport: int


class Change(NamedTuple):
    """What is to be written: the packet's own ends, and those of the packet that an ICMP error quotes."""

    outer: Flow
    inner: Flow | None = None


def flow_of(packet: Packet) -> Flow:
    return Flow(packet.src, packet.sport, packet.dst, packet.dport)


def _words(data: bytes) -> Iterable[int]:
    return (data[at] << 8 | data[at + 1] for at in range(0, len(data), 2))


def _fold(total: int) -> int:
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _difference(old: bytes, new: bytes) -> int:
    return sum(~word & 0xFFFF for word in _words(old)) + sum(_words(new))


def _adjust(buffer: bytearray, at: int, difference: int, complement: bool) -> None:
    """A checksum after a change; without `complement` the field holds the plain sum that a network card completes."""
    value = buffer[at] << 8 | buffer[at + 1]
    value = ~_fold((~value & 0xFFFF) + difference) & 0xFFFF if complement else _fold(value + difference)
    buffer[at : at + 2] = value.to_bytes(2, "big")


def _patch(buffer: bytearray, base: int, packet: Packet, new: Flow, partial: bool) -> None:
    """Bring one IP packet, whose header stands at `base`, to its new ends."""
    source, target, width = (12, 16, 4) if packet.family == 4 else (8, 24, 16)
    addresses = 0
    for old, wanted, place in ((packet.src, new.src, source), (packet.dst, new.dst, target)):
        if old != wanted:
            buffer[base + place : base + place + width] = wanted
            addresses += _difference(old, wanted)
    if packet.family == 4 and addresses:
        _adjust(buffer, base + 10, addresses, complement=True)
    if packet.frag_offset:
        return  # no transport header in there
    transport = base + packet.body
    ports = 0
    for place, old_port, new_port in _port_fields(packet, new):
        if old_port != new_port and transport + place + 2 <= len(buffer):
            buffer[transport + place : transport + place + 2] = new_port.to_bytes(2, "big")
            ports += _difference(old_port.to_bytes(2, "big"), new_port.to_bytes(2, "big"))
    where = _CHECKSUM_AT.get(packet.proto)
    if where is None or transport + where + 2 > len(buffer):
        return
    place = transport + where
    if packet.proto == UDP and packet.family == 4 and not any(buffer[place : place + 2]) and not partial:
        return  # sent without a checksum
    covered = 0 if packet.proto == ICMP else addresses  # ICMP's own does not cover the addresses
    if partial:
        _adjust(buffer, place, covered, complement=False)  # the ports are summed when the frame leaves
        return
    _adjust(buffer, place, covered + ports, complement=True)
    if packet.proto == UDP and not any(buffer[place : place + 2]):
        buffer[place : place + 2] = b"\xff\xff"


def _port_fields(packet: Packet, new: Flow) -> Iterable[tuple[int, int, int]]:
    """Offset in the transport header, old value, new value."""
    if packet.proto in (TCP, UDP, SCTP):
        return ((0, packet.sport, new.sport), (2, packet.dport, new.dport))
    if packet.icmp_type >= 0 and packet.stateful:
        return ((4, packet.dport, new.dport),) if packet.reply else ((4, packet.sport, new.sport),)
    return ()


def write(frame: bytes, packet: Packet, inner: Packet | None, change: Change, partial: bool) -> bytes:
    """The frame with the change. `partial`: its transport checksum is still to be completed (virtio's NEEDS_CSUM)."""
    buffer = bytearray(frame)
    base = 14
    if inner is not None and change.inner is not None:
        start = base + packet.body + 8
        quoted = bytearray(buffer[start:])
        _patch(quoted, 0, inner, change.inner, partial=False)
        before, after = bytes(buffer[start:]), bytes(quoted)
        buffer[start:] = quoted
        pad = b"\0" * (len(before) & 1)
        _adjust(buffer, base + packet.body + 2, _difference(before + pad, after + pad), complement=True)
    _patch(buffer, base, packet, change.outer, partial)
    return bytes(buffer)
