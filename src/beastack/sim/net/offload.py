"""Owns what a network card would do: complete a partial checksum and cut a large TCP segment into frames.

Frames from a Linux TAP come with a virtio header that may ask for both. Another TAP takes the same header; a guest
behind a datagram socket has none, so there the work is done here.
"""

import struct
from collections.abc import Iterator

NO_OFFLOAD = bytes(10)
NEEDS_CSUM = 1
GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_ECN = 0, 1, 4, 0x80


def ones_sum(data: bytes | bytearray | memoryview, start: int = 0) -> int:
    """The 16-bit one's complement sum of `data`, in network order.

    2^16 is 1 modulo 65535, so the sum of the words is the remainder of the whole number: one division in C.
    """
    number = int.from_bytes(data, "big")
    if len(data) & 1:
        number <<= 8
    number += start
    return number % 0xFFFF or (0xFFFF if number else 0)


def _complete(frame: bytearray, start: int, offset: int) -> None:
    """The field already holds the sum of the pseudo header: summing from `start` on gives the checksum."""
    value = ~ones_sum(frame[start:]) & 0xFFFF
    struct.pack_into("!H", frame, start + offset, value or 0xFFFF)


def _ip_offset(frame: bytes) -> int:
    at = 14
    while frame[at - 2 : at] in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    return at


def plain_frames(header: bytes, frame: bytes) -> Iterator[bytes]:
    """The frames as they would be on a wire: complete checksums, none larger than the segment size."""
    flags, gso, _length, size, start, offset = struct.unpack("<BBHHHH", header[:10])
    if not flags & NEEDS_CSUM:
        yield frame
        return
    kind = gso & ~GSO_ECN
    if kind not in (GSO_TCPV4, GSO_TCPV6) or not size:
        whole = bytearray(frame)
        _complete(whole, start, offset)
        yield bytes(whole)
        return
    yield from _segments(frame, kind, size, start)


def _segments(frame: bytes, kind: int, size: int, tcp: int) -> Iterator[bytes]:
    ip = _ip_offset(frame)
    payload = tcp + ((frame[tcp + 12] >> 4) * 4)
    sequence = struct.unpack_from("!I", frame, tcp + 4)[0]
    flags = frame[tcp + 13]
    if kind == GSO_TCPV4:
        identity = struct.unpack_from("!H", frame, ip + 4)[0]
        pseudo = ones_sum(frame[ip + 12 : ip + 20], 6)
    else:
        identity = 0
        pseudo = ones_sum(frame[ip + 8 : ip + 40], 6)
    head, data = bytearray(frame[:payload]), memoryview(frame)
    position, number = payload, 0
    while position < len(frame):
        chunk = data[position : position + size]
        last = position + size >= len(frame)
        struct.pack_into("!I", head, tcp + 4, (sequence + position - payload) & 0xFFFFFFFF)
        # FIN and PSH belong to the last segment, CWR to the first
        keep = flags if last else flags & ~0x09
        head[tcp + 13] = keep if number == 0 else keep & ~0x80
        length = payload - tcp + len(chunk)
        if kind == GSO_TCPV4:
            head[ip + 10 : ip + 12] = b"\0\0"
            struct.pack_into("!HH", head, ip + 2, tcp - ip + length, (identity + number) & 0xFFFF)
            struct.pack_into("!H", head, ip + 10, ~ones_sum(head[ip:tcp]) & 0xFFFF)
        else:
            struct.pack_into("!H", head, ip + 4, tcp - ip + length - 40)
        head[tcp + 16 : tcp + 18] = b"\0\0"
        # the header's length is even, so its sum and the payload's may be added
        value = ~ones_sum(chunk, ones_sum(head[tcp:], pseudo + length)) & 0xFFFF
        struct.pack_into("!H", head, tcp + 16, value or 0xFFFF)
        yield b"".join((head, chunk))
        position += size
        number += 1
