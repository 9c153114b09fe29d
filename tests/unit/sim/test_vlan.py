"""Tags of vlan(4): put on and taken off again, and the offload header that must move with them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.sim.net.interface import TRAITS, Interface, Kind
from beastack.sim.net.offload import NO_OFFLOAD, ones_sum, plain_frames
from beastack.sim.net.vlan import PROTOCOLS, TAG_SIZE, Vlan, child_of, join, largest, leave, shifted, split

from .test_offload import _frame

FRAMES = st.binary(min_size=60, max_size=200)


def _interface(kind: Kind, mtu: int = 1500) -> Interface:
    none = None  # no network stack is touched here
    mac = b"\x58\x9c\xfc\x10\x00\x01"
    return Interface("x0", kind, 0, "x0", 1, none, none, mac, mtu, vlan=Vlan() if kind is Kind.VLAN else None)  # type: ignore[arg-type]


@given(FRAMES, st.integers(1, 4094), st.integers(0, 7), st.sampled_from(sorted(PROTOCOLS)))
def test_what_is_tagged_is_split_again(frame: bytes, tag: int, pcp: int, protocol: str) -> None:
    tagged = Vlan(None, tag, protocol, pcp).tagged(frame)
    assert len(tagged) == len(frame) + TAG_SIZE
    assert tagged[14] >> 5 == pcp
    assert split(tagged) == (protocol, tag, frame)


@given(st.binary(max_size=40))
def test_no_bytes_make_it_fail(frame: bytes) -> None:
    found = split(frame)
    assert found is None or (len(found[2]) == len(frame) - TAG_SIZE and found[0] in PROTOCOLS)


@given(st.integers(1, 4094), st.integers(0, 4000), st.integers(1, 3))
def test_segments_of_a_tagged_frame_are_whole(tag: int, length: int, depth: int) -> None:
    """One tag or more (802.1ad): each segment has the tags, and its checksum is right."""
    size, payload = 1000, bytes(range(256)) * 16
    frame, header = _frame(payload[:length]), struct.pack("<BBHHHH", 1, 1, 54, size, 34, 16)
    for _ in range(depth):
        frame, header = Vlan(None, tag).tagged(frame), shifted(header, TAG_SIZE)
    got = b""
    for out in plain_frames(header, frame):
        for _ in range(depth):
            found = split(out)
            assert found is not None and found[1] == tag
            out = found[2]
        assert ones_sum(out[34:], ones_sum(out[26:34], 6 + len(out) - 34)) == 0xFFFF
        assert len(out) - 54 <= size
        got += out[54:]
    assert got == payload[:length]


def test_a_header_without_work_stays() -> None:
    assert shifted(NO_OFFLOAD, TAG_SIZE) == NO_OFFLOAD
    header = struct.pack("<BBHHHH", 1, 1, 54, 1000, 34, 16)
    assert shifted(shifted(header, TAG_SIZE), -TAG_SIZE) == header


@pytest.mark.parametrize(("kind", "room"), [(Kind.EPAIR, 1500), (Kind.TAP, 1496), (Kind.VXLAN, 1496)])
def test_only_a_parent_with_vlan_mtu_leaves_the_whole_mtu(kind: Kind, room: int) -> None:
    assert (TRAITS[kind].options & 0x8 != 0) is (room == 1500)
    assert largest(_interface(kind)) == room


def test_joining_and_leaving() -> None:
    parent, child = _interface(Kind.EPAIR, 1400), _interface(Kind.VLAN)
    assert not child.running
    join(child, parent, 7, "802.1ad")
    assert child_of(parent, "802.1ad", 7) is child
    assert child_of(parent, "802.1q", 7) is None
    assert (child.mtu, child.mac, child.running, child.media) == (1400, parent.mac, True, parent.media)
    leave(child)
    leave(child)
    assert (child_of(parent, "802.1ad", 7), child.running, child.media) == (None, False, None)
