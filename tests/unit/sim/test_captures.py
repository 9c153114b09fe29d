"""What BPF shows of a frame: nothing that its sender left to a card, and no more than a capture holds."""

import struct

import pytest

from beastack.sim.engine.captures import SNAPLEN, _as_captured
from beastack.sim.net.interface import TXCSUM, Interface, Kind
from beastack.sim.net.offload import GSO_TCPV4, NEEDS_CSUM, NO_OFFLOAD


def interface(kind: Kind, turned_off: int = 0) -> Interface:
    none = object()
    return Interface("x0", kind, 0, "x0", 1, none, none, bytes(6), turned_off=turned_off)  # type: ignore[arg-type]


def partial(size: int) -> tuple[bytes, bytes]:
    """A frame whose TCP checksum is still to be done, with its header; 20 bytes of IPv4, 20 of TCP."""
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + size, 1, 0, 64, 6, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    tcp = struct.pack("!HHIIBBHHH", 1, 2, 0, 0, 0x50, 0x10, 1000, 0xABCD, 0)
    header = struct.pack("<BBHHHH", NEEDS_CSUM, GSO_TCPV4 if size > 1460 else 0, 54, 1460, 34, 16)
    return bytes(12) + b"\x08\x00" + ip + tcp + bytes(size), header


@pytest.mark.parametrize("kind", [Kind.TAP, Kind.EM])
def test_what_came_over_a_wire_is_complete(kind: Kind) -> None:
    frame, header = partial(100)
    assert _as_captured(interface(kind), frame, header)[0][50:52] != frame[50:52]


def test_an_epair_leaves_the_checksum_open_until_it_is_told_not_to() -> None:
    frame, header = partial(100)
    assert _as_captured(interface(Kind.EPAIR), frame, header) == [frame]
    assert _as_captured(interface(Kind.EPAIR, TXCSUM), frame, header)[0][50:52] != frame[50:52]


def test_a_large_segment_comes_as_frames() -> None:
    frame, header = partial(4000)
    assert [len(one) for one in _as_captured(interface(Kind.EPAIR), frame, header)] == [1514, 1514, 1134]


def test_a_frame_that_a_capture_cannot_hold_is_not_what_was_sent() -> None:
    frame = bytes(14) + b"x" * 3000
    (seen,) = _as_captured(interface(Kind.TAP), frame, NO_OFFLOAD)
    assert len(seen) == len(frame)
    assert seen[:SNAPLEN] == frame[:SNAPLEN]
    assert not any(seen[SNAPLEN:])
