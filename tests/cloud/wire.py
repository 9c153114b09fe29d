"""What really passes a cable: frames of an interface of the root namespace, taken by a packet socket."""

import ipaddress
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

ETH_P_ALL = 3
ARP, IPV4 = 0x0806, 0x0800
VLAN = 0x8100
# packet(7): the kernel takes the outer tag off and tells of it beside the frame
SOL_PACKET, PACKET_AUXDATA, VLAN_VALID, TPID_VALID = 263, 8, 1 << 4, 1 << 6
AUXDATA = struct.Struct("=IIIHHHH")


@dataclass(frozen=True)
class Frame:
    """Source MAC address, type, the sender's IPv4 address of ARP and IPv4 (else empty), UDP source port (else 0).

    ``tags`` are the numbers of its VLAN tags, the outer one first; ``kind`` is the outer tag's when there is one.
    """

    source: str
    kind: int
    sender: str
    udp: int
    tags: tuple[int, ...] = ()

    @classmethod
    def of(cls, data: bytes) -> "Frame":
        kind = struct.unpack("!H", data[12:14])[0]
        at = {ARP: 28, IPV4: 26}.get(kind)
        sender = str(ipaddress.IPv4Address(data[at : at + 4])) if at and len(data) >= at + 4 else ""
        udp = 0
        if kind == IPV4 and len(data) >= 34 and data[23] == socket.IPPROTO_UDP:
            start = 14 + 4 * (data[14] & 15)
            udp = int.from_bytes(data[start : start + 2], "big")
        tags, place = [], 12
        while data[place : place + 2] in (b"\x81\x00", b"\x88\xa8") and len(data) >= place + 4:
            tags.append(int.from_bytes(data[place + 2 : place + 4], "big") & 0xFFF)
            place += 4
        return cls(data[6:12].hex(":"), kind, sender, udp, tuple(tags))


def whole(data: bytes, beside: list[tuple[int, int, bytes]]) -> bytes:
    """The frame as it was on the cable, with the tag that the kernel took off."""
    for level, kind, raw in beside:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA) and len(raw) >= AUXDATA.size:
            status, _, _, _, _, tag, protocol = AUXDATA.unpack(raw[: AUXDATA.size])
            if status & VLAN_VALID:
                outer = protocol if status & TPID_VALID else VLAN
                return data[:12] + struct.pack("!HH", outer, tag) + data[12:]
    return data


def cable(bridge: str) -> str:
    """The interface by which the only host hangs on a bridge."""
    argv = ["ip", "-o", "link", "show", "master", bridge]
    lines = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
    assert len(lines) == 1, lines
    return lines[0].split(": ")[1].split("@")[0]


class Wire:
    """Collects frames between enter and exit."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind((interface, 0))
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._socket.settimeout(0.2)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self.frames: list[Frame] = []

    def _collect(self) -> None:
        while not self._stop.is_set():
            try:
                data, beside, _, _ = self._socket.recvmsg(65536, socket.CMSG_SPACE(AUXDATA.size))
                data = whole(data, beside)
            except TimeoutError:
                continue
            if len(data) >= 14:
                self.frames.append(Frame.of(data))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def seen(self, wanted: Callable[[Frame], bool]) -> list[Frame]:
        return [frame for frame in self.frames if wanted(frame)]


def dhcp_discover(mac: str) -> bytes:
    """A client's first frame (RFC 2131), to everybody."""
    source = bytes.fromhex(mac.replace(":", ""))
    payload = struct.pack("!BBBBIHH16x16s192x", 1, 1, 6, 0, 0x6265, 0, 0x8000, source.ljust(16, b"\0"))
    payload += bytes.fromhex("63825363 350101 ff".replace(" ", ""))
    udp = struct.pack("!HHHH", 68, 67, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, b"\0" * 4, b"\xff" * 4)
    total = sum(struct.unpack("!10H", head))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return b"\xff" * 6 + source + struct.pack("!H", IPV4) + head[:10] + struct.pack("!H", checksum) + head[12:] + udp


def send(interface: str, frame: bytes) -> None:
    """Put a frame on a wire."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((interface, 0))
        sender.send(frame)
