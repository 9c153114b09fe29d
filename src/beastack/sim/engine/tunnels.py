"""Owns the sockets of tunnel interfaces: VXLAN over UDP, shared by the interfaces of one address and port, and EtherIP
(gif as a bridge member, RFC 3378)."""

import ipaddress
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from beastack.sim.net.interface import Interface, Kind
from beastack.sim.net.offload import plain_frames
from beastack.sim.net.vxlan import Address, Peer, Vxlan, opened

BATCH = 64
_MAX_DATAGRAM = 65535
_ETHERIP, _ETHERIP_HEADER = 97, b"\x30\x00"
# <linux/in.h>: fragments are allowed, as FreeBSD's tunnels send them; only joined groups are heard
_IP_MTU_DISCOVER, _IP_PMTUDISC_DONT, _IP_MULTICAST_ALL = 10, 0, 49
_IPV6_MTU_DISCOVER = 23

Arrive = Callable[[Interface, bytes], None]


@dataclass
class Endpoint:
    """One UDP socket with the tunnels on it, by VNI."""

    socket: socket.socket
    users: dict[int, Interface] = field(default_factory=dict)


def ends(interface: Interface) -> tuple[Address, Address] | None:
    """The outer addresses of a gif or gre."""
    found: tuple[Address, Address] | None = interface.extra.get("tunnel")
    return found


