"""A viewer's messages: read as they were written, and nothing that it can say does more than end it."""

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.consoles import rfb
from beastack.consoles.rfb import BadMessage, Pixels, Rect


def read(data: bytes) -> list[rfb.Message]:
    async def all_of_it() -> list[rfb.Message]:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        found = []
        while not reader.at_eof():
            found.append(await rfb.read_message(reader))
        return found

    return asyncio.run(all_of_it())


def test_what_novnc_says() -> None:
    form = struct.pack("!BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 0, 8, 16)
    said = b"\0\0\0\0" + form + struct.pack("!BxHiii", 2, 3, 7, -223, 0)
    said += rfb.update_request(True, 640, 480) + rfb.key_event(True, 0xFF0D) + rfb.pointer_event(1, 3, 4)
    said += struct.pack("!B3xI", 6, 3) + b"abc"
    assert read(said) == [
        Pixels(0, 1, 2),
        rfb.Encodings((7, -223, 0)),
        rfb.Request(True, Rect(0, 0, 640, 480)),
        rfb.Key(True, 0xFF0D),
        rfb.Pointer(1, 3, 4),
        rfb.CutText(3),
    ]


@given(st.binary(max_size=400))
def test_noise_ends_a_viewer_and_nothing_else(data: bytes) -> None:
    try:
        read(data)
    except (BadMessage, asyncio.IncompleteReadError):
        return


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("!B3xI", 6, 0xFFFFFFF0),
        struct.pack("!BxH", 2, 65535),
        b"\xff" * 12,
        b"\0\0\0\0" + struct.pack("!BBBBHHHBBB3x", 8, 8, 0, 1, 7, 7, 3, 0, 3, 6),
        b"\0\0\0\0" + struct.pack("!BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 0, 0, 16),
    ],
)
def test_what_is_too_much_or_not_served_is_refused_before_it_is_read(data: bytes) -> None:
    with pytest.raises(BadMessage):
        read(data)


@given(st.permutations([0, 1, 2]), st.booleans())
def test_pixels_of_either_byte_order(order: list[int], big: bool) -> None:
    shifts = [8 * place for place in order]
    data = struct.pack("!BBBBHHHBBB3x", 32, 24, big, 1, 255, 255, 255, *shifts)
    found = Pixels.unpack(data)
    assert (found.red, found.green, found.blue) == tuple(3 - place if big else place for place in order)
