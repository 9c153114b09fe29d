"""What is on a guest's screen now, and how a part of it is sent to a viewer. Pure: no sockets here."""

import struct
import zlib

from beastack.consoles import rfb
from beastack.consoles.rfb import Pixels, Rect

_MOST_RECTS = 12
_BAND = 1 << 16  # pixels sent in one rectangle; a compact length of Tight holds 4 MiB
_TINY = 12  # fewer bytes than this Tight sends as they are


class Picture:
    """Pixels in the order of `rfb.PIXELS`, row by row."""

    def __init__(self, width: int, height: int) -> None:
        rfb.check_size(width, height)
        self.width, self.height = width, height
        self._data = bytearray(4 * width * height)

    @property
    def whole(self) -> Rect:
        """All of it."""
        return Rect(0, 0, self.width, self.height)

    def put(self, rect: Rect, data: bytes) -> None:
        """Raw pixels for a part that is inside. Raises BadMessage."""
        if rect.clipped(self.width, self.height) != rect or len(data) != 4 * rect.width * rect.height:
            raise rfb.BadMessage(f"{len(data)} bytes for {rect} on {self.width}x{self.height}")
        row = 4 * rect.width
        for number in range(rect.height):
            start = 4 * ((rect.y + number) * self.width + rect.x)
            self._data[start : start + row] = data[number * row : (number + 1) * row]

    def get(self, rect: Rect) -> bytes:
        """The pixels of a part."""
        view = memoryview(self._data)
        starts = (4 * ((rect.y + n) * self.width + rect.x) for n in range(rect.height))
        return b"".join(view[start : start + 4 * rect.width] for start in starts)


class Damage:
    """What has changed since a viewer was told; a few rectangles, joined when they become many."""

    def __init__(self) -> None:
        self._rects: list[Rect] = []

    def __bool__(self) -> bool:
        return bool(self._rects)

    def add(self, rect: Rect) -> None:
        """Remember a change."""
        if rect in self._rects:
            return
        self._rects.append(rect)
        if len(self._rects) > _MOST_RECTS:
            joined = self._rects[0]
            for each in self._rects[1:]:
                joined = joined.union(each)
            self._rects = [joined]

    def take(self, width: int, height: int) -> list[Rect]:
        """The changes, cut to the screen and into bands; then there are none."""
        rects = [part for rect in self._rects if (part := rect.clipped(width, height))]
        self._rects = []
        bands = []
        for rect in rects:
            rows = max(1, _BAND // rect.width)
            bands += [
                Rect(rect.x, rect.y + top, rect.width, min(rows, rect.height - top))
                for top in range(0, rect.height, rows)
            ]
        return bands


def compact_length(length: int) -> bytes:
    """A length as Tight writes it: seven bits, seven bits, eight bits."""
    if length < 1 << 7:
        return bytes([length])
    if length < 1 << 14:
        return bytes([length & 0x7F | 0x80, length >> 7])
    return bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14])


class Encoder:
    """One viewer's: its order of colours, its encoding, and the compressor whose state the viewer shares."""

    def __init__(self) -> None:
        self.pixels = rfb.PIXELS
        self.tight = False
        self._zlib = zlib.compressobj(1)

    def encode(self, rect: Rect, data: bytes) -> bytes:
        """A rectangle with its header, from its pixels as `Picture.get` gives them."""
        if not self.tight:
            return rfb.rect_header(rect, rfb.RAW) + _reordered(data, self.pixels)
        # basic compression without a filter, stream 0; with four bytes a pixel, red, green and blue are sent alone
        colours = bytearray(len(data) // 4 * 3)
        colours[0::3], colours[1::3], colours[2::3] = data[2::4], data[1::4], data[0::4]
        head = rfb.rect_header(rect, rfb.TIGHT) + struct.pack("!B", 0)
        if len(colours) < _TINY:
            return head + bytes(colours)
        packed = self._zlib.compress(bytes(colours)) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        return head + compact_length(len(packed)) + packed


def _reordered(data: bytes, pixels: Pixels) -> bytes:
    if pixels == rfb.PIXELS:
        return data
    out = bytearray(len(data))
    for place, source in ((pixels.red, 2), (pixels.green, 1), (pixels.blue, 0)):
        out[place::4] = data[source::4]
    return bytes(out)