class Tunnels:
    """Lives in the host's own network stack, whichever jail an interface is in."""

    def __init__(
        self, watch: Callable[[int, Callable[[], None]], None], unwatch: Callable[[int], None], arrive: Arrive
    ) -> None:
        self._watch, self._unwatch, self._arrive = watch, unwatch, arrive
        self._endpoints: dict[tuple[Address, int], Endpoint] = {}
        self._groups: dict[Interface, socket.socket] = {}
        self._pipes: dict[Interface, socket.socket] = {}

    def sync(self, interface: Interface) -> None:
        """Open what an interface that is up needs, close what one that is down has."""
        if interface.kind is Kind.GIF:
            wanted = interface.administratively_up and ends(interface) is not None
            if wanted and interface not in self._pipes:
                self._open_pipe(interface)
            elif not wanted:
                self._close(self._pipes.pop(interface, None))
            return
        vxlan = interface.vxlan
        if vxlan is None:
            return
        if interface.administratively_up and vxlan.complete and not vxlan.running:
            vxlan.running = self._start(interface, vxlan)
        elif vxlan.running and not interface.administratively_up:
            self.stop(interface)

    def stop(self, interface: Interface) -> None:
        self._close(self._pipes.pop(interface, None))
        self._close(self._groups.pop(interface, None))
        if interface.vxlan is not None:
            interface.vxlan.running = False
            interface.vxlan.flush(everything=False)
        for key, endpoint in list(self._endpoints.items()):
            endpoint.users = {vni: one for vni, one in endpoint.users.items() if one is not interface}
            if not endpoint.users:
                self._close(endpoint.socket)
                del self._endpoints[key]

    def _close(self, sock: socket.socket | None) -> None:
        if sock is not None:
            self._unwatch(sock.fileno())
            sock.close()

    # --- vxlan -------------------------------------------------------------------------------------------------------

    def _start(self, interface: Interface, vxlan: Vxlan) -> bool:
        """False when the VNI is taken on that address and port, or the address is not this host's."""
        assert vxlan.local is not None and vxlan.remote is not None  # noqa: S101 - complete
        key = (vxlan.local, vxlan.local_port)
        endpoint = self._endpoints.get(key)
        if endpoint is not None and vxlan.vni in endpoint.users:
            return False
        try:
            if endpoint is None:
                endpoint = Endpoint(_udp(vxlan.local, vxlan.local_port))
            if vxlan.remote.is_multicast:
                self._groups[interface] = self._join(interface, vxlan)
        except OSError as error:
            print(f"{interface.name}: not running: {error}", file=sys.stderr, flush=True)
            if endpoint is not None and not endpoint.users:
                endpoint.socket.close()
            return False
        if key not in self._endpoints:
            self._endpoints[key] = endpoint
            self._watch(endpoint.socket.fileno(), lambda: self._read(endpoint.socket, endpoint.users))
        endpoint.users[vxlan.vni] = interface
        return True

    def _join(self, interface: Interface, vxlan: Vxlan) -> socket.socket:
        """A socket that hears the group, and that broadcast frames leave by."""
        if vxlan.remote is None or vxlan.remote.version != 4 or vxlan.local is None:
            raise OSError("a group of IPv6 is not simulated")
        device = next((one for one in interface.home.interfaces if one.name == vxlan.device), None)
        index = device.stack.index if device is not None and device.stack is not None else 0
        member = struct.pack("=4s4si", vxlan.remote.packed, vxlan.local.packed, index)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((str(vxlan.remote), vxlan.remote_port))
            sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, member)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, vxlan.ttl)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
        except OSError:
            sock.close()
            raise
        self._watch(sock.fileno(), lambda: self._read(sock, {vxlan.vni: interface}))
        return sock

    def _read(self, sock: socket.socket, users: dict[int, Interface]) -> None:
        for _ in range(BATCH):
            try:
                datagram, source = sock.recvfrom(_MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:  # what an ICMP error about an earlier datagram leaves behind
                print(f"tunnel: {error}", file=sys.stderr, flush=True)
                continue
            found = opened(datagram)
            interface = users.get(found[0]) if found is not None else None
            if found is None or interface is None or interface.vxlan is None:
                continue
            interface.vxlan.heard(found[1][6:12], ipaddress.ip_address(source[0].partition("%")[0]), time.monotonic())
            self._arrive(interface, found[1])

    def send(self, interface: Interface, frame: bytes, header: bytes) -> bool:
        """A frame into the tunnel; False when it is lost, as on any wire."""
        vxlan = interface.vxlan
        if vxlan is None:
            return self._send_pipe(interface, frame, header)
        peer = vxlan.target(frame[:6], time.monotonic())
        if not vxlan.running or peer is None or vxlan.local is None:
            return False
        if peer.address.is_multicast:
            sock = self._groups[interface]
        else:
            sock = self._endpoints[(vxlan.local, vxlan.local_port)].socket
        return _deliver(sock, peer, [vxlan.header() + plain for plain in plain_frames(header, frame)])

    # --- gif ---------------------------------------------------------------------------------------------------------

    def _open_pipe(self, interface: Interface) -> None:
        local, remote = ends(interface) or (None, None)
        family = socket.AF_INET if isinstance(local, ipaddress.IPv4Address) else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _ETHERIP)
        try:
            sock.bind((str(local), 0))
            sock.connect((str(remote), 0))
            if family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
        except OSError as error:
            print(f"{interface.name}: not running: {error}", file=sys.stderr, flush=True)
            sock.close()
            return
        self._pipes[interface] = sock
        self._watch(sock.fileno(), lambda: self._read_pipe(interface, sock))

    def _read_pipe(self, interface: Interface, sock: socket.socket) -> None:
        for _ in range(BATCH):
            try:
                data = sock.recv(_MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                print(f"{interface.name}: {error}", file=sys.stderr, flush=True)
                continue
            # a raw IPv4 socket hands over the header too
            payload = data[(data[0] & 15) * 4 :] if sock.family == socket.AF_INET else data
            if payload[:2] == _ETHERIP_HEADER and len(payload) >= 16 and interface.member_of is not None:
                self._arrive(interface, payload[2:])

    def _send_pipe(self, interface: Interface, frame: bytes, header: bytes) -> bool:
        sock = self._pipes.get(interface)
        if sock is None:
            return False
        sent = True
        for plain in plain_frames(header, frame):
            try:
                sock.send(_ETHERIP_HEADER + plain)
            except OSError:
                sent = False
        return sent


def _udp(local: Address, port: int) -> socket.socket:
    family = socket.AF_INET if local.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _IP_PMTUDISC_DONT)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
        sock.bind((str(local), port))
    except OSError:
        sock.close()
        raise
    return sock


def _deliver(sock: socket.socket, peer: Peer, datagrams: list[bytes]) -> bool:
    for datagram in datagrams:
        try:
            sock.sendto(datagram, (str(peer.address), peer.port))
        except OSError:
            return False
    return True
