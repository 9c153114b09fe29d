"""Owns what stands for BPF on an interface: a Linux device of its name, for programs that open interfaces by name.

What arrives at the interface is written into the device as a copy; what a program sends by it, the interface sends.
Linux's own IP stack is kept from the device: what the host's stack gets is the engine's to say.
"""

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass

from beastack.sim.engine.vnet import Vnet
from beastack.sim.linux.namespaces import CLONE_NEWNET, inside
from beastack.sim.linux.tuntap import open_tap
from beastack.sim.net.interface import TXCSUM, Interface, Kind
from beastack.sim.net.offload import NEEDS_CSUM, NO_OFFLOAD, plain_frames

TUNSETCARRIER = 0x400454E2
# libpcap is asked for this much of a frame (PCAP_SNAPLEN in Open vSwitch's lib/netdev-bsd.c)
SNAPLEN = 2048
# the Linux bridge that stays down
SINK = "captures"
# for these the kernel has the device already
_KERNEL_KINDS = (Kind.LOOPBACK, Kind.VTNET)


@dataclass(eq=False)
class Capture:
    """The device, and what of the interface it already has."""

    fd: int
    index: int
    name: str
    mac: bytes | None = None
    mtu: int = 0
    up: bool = False
    carrier: bool = True

    def copy(self, interface: Interface, frame: bytes, header: bytes) -> int:
        """Hand a frame that arrived to whoever reads; returns how many were lost."""
        lost = 0
        for one in _as_captured(interface, frame, header):
            try:
                os.writev(self.fd, (NO_OFFLOAD, one))
            except OSError:
                lost += 1  # full, or just going down: BPF counts such as dropped
        return lost


def _as_captured(interface: Interface, frame: bytes, header: bytes) -> list[bytes]:
    """What bpf(4) sees: no capture completes a checksum that the sender left to its card.

    That is so between the ends of an epair(4); a network card's frames come from a wire.
    """
    offloaded = interface.kind is Kind.EPAIR and interface.options & TXCSUM
    if offloaded and header[0] & NEEDS_CSUM and len(frame) <= interface.mtu + 18:
        frames = [frame]
    else:
        frames = list(plain_frames(header, frame))
    # the length that is told is the whole frame's: the rest is whatever lies in the buffer
    return [one if len(one) <= SNAPLEN else one[:SNAPLEN] + bytes(len(one) - SNAPLEN) for one in frames]


class Captures:
    """Makes the devices of the host's own stack that a process wants, and takes them away with it."""

    def __init__(
        self,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
        read: Callable[[Interface, int], None],
        resync: Callable[[Interface], None],
    ) -> None:
        self._watch, self._unwatch, self._read, self._resync = watch, unwatch, read, resync
        self._wanted: dict[int, frozenset[str]] = {}
        self._sink: int | None = None

    def want(self, pid: int, names: frozenset[str], host: Vnet) -> None:
        """The process ``pid`` reads these interfaces of ``host`` from now on, and no others; until it ends."""
        if pid not in self._wanted:
            pidfd = os.pidfd_open(pid)
            self._watch(pidfd, lambda: self._ended(pid, pidfd, host))
        self._wanted[pid] = names
        self._sync_all(host)

    def _ended(self, pid: int, pidfd: int, host: Vnet) -> None:
        self._unwatch(pidfd)
        os.close(pidfd)
        del self._wanted[pid]
        self._sync_all(host)

    def _sync_all(self, host: Vnet) -> None:
        for interface in list(host.interfaces):
            self.sync(interface)

    def sync(self, interface: Interface) -> None:
        """Bring the device in line with the interface and the wishes."""
        wanted = (
            interface.vnet.jail is None
            and interface.mac is not None
            and interface.kind not in _KERNEL_KINDS
            and any(interface.name in names for names in self._wanted.values())
        )
        present = interface.capture
        if present is not None and (not wanted or present.name != interface.name):
            self.drop(interface)
        if wanted and interface.capture is None:
            self._open(interface)
        if interface.capture is not None:
            self._update(interface, interface.capture)

    def drop(self, interface: Interface) -> None:
        """Nobody reads this interface any more, or it goes."""
        capture = interface.capture
        if capture is None:
            return
        self._unwatch(capture.fd)
        os.close(capture.fd)
        interface.capture, interface.captured, interface.promiscuous = None, False, False
        if interface in interface.vnet.interfaces:
            self._resync(interface)

    def _open(self, interface: Interface) -> None:
        vnet = interface.vnet
        # the IP stack's device gives its name away first
        interface.captured = interface.promiscuous = True
        self._resync(interface)
        with inside(vnet.netns, CLONE_NEWNET, vnet.home):
            fd = open_tap(interface.name, offload=False)
        capture = Capture(fd, vnet.netlink.link_index(interface.name), interface.name)
        self._keep_from_stack(vnet, capture)
        interface.capture = capture
        self._watch(fd, lambda: self._read(interface, fd))

    def _keep_from_stack(self, vnet: Vnet, capture: Capture) -> None:
        """Linux's bridge takes a port's frames behind packet sockets and, being down, drops them.

        What it lets through, frames to a bridge's own group addresses, fails a strict check of the source.
        """
        if self._sink is None:
            self._sink = vnet.netlink.bridge_add(SINK)
        vnet.netlink.link_set(capture.index, master=self._sink)
        vnet.write(f"net/ipv4/conf/{capture.name}/rp_filter", "1")
        if vnet.has_ipv6:
            vnet.write(f"net/ipv6/conf/{capture.name}/disable_ipv6", "1")

    @staticmethod
    def _update(interface: Interface, capture: Capture) -> None:
        netlink = interface.vnet.netlink
        if capture.mac != interface.mac and any(interface.mac or b""):
            netlink.link_set(capture.index, mac=interface.mac)
            capture.mac = interface.mac
        if capture.mtu != interface.mtu:
            netlink.link_set(capture.index, mtu=interface.mtu)
            capture.mtu = interface.mtu
        if capture.carrier != interface.link_up:
            fcntl.ioctl(capture.fd, TUNSETCARRIER, int(interface.link_up).to_bytes(4, "little"))
            capture.carrier = interface.link_up
        if capture.up != interface.administratively_up:
            netlink.link_set(capture.index, up=interface.administratively_up)
            capture.up = interface.administratively_up
