"""The messages of RFB 3.8 (RFC 6143) that a console needs: read strictly, written in one place.

Between bhyve and us there is one pixel format, `PIXELS`, which is bhyve's own (bhyve ignores SetPixelFormat: bhyve's
rfb.c; ServerInit in 15-bhyve-uefi.txt). A viewer may have its own order of red, green and blue.
"""

import asyncio
import struct
from dataclasses import dataclass

VERSION = b"RFB 003.008\n"
SECURITY_NONE, SECURITY_VENCRYPT = 1, 19
RAW, TIGHT, DESKTOP_SIZE = 0, 7, -223
MAX_WIDTH, MAX_HEIGHT = 4096, 2400
_MAX_ENCODINGS = 256
_MAX_CUT_TEXT = 1 << 20
_MAX_NAME = 4096
_PIXEL_FORMAT = struct.Struct("!BBBBHHHBBB3x")


class BadMessage(Exception):
    """The other side does not speak as RFC 6143 says, or asks for what is not served; the text says what."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """A pixel of four bytes: at which byte red, green and blue are."""

    red: int
    green: int
    blue: int

    def pack(self) -> bytes:
        """PIXEL_FORMAT: 32 bits, little endian, 24 of colour."""
        return _PIXEL_FORMAT.pack(32, 24, 0, 1, 255, 255, 255, self.red * 8, self.green * 8, self.blue * 8)

    @classmethod
    def unpack(cls, data: bytes) -> "Pixels":
        """Read a PIXEL_FORMAT; only whole bytes of a colour are served."""
        bits, _depth, big, true, *rest = _PIXEL_FORMAT.unpack(data)
        most, shifts = rest[:3], rest[3:]
        if bits != 32 or not true or most != [255] * 3 or sorted(set(shifts) & {0, 8, 16, 24}) != sorted(shifts):
            raise BadMessage(f"pixels of {bits} bits, maxima {most}, shifts {shifts} are not served")
        places = [3 - shift // 8 if big else shift // 8 for shift in shifts]
        return cls(*places)


PIXELS = Pixels(red=2, green=1, blue=0)


@dataclass(frozen=True, slots=True)
class Rect:
    """A part of the screen."""

    x: int
    y: int
    width: int
    height: int

    def union(self, other: "Rect") -> "Rect":
        """The smallest one that holds both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        right = max(self.x + self.width, other.x + other.width)
        bottom = max(self.y + self.height, other.y + other.height)
        return Rect(x, y, right - x, bottom - y)

    def clipped(self, width: int, height: int) -> "Rect | None":
        """What of it is on a screen of this size."""
        right, bottom = min(self.x + self.width, width), min(self.y + self.height, height)
        return Rect(self.x, self.y, right - self.x, bottom - self.y) if right > self.x and bottom > self.y else None


def rect_header(rect: Rect, encoding: int) -> bytes:
    """The twelve bytes before a rectangle's data."""
    return struct.pack("!HHHHi", rect.x, rect.y, rect.width, rect.height, encoding)


def update_header(rects: int) -> bytes:
    """FramebufferUpdate."""
    return struct.pack("!BxH", 0, rects)


def server_init(width: int, height: int, name: bytes) -> bytes:
    """ServerInit."""
    return struct.pack("!HH", width, height) + PIXELS.pack() + struct.pack("!I", len(name)) + name


def update_request(incremental: bool, width: int, height: int) -> bytes:
    """FramebufferUpdateRequest for the whole screen."""
    return struct.pack("!BBHHHH", 3, incremental, 0, 0, width, height)


def key_event(down: bool, symbol: int) -> bytes:
    """KeyEvent."""
    return struct.pack("!BBxxI", 4, down, symbol)


def pointer_event(buttons: int, x: int, y: int) -> bytes:
    """PointerEvent."""
    return struct.pack("!BBHH", 5, buttons, x, y)


def set_up(encodings: list[int]) -> bytes:
    """SetPixelFormat and SetEncodings, as a client."""
    return b"\0\0\0\0" + PIXELS.pack() + struct.pack(f"!BxH{len(encodings)}i", 2, len(encodings), *encodings)


# -- what a viewer says


@dataclass(frozen=True, slots=True)
class Encodings:
    """SetEncodings."""

    wanted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """FramebufferUpdateRequest."""

    incremental: bool
    rect: Rect


@dataclass(frozen=True, slots=True)
class Key:
    """KeyEvent."""

    down: bool
    symbol: int


@dataclass(frozen=True, slots=True)
class Pointer:
    """PointerEvent."""

    buttons: int
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class CutText:
    """ClientCutText: bhyve has no use for it."""

    length: int


Message = Pixels | Encodings | Request | Key | Pointer | CutText


async def read_message(reader: asyncio.StreamReader) -> Message:
    """The next message of a viewer. Raises BadMessage, IncompleteReadError at the end."""
    kind = (await reader.readexactly(1))[0]
    if kind == 0:
        return Pixels.unpack((await reader.readexactly(19))[3:])
    if kind == 2:
        count = struct.unpack("!xH", await reader.readexactly(3))[0]
        if count > _MAX_ENCODINGS:
            raise BadMessage(f"{count} encodings")
        return Encodings(struct.unpack(f"!{count}i", await reader.readexactly(4 * count)))
    if kind == 3:
        incremental, x, y, width, height = struct.unpack("!BHHHH", await reader.readexactly(9))
        return Request(bool(incremental), Rect(x, y, width, height))
    if kind == 4:
        down, symbol = struct.unpack("!BxxI", await reader.readexactly(7))
        return Key(bool(down), symbol)
    if kind == 5:
        return Pointer(*struct.unpack("!BHH", await reader.readexactly(5)))
    if kind == 6:
        length = struct.unpack("!3xI", await reader.readexactly(7))[0]
        if length > _MAX_CUT_TEXT:
            raise BadMessage(f"a clipboard of {length} bytes")
        await reader.readexactly(length)
        return CutText(length)
    raise BadMessage(f"message type {kind}")


# -- what bhyve says


@dataclass(frozen=True, slots=True)
class Screen:
    """ServerInit: the size, and the name."""

    width: int
    height: int
    name: bytes


def check_size(width: int, height: int) -> None:
    """Raises BadMessage for a size that no screen of bhyve has."""
    if not (0 < width <= MAX_WIDTH and 0 < height <= MAX_HEIGHT):
        raise BadMessage(f"a screen of {width}x{height}")


async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Screen:
    """Come in as a client, without authentication. Raises BadMessage, IncompleteReadError."""
    version = await reader.readexactly(len(VERSION))
    if version != VERSION:
        raise BadMessage(f"version {version!r}")
    writer.write(VERSION)
    types = await reader.readexactly((await reader.readexactly(1))[0])
    if SECURITY_NONE not in types:
        raise BadMessage(f"security types {list(types)}")
    writer.write(bytes([SECURITY_NONE]))
    if await reader.readexactly(4) != b"\0\0\0\0":
        raise BadMessage("refused")
    writer.write(b"\1")
    width, height, _format, length = struct.unpack("!HH16sI", await reader.readexactly(24))
    check_size(width, height)
    if length > _MAX_NAME:
        raise BadMessage(f"a name of {length} bytes")
    return Screen(width, height, await reader.readexactly(length))
