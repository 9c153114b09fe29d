"""Owns the way of a frame: wire, guard, bridge, pf, wire or IP stack.

A frame travels as `(frame, header)`, where the header is Linux's virtio header (checksum and segmentation still to be
done); it is kept between TAPs and worked off before a guest.
"""

import os
import socket
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from beastack.sim.linux.tuntap import HEADER_SIZE, READ_SIZE
from beastack.sim.net import vlan
from beastack.sim.net.bridge import Bridge, Member
from beastack.sim.net.interface import Interface, Kind
from beastack.sim.net.offload import NEEDS_CSUM, NO_OFFLOAD, plain_frames

if TYPE_CHECKING:
    from beastack.sim.engine.filters import Filters
    from beastack.sim.engine.tunnels import Tunnels

# A frame that passes more interfaces than this runs in a loop (two ends of one cable in one bridge); FreeBSD would
# storm until the host starves, we drop it.
MAX_HOPS = 8
BATCH = 64


class Wire:
    """Moves frames. Everything it decides comes from the interfaces, their bridges and the filters."""

    def __init__(self, filters: "Filters", unwatch: Callable[[int], None]) -> None:
        self._filters = filters
        self._unwatch = unwatch
        self._hops = 0
        self.tunnels: Tunnels | None = None
        self.dropped = 0

    # --- from file descriptors -------------------------------------------------------------------------------------

    def read_stack(self, interface: Interface, fd: int) -> None:
        """Frames that the interface's own IP stack sends."""
        for _ in range(BATCH):
            try:
                data = os.read(fd, READ_SIZE)
            except BlockingIOError:
                return
            except OSError as error:
                self._lost(interface, fd, error)
                return
            self.from_stack(interface, data[HEADER_SIZE:], data[:HEADER_SIZE])

    def read_cable(self, interface: Interface, fd: int) -> None:
        """Frames that come over a network card's cable."""
        for _ in range(BATCH):
            try:
                data = os.read(fd, READ_SIZE)
            except BlockingIOError:
                return
            except OSError as error:
                self._lost(interface, fd, error)
                return
            self.arrive(interface, data[HEADER_SIZE:], data[:HEADER_SIZE])

    def read_guest(self, interface: Interface, sock: socket.socket) -> None:
        """Frames that a guest sends into the tap it holds open."""
        for _ in range(BATCH):
            try:
                frame = sock.recv(READ_SIZE)
            except BlockingIOError:
                return
            self.arrive(interface, frame, NO_OFFLOAD)

    def read_capture(self, interface: Interface, fd: int) -> None:
        """Frames that a program sends through BPF on this interface."""
        for _ in range(BATCH):
            try:
                data = os.read(fd, READ_SIZE)
            except BlockingIOError:
                return
            except OSError as error:
                self._lost(interface, fd, error)
                return
            self.from_bpf(interface, data[HEADER_SIZE:], data[:HEADER_SIZE])

    def _lost(self, interface: Interface, fd: int, error: OSError) -> None:
        """Somebody removed the device under us: say it once, and do not spin on a dead descriptor."""
        self._unwatch(fd)
        print(f"{interface.name}: its Linux device is gone: {error}", file=sys.stderr, flush=True)

    # --- the way of a frame ----------------------------------------------------------------------------------------

    def from_stack(self, interface: Interface, frame: bytes, header: bytes = NO_OFFLOAD) -> None:
        if len(frame) < 14 or not interface.up or interface.monitor:
            self.dropped += 1
            return
        if interface.vnet.pf is not None or frame[12:14] == b"\x08\x00":
            partial = bool(header[0] & NEEDS_CSUM)
            judged = self._filters.routed(interface.vnet, interface.name, "out", frame, time.monotonic(), partial)
            if judged is None:
                self.dropped += 1
                return
            frame = judged
        self._output(interface, frame, header)

    def from_bpf(self, interface: Interface, frame: bytes, header: bytes = NO_OFFLOAD) -> None:
        """bpf(4) hands what is written to it to the interface's output, past IP and its filters.

        bpf_movein() counts all behind the Ethernet header against the MTU, a tag of a VLAN too.
        """
        if not 0 <= len(frame) - 14 <= interface.mtu or not interface.up:
            self.dropped += 1
            return
        self._output(interface, frame, header)

    def _output(self, interface: Interface, frame: bytes, header: bytes) -> None:
        if interface.bridge is not None:
            self._bridge_output(interface.bridge, frame, header)
        elif interface.member_of is not None and interface.member_of.interface.up:
            self._bridge_output(interface.member_of, frame, header)
        elif self._own_frame_passes(interface, frame):
            self.depart(interface, frame, header)

    def _own_frame_passes(self, interface: Interface, frame: bytes) -> bool:
        """ng_ether's `upper` hook sees what the interface's own stack sends; not what a bridge forwards (06)."""
        guard = interface.vnet.netgraph
        if guard is None or guard.upper_out(interface.name, frame):
            return True
        self.dropped += 1
        return False

    def arrive(self, interface: Interface, frame: bytes, header: bytes) -> None:
        """A frame came from the wire (or the guest) of this interface."""
        if len(frame) < 14 or not interface.up or interface.monitor or self._hops >= MAX_HOPS:
            self.dropped += 1
            return
        guard = interface.vnet.netgraph
        if guard is not None and header[0] & NEEDS_CSUM and guard.measures(interface.name):
            # what Linux hands over as one large segment would come in frames, and netgraph measures each
            frames = list(plain_frames(header, frame))
            if len(frames) > 1:
                for one in frames:
                    self.arrive(interface, one, NO_OFFLOAD)
                return
        self._hops += 1
        try:
            # ether_input_internal(): bpf(4) has its copy, with the tag, before ng_ether(4) may claim the frame
            if interface.capture is not None:
                self.dropped += interface.capture.copy(interface, frame, header)
            tagged = frame[12:14] == vlan.PLAIN_TAG and len(frame) >= 14 + vlan.TAG_SIZE
            # ether_input() takes the tag off before ng_ether(4) hands the frame on, and keeps it beside the frame
            seen = frame[:12] + frame[16:] if tagged else frame
            if guard is not None and not guard.lower_in(interface.name, seen):
                self.dropped += 1
                return
            bridge = interface.member_of
            # 15.0: what has a tag is for vlan(4) where the member has children (reviews.freebsd.org, "bridge(4) and
            # vlan(4) are both configured on the same physical interface")
            if tagged and interface.children and frame[14] & 0xF | frame[15]:
                self._deliver(interface, frame, header)
            elif bridge is not None and bridge.interface.up:
                self._bridge_input(bridge, interface, frame, header)
            else:
                self._deliver(interface, frame, header)
        finally:
            self._hops -= 1

    def depart(self, interface: Interface, frame: bytes, header: bytes) -> None:
        """A frame leaves by this interface's wire."""
        if not interface.up:
            self.dropped += 1
            return
        if interface.kind is Kind.EPAIR and interface.peer is not None:
            self.arrive(interface.peer, frame, header)
        elif interface.kind is Kind.TAP and interface.holder is not None:
            for plain in plain_frames(header, frame):
                if not interface.holder.send(plain):
                    self.dropped += 1
        elif interface.vxlan is not None or interface.kind is Kind.GIF:
            if self.tunnels is None or not self.tunnels.send(interface, frame, header):
                self.dropped += 1
        elif interface.vlan is not None:
            if interface.vlan.parent is not None:
                self.depart(interface.vlan.parent, interface.vlan.tagged(frame), vlan.shifted(header, vlan.TAG_SIZE))
        elif interface.bridge is not None:
            self._bridge_output(interface.bridge, frame, header)
        elif interface.cable is not None:
            self._write(interface.cable, frame, header)

    def _deliver(self, interface: Interface, frame: bytes, header: bytes) -> None:
        found = vlan.split(frame) if frame[12:14] in vlan.ETHERTYPES else None
        if found is not None:
            protocol, tag, inner = found
            if tag:
                child = vlan.child_of(interface, protocol, tag)
                if child is None:
                    self.dropped += 1
                else:
                    self.arrive(child, inner, vlan.shifted(header, -vlan.TAG_SIZE))
                return
            # a tag of priority only
            frame, header = inner, vlan.shifted(header, -vlan.TAG_SIZE)
        if interface.stack is None or interface.stack.fd is None:
            return
        if interface.promiscuous and not frame[0] & 1 and interface.mac:
            # PPROMISC: the stack takes what is for others, too (ether_demux); Linux's would not
            frame = interface.mac + frame[6:]
        partial = bool(header[0] & NEEDS_CSUM)
        judged = self._filters.routed(interface.vnet, interface.name, "in", frame, time.monotonic(), partial)
        if judged is None:
            self.dropped += 1
            return
        self._write(interface.stack.fd, judged, header)

    def _write(self, fd: int, frame: bytes, header: bytes) -> None:
        try:
            os.writev(fd, (header, frame))
        except OSError:
            # full queue, or the device is just going down: a wire loses frames, and its counter says so
            self.dropped += 1

    # --- the bridge ------------------------------------------------------------------------------------------------

    def _bridge_input(self, bridge: Bridge, interface: Interface, frame: bytes, header: bytes) -> None:
        now = time.monotonic()
        member = bridge.member(interface)
        if member is None:
            return
        if bridge.interface.monitor:  # seen by bpf(4), and no further (if_bridge.c, bridge_input: IFF_MONITOR)
            self.dropped += 1
            return
        destination = frame[:6]
        tag = 0
        if bridge.filters_vlans or frame[12:14] in vlan.ETHERTYPES:
            found = vlan.split(frame)
            tag = found[1] if found is not None else 0
            if bridge.filters_vlans:
                admitted = member.admits(tag)
                if admitted is None:
                    self.dropped += 1
                    return
                # from here on every frame has its tag
                tag = admitted
                if found is None:
                    frame, header = vlan.Vlan(tag=tag).tagged(frame), vlan.shifted(header, vlan.TAG_SIZE)
        if not bridge.learn(member, frame[6:12], now, tag):
            self.dropped += 1
            return
        if destination[0] & 1:
            # pfil_local_phys is 0: what stays on this host is not filtered at the member
            self._deliver(bridge.interface, frame, header)
            self._deliver(interface, frame, header)
        else:
            own = bridge.own(destination)
            if own is not None:
                self._deliver(own, frame, header)
                return
            if destination == bridge.interface.mac:
                return
        targets = bridge.targets(member, destination, now, tag)
        partial = bool(header[0] & NEEDS_CSUM)
        judged = self._pf(bridge, member, "in", frame, now, partial) if targets else None
        if judged is None:
            return
        for target in targets:
            leaving = self._pf(bridge, target, "out", judged, now, partial)
            if leaving is not None:
                self._leave(bridge, target, leaving, header)

    def _bridge_output(self, bridge: Bridge, frame: bytes, header: bytes) -> None:
        """From the host's own stack: pf has its say on the bridge interface, not at the members."""
        now = time.monotonic()
        destination = frame[:6]
        found = vlan.split(frame) if frame[12:14] in vlan.ETHERTYPES else None
        for target in bridge.targets(None, destination, now, found[1] if found is not None else 0):
            if not destination[0] & 1 and target.interface.mac == destination:
                self._deliver(target.interface, frame, header)
            else:
                self._leave(bridge, target, frame, header)

    def _leave(self, bridge: Bridge, target: Member, frame: bytes, header: bytes) -> None:
        """By a member's wire, without the tag where the member's untagged VLAN is meant."""
        if bridge.filters_vlans and target.untagged:
            found = vlan.split(frame)
            if found is not None and found[1] == target.untagged:
                frame, header = found[2], vlan.shifted(header, -vlan.TAG_SIZE)
        self.depart(target.interface, frame, header)

    def _pf(
        self, bridge: Bridge, member: Member, direction: str, frame: bytes, now: float, partial: bool
    ) -> bytes | None:
        vnet = bridge.interface.vnet
        if frame[12:14] != vlan.PLAIN_TAG:
            return self._filters.bridged(vnet, member.interface.name, direction, frame, now, partial)
        # ether_input() takes such a tag off before the bridge sees the frame: pf judges what is inside
        tag = frame[12:16]
        inner = frame[:12] + frame[16:]
        judged = self._filters.bridged(vnet, member.interface.name, direction, inner, now, partial)
        return None if judged is None else judged[:12] + tag + judged[12:]
