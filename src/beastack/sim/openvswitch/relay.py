"""Owns the way between ovs-vswitchd and its database: what the switch is to open is there before it is told of it.

On FreeBSD the switch opens BPF on an interface by its name, at any moment and without asking. Here a Linux device has
to stand for it, so the engine reads along: a message with a new port goes on when the port's device is made.
"""

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from beastack.sim.openvswitch.messages import Rows, Stream

# in the host's own /dev: unseen outside, gone with the host
FOLDER = Path("/dev/.sim")
_CHUNK = 1 << 16

Want = Callable[[int, frozenset[str]], None]


class Relay:
    """One listening socket for one database. ``want(pid, names)`` is told what the switch ``pid`` is to open."""

    def __init__(self, database: str, number: int, want: Want) -> None:
        self.path = str(FOLDER / f"ovsdb{number}")
        self._database = database
        self._want = want
        self._server: asyncio.Server | None = None
        # by the switch: one that comes back after its database was away is told of what is new only
        self._rows: dict[int, Rows] = {}

    async def listen(self) -> None:
        """Idempotent."""
        if self._server is None:
            FOLDER.mkdir(mode=0o700, exist_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, self.path, limit=_CHUNK)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("socket")
        pid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        try:
            back, forth = await asyncio.open_unix_connection(self._database, limit=_CHUNK)
        except OSError:
            writer.close()  # no database: the switch tries again, as it does without a relay
            return
        ways = (self._pass(reader, forth), self._told(pid, back, writer))
        tasks = [asyncio.ensure_future(way) for way in ways]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, ConnectionError):
                print(f"ovsdb relay: {result!r}", file=sys.stderr, flush=True)
        for one in (writer, forth):
            one.close()
            with contextlib.suppress(ConnectionError):
                await one.wait_closed()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()

    async def _told(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream, rows = Stream(), self._rows.setdefault(pid, Rows())
        while data := await reader.read(_CHUNK):
            before = rows.names()
            if any([rows.take(message) for message in stream.feed(data)]):
                # what came is made first; what went is taken away when the switch has been told
                self._want(pid, before | rows.names())
            writer.write(data)
            await writer.drain()
            if before - rows.names():
                self._want(pid, rows.names())
