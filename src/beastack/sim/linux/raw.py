"""Owns the raw sockets of one network namespace: packets that the kernel is to route as if its stack had made them."""

import socket
import sys
from collections import OrderedDict
from struct import Struct
from typing import Protocol

_HEADER4 = Struct("!BBHHHBBH4s4s")
_HEADER6 = Struct("!IHBB16s16s")
_REMEMBERED = 256
_TTL = 64
_IPPROTO_RAW = 255


class Sendable(Protocol):
    """An IP packet without its header; `source` is None where the kernel takes an address of its own."""

    @property
    def family(self) -> int: ...
    @property
    def source(self) -> bytes | None: ...
    @property
    def target(self) -> bytes: ...
    @property
    def proto(self) -> int: ...
    @property
    def payload(self) -> bytes: ...


class RawSender:
    """Opened inside the namespace, used from anywhere. What was sent is remembered: filters do not judge it again."""

    def __init__(self) -> None:
        self._four = socket.socket(socket.AF_INET, socket.SOCK_RAW, _IPPROTO_RAW)
        self._six: socket.socket | None = None
        self._errors6: socket.socket | None = None
        if socket.has_ipv6:
            try:
                self._six = socket.socket(socket.AF_INET6, socket.SOCK_RAW, _IPPROTO_RAW)
                self._errors6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            except OSError as error:
                print(f"this kernel has no IPv6: {error}", file=sys.stderr, flush=True)
        self._recent: OrderedDict[bytes, None] = OrderedDict()

    def close(self) -> None:
        for one in (self._four, self._six, self._errors6):
            if one is not None:
                one.close()

    def send(self, packet: Sendable) -> None:
        """Lost, as any packet may be, when there is no way to its target."""
        try:
            if packet.family == 4:
                self._send4(packet)
            else:
                self._send6(packet)
        except OSError as error:
            print(f"raw: a packet for {packet.target.hex()} is lost: {error}", file=sys.stderr, flush=True)

    def _send4(self, packet: Sendable) -> None:
        source = packet.source or bytes(4)
        header = _HEADER4.pack(
            0x45, 0, 20 + len(packet.payload), 0, 0x4000, _TTL, packet.proto, 0, source, packet.target
        )
        self._remember(packet)
        self._four.sendto(header + packet.payload, (socket.inet_ntop(socket.AF_INET, packet.target), 0))

    def _send6(self, packet: Sendable) -> None:
        target = (socket.inet_ntop(socket.AF_INET6, packet.target), 0)
        self._remember(packet)
        if packet.source is None:
            if self._errors6 is not None:
                self._errors6.sendto(packet.payload, target)  # the kernel fills in source and checksum
        elif self._six is not None:
            header = _HEADER6.pack(6 << 28, len(packet.payload), packet.proto, _TTL, packet.source, packet.target)
            self._six.sendto(header + packet.payload, target)

    def _remember(self, packet: Sendable) -> None:
        while len(self._recent) >= _REMEMBERED:
            self._recent.popitem(last=False)
        self._recent[_mark(packet.target, packet.proto, packet.payload)] = None

    def sent(self, frame: bytes) -> bool:
        """Whether an Ethernet frame carries what was sent here; answered once."""
        if not self._recent:
            return False
        if frame[12:14] == b"\x08\x00":
            end = 14 + int.from_bytes(frame[16:18], "big")
            mark = _mark(frame[30:34], frame[23], frame[14 + (frame[14] & 15) * 4 : end])
        else:
            mark = _mark(frame[38:54], frame[20], frame[54:])
        if mark not in self._recent:
            return False
        del self._recent[mark]
        return True


def _mark(target: bytes, proto: int, payload: bytes) -> bytes:
    # the first bytes of an ICMPv6 message hold a checksum that the kernel fills in
    return target + bytes((proto,)) + (payload[4:64] if proto == socket.IPPROTO_ICMPV6 else payload[:64])
