"""Owns the rtnetlink conversation of one network namespace: links, addresses, routes, neighbours."""

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR = 20, 21
RTM_NEWROUTE, RTM_DELROUTE = 24, 25
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 10, 18
IFLA_INFO_KIND = 1
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_NODAD = 0x02
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
NDA_DST, NDA_LLADDR, NDA_CACHEINFO = 1, 2, 3
NUD_INCOMPLETE, NUD_FAILED, NUD_NOARP, NUD_PERMANENT = 0x01, 0x20, 0x40, 0x80
IFF_UP = 1

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Neighbour:
    """One entry of the kernel's ARP or ND table; `mac` is empty while unresolved, `age` in seconds."""

    index: int
    address: Address
    mac: bytes
    permanent: bool
    age: float


def _attribute(kind: int, payload: bytes) -> bytes:
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + b"\0" * (-length % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def _family(address: Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


class Netlink:
    """A socket that was opened inside a network namespace and speaks for it from anywhere."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))
        self._socket.settimeout(3.0)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def _send(self, kind: int, flags: int, body: bytes) -> int:
        self._sequence += 1
        header = struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | flags, self._sequence, 0)
        self._socket.send(header + body)
        return self._sequence

    def _replies(self, sequence: int) -> Iterator[tuple[int, bytes]]:
        while True:
            data = self._socket.recv(1 << 18)
            offset = 0
            while offset + 16 <= len(data):
                length, kind, _flags, number, _pid = struct.unpack_from("=IHHII", data, offset)
                payload = data[offset + 16 : offset + length]
                offset += (length + 3) & ~3
                if number != sequence:
                    continue  # a late answer to a request that timed out
                if kind == NLMSG_ERROR:
                    error = -struct.unpack_from("=i", payload)[0]
                    if error:
                        raise OSError(error, os.strerror(error))
                    return
                if kind == NLMSG_DONE:
                    return
                yield kind, payload

    def _change(self, kind: int, flags: int, body: bytes) -> None:
        for _reply in self._replies(self._send(kind, flags | NLM_F_ACK, body)):
            continue

    def link_index(self, name: str) -> int:
        body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + _attribute(IFLA_IFNAME, name.encode() + b"\0")
        found = 0
        for _kind, payload in self._replies(self._send(RTM_GETLINK, NLM_F_ACK, body)):
            found = struct.unpack_from("=BxHi", payload)[2]
        return found

    def bridge_add(self, name: str) -> int:
        """A bridge that is down and has no address; its index."""
        kind = _attribute(IFLA_LINKINFO, _attribute(IFLA_INFO_KIND, b"bridge"))
        body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + _attribute(IFLA_IFNAME, name.encode() + b"\0") + kind
        self._change(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)
        return self.link_index(name)

    def link_set(
        self,
        index: int,
        *,
        up: bool | None = None,
        mtu: int | None = None,
        mac: bytes | None = None,
        name: str | None = None,
        master: int | None = None,
    ) -> None:
        flags, mask = (0, 0) if up is None else (IFF_UP if up else 0, IFF_UP)
        body = struct.pack("=BxHiII", 0, 0, index, flags, mask)
        if mtu is not None:
            body += _attribute(IFLA_MTU, struct.pack("=I", mtu))
        if mac is not None:
            body += _attribute(IFLA_ADDRESS, mac)
        if name is not None:
            body += _attribute(IFLA_IFNAME, name.encode() + b"\0")
        if master is not None:
            body += _attribute(IFLA_MASTER, struct.pack("=I", master))
        self._change(RTM_NEWLINK, 0, body)

    def _address(
        self, kind: int, flags: int, index: int, address: Address, prefix: int, broadcast: Address | None
    ) -> None:
        body = struct.pack("=BBBBI", _family(address), prefix, IFA_F_NODAD, 0, index)
        body += _attribute(IFA_LOCAL, address.packed) + _attribute(IFA_ADDRESS, address.packed)
        if broadcast is not None:
            body += _attribute(IFA_BROADCAST, broadcast.packed)
        self._change(kind, flags, body)

    def address_add(self, index: int, address: Address, prefix: int, broadcast: Address | None) -> None:
        self._address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, address, prefix, broadcast)

    def address_remove(self, index: int, address: Address, prefix: int) -> None:
        self._address(RTM_DELADDR, 0, index, address, prefix, None)

    def _route(
        self,
        kind: int,
        flags: int,
        network: ipaddress.IPv4Network | ipaddress.IPv6Network,
        gateway: Address | None,
        index: int,
    ) -> None:
        scope = 0 if gateway is not None else 253
        family = socket.AF_INET if network.version == 4 else socket.AF_INET6
        # table main, protocol static, type unicast
        body = struct.pack("=BBBBBBBBI", family, network.prefixlen, 0, 0, 254, 4, scope, 1, 0)
        body += _attribute(RTA_DST, network.network_address.packed) + _attribute(RTA_OIF, struct.pack("=i", index))
        if gateway is not None:
            body += _attribute(RTA_GATEWAY, gateway.packed)
        self._change(kind, flags, body)

    def route_add(
        self,
        network: ipaddress.IPv4Network | ipaddress.IPv6Network,
        gateway: Address | None,
        index: int,
    ) -> None:
        self._route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, network, gateway, index)

    def route_remove(
        self,
        network: ipaddress.IPv4Network | ipaddress.IPv6Network,
        gateway: Address | None,
        index: int,
    ) -> None:
        self._route(RTM_DELROUTE, 0, network, gateway, index)

    def neighbours(self, family: int) -> list[Neighbour]:
        entries = []
        body = struct.pack("=BxxxiHBB", family, 0, 0, 0, 0)
        for _kind, payload in self._replies(self._send(RTM_GETNEIGH, NLM_F_DUMP, body)):
            kind, index, state = struct.unpack_from("=BxxxiH", payload)
            fields = dict(_attributes(payload[12:]))
            if kind != family or NDA_DST not in fields or state & NUD_NOARP or not state:
                continue
            raw = fields[NDA_DST]
            address: Address = ipaddress.IPv4Address(raw) if family == socket.AF_INET else ipaddress.IPv6Address(raw)
            unresolved = bool(state & (NUD_INCOMPLETE | NUD_FAILED))
            # cache info: confirmed, used, updated in clock ticks of 1/100 s
            ticks = struct.unpack_from("=III", fields[NDA_CACHEINFO]) if NDA_CACHEINFO in fields else (0, 0, 0)
            entries.append(
                Neighbour(
                    index,
                    address,
                    b"" if unresolved else fields.get(NDA_LLADDR, b""),
                    bool(state & NUD_PERMANENT),
                    ticks[2] / 100,
                )
            )
        return entries

    def neighbour_remove(self, index: int, address: Address) -> None:
        body = struct.pack("=BxxxiHBB", _family(address), index, 0, 0, 0) + _attribute(NDA_DST, address.packed)
        self._change(RTM_DELNEIGH, 0, body)

    def neighbour_add(self, index: int, address: Address, mac: bytes) -> None:
        body = struct.pack("=BxxxiHBB", _family(address), index, NUD_PERMANENT, 0, 0)
        body += _attribute(NDA_DST, address.packed) + _attribute(NDA_LLADDR, mac)
        self._change(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body)
