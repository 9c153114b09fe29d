"""A serial viewer: bytes between nova-serialproxy and the guest's console.sock.

Who may type is decided there (beastack.nova.guest.console), for every viewer of the guest, `beastack console` too.
"""

import asyncio
import socket
from pathlib import Path

from beastack.privsep.guest_files import CONSOLE, connected

_CHUNK = 64 * 1024
_CONNECT_SECONDS = 5.0


def open_console(folder: Path) -> socket.socket:
    """A connection to the guest's console. Raises NoSupervisor, OSError."""
    with connected(folder, CONSOLE, _CONNECT_SECONDS) as client:
        return client.dup()


async def splice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, console: socket.socket) -> None:
    """Copy both ways until one side ends. Raises OSError."""
    console.setblocking(False)
    theirs, ours = await asyncio.open_connection(sock=console)
    copies = {asyncio.create_task(_copy(reader, ours)), asyncio.create_task(_copy(theirs, writer))}
    try:
        done, _ = await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in copies:
            task.cancel()
        await asyncio.gather(*copies, return_exceptions=True)
        ours.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(_CHUNK):
        target.write(data)
        await target.drain()
