"""Owns what a vxlan(4) interface knows: its ends, its forwarding table, and the header before each frame (RFC 7348).

Pure: no sockets. The layout of the ioctl's argument is that of struct ifvxlancmd on amd64 (07-vxlan: 76 bytes).
"""

import errno
import ipaddress
from dataclasses import dataclass, field
from struct import Struct

VNI_MAX = (1 << 24) - 1
PORT = 4789
# ioctl commands of net/if_vxlan.h
FTABLE_ADD, FTABLE_REMOVE = 13, 14
COMMAND_SIZE, _MAC_AT, _ADDRESS_AT = 76, 22, 32
_AF_INET, _AF_INET6 = 2, 28  # FreeBSD's numbers
_HEADER = Struct("!BxxxI")
_VALID_VNI = 0x08

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Peer:
    """Where a frame is sent to."""

    address: Address
    port: int


@dataclass
class Entry:
    """One address of the forwarding table; `expires` is 0 for a static one (seconds of the engine's clock)."""

    peer: Peer
    expires: float


@dataclass
class Vxlan:
    """One tunnel interface. `remote` is a host or a multicast group: broadcast and unknown frames go there."""

    vni: int = -1
    local: Address | None = None
    remote: Address | None = None
    local_port: int = PORT
    remote_port: int = PORT
    device: str = ""
    learn: bool = True
    ttl: int = 64
    timeout: int = 1200
    max_entries: int = 2000
    running: bool = False
    table: dict[bytes, Entry] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return 0 <= self.vni <= VNI_MAX and self.local is not None and self.remote is not None

    def header(self) -> bytes:
        return _HEADER.pack(_VALID_VNI, self.vni << 8)

    def target(self, mac: bytes, now: float) -> Peer | None:
        """Where a frame for this address goes."""
        entry = None if mac[0] & 1 else self.table.get(mac)
        if entry is not None and entry.expires and entry.expires <= now:
            del self.table[mac]
            entry = None
        if entry is not None:
            return entry.peer
        return Peer(self.remote, self.remote_port) if self.remote is not None else None

    def heard(self, mac: bytes, source: Address, now: float) -> None:
        """Learn from a frame that came through the tunnel; a static entry stays as it is."""
        if not self.learn or mac[0] & 1 or not any(mac):
            return
        entry = self.table.get(mac)
        if entry is None:
            if len(self.table) < self.max_entries:
                self.table[mac] = Entry(Peer(source, self.remote_port), now + self.timeout)
        elif entry.expires:
            entry.peer, entry.expires = Peer(source, self.remote_port), now + self.timeout

    def flush(self, everything: bool) -> None:
        self.table = {} if everything else {mac: one for mac, one in self.table.items() if not one.expires}

    def command(self, number: int, data: bytes) -> int:
        """The forwarding-table half of SIOCSDRVSPEC; 0 or FreeBSD's reason as an errno."""
        if len(data) != COMMAND_SIZE or number not in (FTABLE_ADD, FTABLE_REMOVE):
            return errno.EINVAL
        mac = data[_MAC_AT : _MAC_AT + 6]
        if mac[0] & 1 or not any(mac):
            return errno.EINVAL
        if number == FTABLE_REMOVE:
            return 0 if self.table.pop(mac, None) is not None else errno.ENOENT
        peer = _peer(data[_ADDRESS_AT : _ADDRESS_AT + 28], self.remote_port)
        if peer is None:
            return errno.EAFNOSUPPORT
        if peer.address.is_multicast or peer.address.is_unspecified:
            return errno.EINVAL
        if mac in self.table:
            return errno.EEXIST
        if len(self.table) >= self.max_entries:
            return errno.ENOSPC
        self.table[mac] = Entry(peer, 0)
        return 0


def argument(mac: bytes, peer: Peer | None) -> bytes:
    """struct ifvxlancmd for one entry, as a program would hand it over; without a peer, to remove it."""
    data = bytearray(COMMAND_SIZE)
    data[_MAC_AT : _MAC_AT + 6] = mac
    if peer is not None:
        packed, port = peer.address.packed, peer.port.to_bytes(2, "big")
        four = peer.address.version == 4
        head = bytes((16, _AF_INET)) + port if four else bytes((28, _AF_INET6)) + port + bytes(4)
        data[_ADDRESS_AT : _ADDRESS_AT + len(head + packed)] = head + packed
    return bytes(data)


def _peer(raw: bytes, default_port: int) -> Peer | None:
    """FreeBSD's struct sockaddr_in or sockaddr_in6: length, family, port, address."""
    port = int.from_bytes(raw[2:4], "big") or default_port
    if raw[1] == _AF_INET:
        return Peer(ipaddress.IPv4Address(raw[4:8]), port)
    if raw[1] == _AF_INET6:
        return Peer(ipaddress.IPv6Address(raw[8:24]), port)
    return None


def opened(datagram: bytes) -> tuple[int, bytes] | None:
    """VNI and frame of a datagram; None when it is not VXLAN."""
    if len(datagram) < _HEADER.size + 14:
        return None
    flags, word = _HEADER.unpack_from(datagram)
    if flags != _VALID_VNI or word & 0xFF:
        return None
    return word >> 8, datagram[_HEADER.size :]
