"""A picture that is put together from parts, sent in parts and decoded is the same picture."""

import random
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beastack.consoles import rfb
from beastack.consoles.picture import Damage, Encoder, Picture, compact_length
from beastack.consoles.rfb import BadMessage, Pixels, Rect

WIDTH, HEIGHT = 40, 30
RECTS = st.builds(
    lambda x, y, w, h: Rect(x, y, min(w, WIDTH - x), min(h, HEIGHT - y)),
    st.integers(0, WIDTH - 1),
    st.integers(0, HEIGHT - 1),
    st.integers(1, WIDTH),
    st.integers(1, HEIGHT),
)


class Decoder:
    """What noVNC does with rectangles: its own screen, as red, green and blue."""

    def __init__(self, pixels: Pixels) -> None:
        self.screen = [(0, 0, 0)] * (WIDTH * HEIGHT)
        self.pixels = pixels
        self._zlib = zlib.decompressobj()

    def take(self, data: bytes) -> None:
        x, y, width, height, encoding = struct.unpack("!HHHHi", data[:12])
        data = data[12:]
        if encoding == rfb.RAW:
            pixels = [data[at : at + 4] for at in range(0, len(data), 4)]
            colours = [(p[self.pixels.red], p[self.pixels.green], p[self.pixels.blue]) for p in pixels]
        else:
            assert data[0] == 0
            data = data[1:]
            if width * height * 3 >= 12:
                length, used = data[0] & 0x7F, 1
                for shift in (7, 14):
                    if data[used - 1] & 0x80:
                        length |= (data[used] & (0x7F if shift == 7 else 0xFF)) << shift
                        used += 1
                assert len(data) == used + length
                data = self._zlib.decompress(data[used:])
            colours = [(data[at], data[at + 1], data[at + 2]) for at in range(0, len(data), 3)]
        assert len(colours) == width * height
        for row in range(height):
            start = (y + row) * WIDTH + x
            self.screen[start : start + width] = colours[row * width : (row + 1) * width]


@settings(max_examples=60)
@given(st.lists(RECTS, max_size=30), st.booleans(), st.permutations([0, 1, 2]), st.integers())
def test_what_a_viewer_sees_is_what_is_there(parts: list[Rect], tight: bool, order: list[int], seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    picture, damage, encoder = Picture(WIDTH, HEIGHT), Damage(), Encoder()
    encoder.tight, encoder.pixels = tight, Pixels(*order)
    decoder = Decoder(encoder.pixels)
    for number, part in enumerate(parts):
        picture.put(part, chance.randbytes(4 * part.width * part.height))
        damage.add(part)
        if number % 7 == 6:
            for rect in damage.take(WIDTH, HEIGHT):
                decoder.take(encoder.encode(rect, picture.get(rect)))
    for rect in damage.take(WIDTH, HEIGHT):
        decoder.take(encoder.encode(rect, picture.get(rect)))
    assert not damage
    data = picture.get(picture.whole)
    assert decoder.screen == [(data[at + 2], data[at + 1], data[at]) for at in range(0, len(data), 4)]


def test_a_large_change_is_sent_in_bands() -> None:
    damage = Damage()
    damage.add(Rect(0, 0, 1920, 1200))
    bands = damage.take(1920, 1200)
    assert len(bands) > 1
    assert sum(band.height for band in bands) == 1200
    assert all(3 * band.width * band.height < 1 << 22 for band in bands)


@given(st.integers(0, (1 << 22) - 1))
def test_compact_length(length: int) -> None:
    data = compact_length(length)
    value = data[0] & 0x7F
    if len(data) > 1:
        value |= (data[1] & 0x7F) << 7
    if len(data) > 2:
        value |= data[2] << 14
    assert value == length


@pytest.mark.parametrize("rect", [Rect(0, 0, WIDTH + 1, 1), Rect(1, 0, WIDTH, 1), Rect(0, HEIGHT, 1, 1)])
def test_what_is_not_on_the_screen_is_refused(rect: Rect) -> None:
    with pytest.raises(BadMessage):
        Picture(WIDTH, HEIGHT).put(rect, bytes(4 * rect.width * rect.height))
    with pytest.raises(BadMessage):
        Picture(5000, 10)
