"""Completing checksums and cutting segments, checked by summing the results."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from beastack.sim.net.offload import NO_OFFLOAD, ones_sum, plain_frames


def _frame(payload: bytes, flags: int = 0x18) -> bytes:
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + len(payload), 7, 0, 64, 6, 0, b"\x0a\0\0\x01", b"\x0a\0\0\x02")
    pseudo = ones_sum(ip[12:20], 6 + 20 + len(payload))
    tcp = struct.pack("!HHIIBBHHH", 1, 2, 1000, 0, 0x50, flags, 100, pseudo, 0)
    return bytes(12) + b"\x08\x00" + ip + tcp + payload


def _valid(frame: bytes) -> bool:
    segment = frame[34:]
    return ones_sum(segment, ones_sum(frame[26:34], 6 + len(segment))) == 0xFFFF


@given(st.binary(max_size=2000), st.integers(0, 0xFFFF))
def test_the_sum_is_that_of_rfc_1071(data: bytes, start: int) -> None:
    total = start
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    assert ones_sum(data, start) == total


def test_complete_frames_pass_untouched() -> None:
    frame = _frame(b"x" * 11)
    assert list(plain_frames(NO_OFFLOAD, frame)) == [frame]


def test_checksum_is_completed() -> None:
    header = struct.pack("<BBHHHH", 1, 0, 0, 0, 34, 16)
    for size in (0, 1, 2, 333):
        (out,) = plain_frames(header, _frame(b"y" * size))
        assert _valid(out)


def test_large_segment_is_cut() -> None:
    payload = bytes(range(256)) * 20
    header = struct.pack("<BBHHHH", 1, 1, 54, 1448, 34, 16)
    frames = list(plain_frames(header, _frame(payload)))
    assert len(frames) == 4
    assert b"".join(frame[54:] for frame in frames) == payload
    for number, frame in enumerate(frames):
        assert _valid(frame)
        assert ones_sum(frame[14:34]) == 0xFFFF
        assert struct.unpack_from("!H", frame, 16)[0] == len(frame) - 14
        assert struct.unpack_from("!H", frame, 18)[0] == 7 + number
        assert struct.unpack_from("!I", frame, 38)[0] == 1000 + 1448 * number
        assert frame[47] == (0x18 if number == 3 else 0x10)  # PSH with the last only
