"""The service's one TCP port: who may come in, and to which guest.

A connection must come from an address of the allow-list and begin, as nova's proxies do when the driver gave them an
`internal_access_path`, with `CONNECT TICKET HTTP/1.1` and an empty line. Every answer but 200 ends it. Nobody who is
not on the list gets one.
"""

import asyncio
import contextlib
import logging
import re
import socket
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path

from beastack.consoles import conf, rfb, screen, security, serial, ticket
from beastack.privsep import guest_files
from beastack.privsep.guest_files import GuestFileError

LOG = logging.getLogger(__name__)
MAX_CONNECTIONS = 512
_HEAD_SECONDS = 10.0
_SCREEN_SECONDS = 15.0
_REQUEST = re.compile(rb"CONNECT (\S{1,512}) HTTP/1\.1\r\n(?:[^\r\n]{0,512}\r\n){0,16}\r\n")


class Denied(Exception):
    """Why a connection is not served: an HTTP status line's words, and what the log says."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass
class Door:
    """Serves connections; ``instances`` is nova's folder of the guests."""

    instances: Path
    key: bytes
    proxies: list[conf.Network]
    tls: ssl.SSLContext | None = None
    screens: dict[str, screen.Screen] = field(default_factory=dict)
    connections: int = 0

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from the first byte to the last."""
        peer = str(writer.get_extra_info("peername", ("",))[0])
        if not conf.allowed(peer, self.proxies):
            LOG.warning("%s is not in [beastack] console_proxies: refused", peer)
            writer.transport.abort()
            return
        self.connections += 1
        _keep_alive(writer)
        try:
            await self._serve(peer, reader, writer)
        except Denied as denied:
            LOG.warning("%s: %s: %s", peer, denied.status, denied.reason)
            writer.write(f"HTTP/1.1 {denied.status}\r\n\r\n".encode())
        except (OSError, asyncio.IncompleteReadError, TimeoutError, rfb.BadMessage, screen.NoScreen) as error:
            LOG.info("%s: ended: %r", peer, error)
        finally:
            self.connections -= 1
            writer.close()
            with contextlib.suppress(OSError):  # the other side was quicker
                await writer.wait_closed()

    async def _serve(self, peer: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.connections > MAX_CONNECTIONS:
            raise Denied("503 Busy", f"{MAX_CONNECTIONS} connections are there already")
        allowed = await self._ticket(reader)
        async with contextlib.AsyncExitStack() as stack:
            # an end without an answer would make nova's proxy ask for one for ever
            try:
                folder = self.instances / allowed.uuid
                if allowed.kind == "serial":
                    console = stack.enter_context(await asyncio.to_thread(serial.open_console, folder))
                else:
                    shown = self._screen(allowed.uuid)
                    await stack.enter_async_context(shown.held(_SCREEN_SECONDS))
            except (GuestFileError, screen.NoScreen, OSError) as error:
                raise Denied("404 Not there", f"{allowed.kind} {allowed.uuid}: {error}") from error
            LOG.info("%s: %s console of %s", peer, allowed.kind, allowed.uuid)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            if allowed.kind == "serial":
                await serial.splice(reader, writer, console)
            else:
                await security.welcome(reader, writer, self.tls)
                await shown.serve(reader, writer)

    async def _ticket(self, reader: asyncio.StreamReader) -> ticket.Ticket:
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.LimitOverrunError, asyncio.IncompleteReadError, TimeoutError) as error:
            raise Denied("400 Bad request", "no CONNECT with a ticket came") from error
        found = _REQUEST.fullmatch(head)
        if found is None:
            raise Denied("400 Bad request", "not a CONNECT with a ticket")
        try:
            return ticket.check(self.key, found[1].decode("ascii", "replace"), time.time())
        except ticket.BadTicket as error:
            raise Denied("403 Forbidden", str(error)) from error

    def _screen(self, uuid: str) -> screen.Screen:
        self.screens = {name: each for name, each in self.screens.items() if each.busy}
        if uuid not in self.screens:
            folder = self.instances / uuid
            self.screens[uuid] = screen.Screen(uuid, lambda: frame_buffer(folder))
        return self.screens[uuid]


def frame_buffer(folder: Path) -> socket.socket | None:
    """A connection to bhyve's frame buffer, which the guest's supervisor makes and hands over (SCM_RIGHTS).

    None while bhyve has none. Raises NoSupervisor when nobody supervises the guest or it has no screen.
    """
    with guest_files.connected(folder, guest_files.SCREEN, 5.0) as supervisor:
        data, descriptors, _, _ = socket.recv_fds(supervisor, 16, 1)
    return socket.socket(fileno=descriptors[0]) if data and descriptors else None


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """A proxy whose machine has gone is noticed within two minutes; it may have had the pen."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
