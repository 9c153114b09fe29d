"""One guest's screen: bhyve's frame buffer, which serves one client, shown to any number of viewers.

While somebody looks, this is bhyve's one client: it keeps the picture and what has changed since each viewer was last
told. Input is passed on from the one viewer that has the pen; what it held down is let go when it leaves. A guest that
reboots has a new bhyve: its frame buffer is asked for again, and the viewers stay.
"""

import asyncio
import contextlib
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable

from beastack.consoles import rfb
from beastack.consoles.pen import Pen
from beastack.consoles.picture import Damage, Encoder, Picture
from beastack.consoles.rfb import Rect

LOG = logging.getLogger(__name__)
LINGER = 5.0  # seconds that bhyve is held after the last viewer
AGAIN = 0.25
REBOOT_SECONDS = 60.0
UPDATES_PER_SECOND = 25
MAX_VIEWERS = 32
_BAND = 256 * 1024
_SHARE = 4
_MAX_KEYS = 64
_MAX_INPUT = 64 * 1024
_BELL = b"\2"

# A connection to bhyve's frame buffer, None while bhyve has none; raises NoSupervisor when the guest is gone.
Source = Callable[[], socket.socket | None]


class NoScreen(Exception):
    """There is nothing to look at; the text says why."""


class Viewer:
    """One connection that is past the security handshake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.encoder, self.damage = Encoder(), Damage()
        self.resizes = False
        self.size: tuple[int, int] = (0, 0)
        self.asked = False
        self.news = asyncio.Event()
        self.keys: set[int] = set()
        self.buttons = 0
        self.told = False


class Screen:
    """Serves the viewers of one guest."""

    def __init__(self, name: str, source: Source) -> None:
        self._name, self._source = name, source
        self._viewers: set[Viewer] = set()
        self._picture: Picture | None = None
        self._shown = asyncio.Event()  # the first picture is here, or there will be none
        self._why = ""
        self._pen = Pen()
        self._pointer = (0, 0)
        self._bhyve: asyncio.StreamWriter | None = None
        self._wanted = asyncio.Event()  # some viewer waits for news
        self._task: asyncio.Task[None] | None = None
        self._coming = 0  # how many have it held, viewers among them

    @property
    def busy(self) -> bool:
        """Whether bhyve is held for somebody."""
        return self._task is not None and not self._task.done()

    @contextlib.asynccontextmanager
    async def held(self, seconds: float) -> AsyncIterator[None]:
        """Hold bhyve for somebody who comes, from when there is a picture. Raises NoScreen."""
        if self._coming >= MAX_VIEWERS:
            raise NoScreen(f"{MAX_VIEWERS} viewers are there already")
        self._coming += 1
        try:
            if not self.busy:
                self._shown.clear()
                self._picture, self._why = None, ""
                self._task = asyncio.create_task(self._run())
            try:
                async with asyncio.timeout(seconds):
                    await self._shown.wait()
            except TimeoutError as error:
                raise NoScreen(f"bhyve shows nothing within {seconds:.0f} s") from error
            if self._picture is None:
                raise NoScreen(self._why)
            yield
        finally:
            self._coming -= 1

    # -- bhyve's side

    async def _run(self) -> None:
        deadline = time.monotonic() + REBOOT_SECONDS
        idle_since = time.monotonic()
        try:
            while time.monotonic() < deadline:
                connection = await asyncio.to_thread(self._source)
                if connection is not None:
                    await self._follow(connection)
                    deadline = time.monotonic() + REBOOT_SECONDS
                if self._coming:
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > LINGER:
                    self._why = "nobody looks"
                    return
                await asyncio.sleep(AGAIN)
            self._why = f"bhyve has shown no screen for {REBOOT_SECONDS:.0f} s"
        except Exception as error:  # noqa: BLE001 - whatever it is, the viewers are let go, and it is logged
            self._why = str(error)
        finally:
            LOG.info("screen of %s: %s", self._name, self._why or "let go")
            self._shown.set()
            for viewer in list(self._viewers):
                viewer.writer.close()

    async def _follow(self, connection: socket.socket) -> None:
        """Be bhyve's client until it ends, or nobody has looked for a while."""
        connection.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            async with asyncio.timeout(10):
                found = await rfb.join(reader, writer)
            self._resize(found.width, found.height)
            writer.write(rfb.set_up([rfb.RAW, rfb.DESKTOP_SIZE]))
            self._bhyve = writer
            await self._watch(reader, writer)
        except (asyncio.IncompleteReadError, OSError, TimeoutError, rfb.BadMessage) as error:
            LOG.info("screen of %s: bhyve's frame buffer: %r", self._name, error)
        finally:
            self._bhyve = None
            writer.close()

    async def _watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered = asyncio.Event()
        tasks = {
            asyncio.create_task(self._listen(reader, answered)),
            asyncio.create_task(self._ask(writer, answered)),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, reader: asyncio.StreamReader, answered: asyncio.Event) -> None:
        """Take every update; its end is bhyve's."""
        while True:
            await self._updated(reader)
            self._shown.set()
            answered.set()

    async def _ask(self, writer: asyncio.StreamWriter, answered: asyncio.Event) -> None:
        """Ask bhyve when a viewer asks, one request at a time; ends when nobody has looked for a while."""
        size: tuple[int, int] | None = None
        while await self._somebody_waits():
            began = time.monotonic()
            picture = self._picture
            if picture is None:
                return
            now = (picture.width, picture.height)
            answered.clear()
            writer.write(rfb.update_request(size == now, *now))
            size = now
            await writer.drain()
            if not await self._comes(answered):
                return
            await asyncio.sleep(max(0.0, began + 1 / UPDATES_PER_SECOND - time.monotonic()))

    async def _somebody_waits(self) -> bool:
        """Until a viewer asked for news; False when there has been no viewer for a while."""
        while not any(viewer.asked for viewer in self._viewers) and self._shown.is_set():
            self._wanted.clear()
            if not await self._comes(self._wanted):
                return False
        return True

    async def _comes(self, event: asyncio.Event) -> bool:
        """Until the event; False when there is no viewer (any more) at the end of a quiet while."""
        while not event.is_set():
            try:
                async with asyncio.timeout(LINGER):
                    await event.wait()
            except TimeoutError:
                if not self._coming:
                    return False
        return True

    async def _updated(self, reader: asyncio.StreamReader) -> None:
        """Read up to the next update, into the picture."""
        while kind := (await reader.readexactly(1))[0]:
            if kind == 3:  # ServerCutText
                length = struct.unpack("!3xI", await reader.readexactly(7))[0]
                if length > 1 << 20:
                    raise rfb.BadMessage(f"a clipboard of {length} bytes")
                await reader.readexactly(length)
            elif kind != 2:  # a bell is not for the screen
                raise rfb.BadMessage(f"message type {kind}")
        changed: list[Rect] = []
        for _ in range(struct.unpack("!xH", await reader.readexactly(3))[0]):
            x, y, width, height, encoding = struct.unpack("!HHHHi", await reader.readexactly(12))
            rect = Rect(x, y, width, height)
            if encoding == rfb.DESKTOP_SIZE:
                self._resize(width, height)
            elif encoding == rfb.RAW:
                await self._read_raw(reader, rect)
                changed.append(rect)
            else:
                raise rfb.BadMessage(f"encoding {encoding}")
        for viewer in self._viewers:
            for rect in changed:
                viewer.damage.add(rect)
            viewer.news.set()

    async def _read_raw(self, reader: asyncio.StreamReader, rect: Rect) -> None:
        picture = self._picture
        if picture is None or rect.clipped(picture.width, picture.height) != rect:
            raise rfb.BadMessage(f"{rect} is not on the screen")
        rows = max(1, _BAND // (4 * rect.width))
        for top in range(0, rect.height, rows):
            band = Rect(rect.x, rect.y + top, rect.width, min(rows, rect.height - top))
            picture.put(band, await reader.readexactly(4 * band.width * band.height))

    def _resize(self, width: int, height: int) -> None:
        if self._picture is None or (self._picture.width, self._picture.height) != (width, height):
            rfb.check_size(width, height)
            self._picture = Picture(width, height)
        for viewer in self._viewers:
            viewer.damage.add(self._picture.whole)
            viewer.news.set()

    # -- the viewers' side

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Show it to one viewer until one side ends. Raises BadMessage, IncompleteReadError, OSError."""
        picture = self._picture
        if picture is None or not self.busy:  # it ended while the viewer came in
            raise NoScreen(self._why)
        viewer = Viewer(reader, writer)
        viewer.size = picture.width, picture.height
        writer.write(rfb.server_init(*viewer.size, self._name.encode()))
        self._viewers.add(viewer)
        teller = asyncio.create_task(self._tell(viewer))
        try:
            while True:
                self._take(viewer, await rfb.read_message(reader))
                await writer.drain()  # a viewer that does not read is not read either
        finally:
            self._viewers.discard(viewer)
            self._let_go(viewer)
            teller.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await teller

    def _take(self, viewer: Viewer, message: rfb.Message) -> None:
        if isinstance(message, rfb.Pixels):
            viewer.encoder.pixels = message
        elif isinstance(message, rfb.Encodings):
            viewer.encoder.tight = rfb.TIGHT in message.wanted
            viewer.resizes = rfb.DESKTOP_SIZE in message.wanted
        elif isinstance(message, rfb.Request):
            if not message.incremental:
                viewer.damage.add(message.rect)
            viewer.asked = True
            viewer.news.set()
            self._wanted.set()
        elif isinstance(message, rfb.Key):
            if self._may_write(viewer):
                if len(viewer.keys) >= _MAX_KEYS:
                    raise rfb.BadMessage(f"{_MAX_KEYS} keys are pressed at once")
                (viewer.keys.add if message.down else viewer.keys.discard)(message.symbol)
                self._send(rfb.key_event(message.down, message.symbol))
        elif isinstance(message, rfb.Pointer):
            self._point(viewer, message)

    def _point(self, viewer: Viewer, message: rfb.Pointer) -> None:
        """A press takes the pen; a mere move is passed on while nobody else has it."""
        if message.buttons or viewer.buttons:
            if not self._may_write(viewer):
                return
        elif not (self._pen.free or self._pen.has(viewer)):
            return
        viewer.buttons, self._pointer = message.buttons, (message.x, message.y)
        self._send(rfb.pointer_event(message.buttons, message.x, message.y))

    def _may_write(self, viewer: Viewer) -> bool:
        if self._pen.take(viewer, time.monotonic()):
            viewer.told = False
            for other in self._viewers:
                if other is not viewer:
                    self._release(other)
            return True
        if not viewer.told:
            viewer.told = True
            viewer.writer.write(_BELL)
        return False

    def _let_go(self, viewer: Viewer) -> None:
        self._pen.leave(viewer)
        self._release(viewer)

    def _release(self, viewer: Viewer) -> None:
        """Nothing stays pressed by one who no longer writes."""
        for symbol in viewer.keys:
            self._send(rfb.key_event(False, symbol))
        viewer.keys.clear()
        if viewer.buttons:
            viewer.buttons = 0
            self._send(rfb.pointer_event(0, *self._pointer))

    def _send(self, data: bytes) -> None:
        """To bhyve; what is typed while it restarts, or is paused, is lost, as on a real machine."""
        bhyve = self._bhyve
        if bhyve is not None and not bhyve.is_closing() and bhyve.transport.get_write_buffer_size() < _MAX_INPUT:
            bhyve.write(data)

    async def _tell(self, viewer: Viewer) -> None:
        """Answer the viewer's requests as soon as there is something to say."""
        while True:
            await viewer.news.wait()
            viewer.news.clear()
            picture = self._picture
            if not viewer.asked or picture is None:
                continue
            now = (picture.width, picture.height)
            if now != viewer.size:
                if not viewer.resizes:
                    viewer.writer.close()
                    return
                viewer.size, viewer.asked = now, False
                viewer.damage.add(picture.whole)
                rect = Rect(0, 0, *now)
                viewer.writer.write(rfb.update_header(1) + rfb.rect_header(rect, rfb.DESKTOP_SIZE))
            elif viewer.damage:
                viewer.asked = False
                rects = viewer.damage.take(*now)
                viewer.writer.write(rfb.update_header(len(rects)))
                began, busy = time.monotonic(), 0.0
                for rect in rects:
                    data, start = picture.get(rect), time.monotonic()
                    viewer.writer.write(await asyncio.to_thread(viewer.encoder.encode, rect, data))
                    busy += time.monotonic() - start
                    await viewer.writer.drain()
                # one viewer, however often it asks, has a share of a processor and no more
                pause = max(1 / UPDATES_PER_SECOND, busy * _SHARE)
                await asyncio.sleep(max(0.0, began + pause - time.monotonic()))
