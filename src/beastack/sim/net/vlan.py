"""Owns what a vlan(4) interface is: its tag, its parent, and the four bytes that its frames carry there (802.1Q).

Pure: no I/O. As in FreeBSD a parent that cannot take frames four bytes longer than its MTU says (no VLAN_MTU) leaves
its children an MTU that is smaller by these four bytes.
"""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beastack.sim.net.offload import NEEDS_CSUM

if TYPE_CHECKING:
    from beastack.sim.net.interface import Interface

# <net/ethernet.h>, <net/if_vlan_var.h>
TAG_MAX, TAG_SIZE, PCP_MAX = 4094, 4, 7
VLAN_MTU = 0x8
PROTOCOLS = {"802.1q": 0x8100, "802.1ad": 0x88A8}
PLAIN_TAG = b"\x81\x00"
ETHERTYPES = {number.to_bytes(2, "big"): name for name, number in PROTOCOLS.items()}
_VIRTIO = struct.Struct("<BBHHHH")


@dataclass
class Vlan:
    """What a child adds to its parent's frames; without a parent it carries nothing."""

    parent: "Interface | None" = None
    tag: int = 0
    protocol: str = "802.1q"
    pcp: int = 0

    def tagged(self, frame: bytes) -> bytes:
        """The frame as it leaves by the parent."""
        return b"".join(
            (
                frame[:12],
                PROTOCOLS[self.protocol].to_bytes(2, "big"),
                (self.pcp << 13 | self.tag).to_bytes(2, "big"),
                frame[12:],
            )
        )


def split(frame: bytes) -> tuple[str, int, bytes] | None:
    """Protocol, tag and the frame without them; None when the frame has no tag."""
    protocol = ETHERTYPES.get(frame[12:14])
    if protocol is None or len(frame) < 14 + TAG_SIZE:
        return None
    return protocol, int.from_bytes(frame[14:16], "big") & 0xFFF, frame[:12] + frame[16:]


def shifted(header: bytes, by: int) -> bytes:
    """The virtio header of a frame that became `by` bytes longer in front of its IP header."""
    flags, gso, length, size, start, offset = _VIRTIO.unpack(header[:10])
    if not flags & NEEDS_CSUM:
        return header
    return _VIRTIO.pack(flags, gso, max(length + by, 0) if length else 0, size, start + by, offset)


def largest(parent: "Interface") -> int:
    """The MTU that a child of this parent can have at most, in bytes."""
    return parent.mtu if parent.options & VLAN_MTU else parent.mtu - TAG_SIZE


def child_of(parent: "Interface", protocol: str, tag: int) -> "Interface | None":
    return next(
        (
            child
            for child in parent.children
            if child.vlan is not None and (child.vlan.tag, child.vlan.protocol) == (tag, protocol)
        ),
        None,
    )


def join(child: "Interface", parent: "Interface", tag: int, protocol: str) -> None:
    """Make `child` the parent's for this tag, which must be free; address and MTU become the parent's."""
    assert child.vlan is not None  # noqa: S101 - the caller made it one
    child.vlan.parent, child.vlan.tag, child.vlan.protocol = parent, tag, protocol
    parent.children.append(child)
    child.mac = child.hardware_mac = parent.mac
    child.mtu = largest(parent)


def leave(child: "Interface") -> None:
    """Without a parent a child has no tag and no address, and does not run."""
    if child.vlan is None or child.vlan.parent is None:
        return
    child.vlan.parent.children.remove(child)
    child.vlan.parent, child.vlan.tag = None, 0
    child.mac = child.hardware_mac = bytes(6)
