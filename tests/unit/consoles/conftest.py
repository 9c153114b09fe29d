"""A console service as it runs, in a thread of its own, and a short folder for its guests."""

import asyncio
import os
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from beastack.consoles import ticket
from beastack.consoles.door import Door

# as in nova's own programs, before anything of nova is imported (tests/unit/nova/conftest.py)
os.environ.setdefault("OS_NOVA_DISABLE_EVENTLET_PATCHING", "true")


class Service:
    """The door on a port of the loop-back interface."""

    def __init__(self, instances: Path, tls: ssl.SSLContext | None = None) -> None:
        self.instances = instances
        self.key = ticket.host_key(instances / "console.key")
        self.door = Door(instances, self.key, [ip_network("127.0.0.1")], tls)
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self.door.connection, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        async with server:
            await self._stop.wait()

    def end(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)
            assert not self._thread.is_alive()

    def path(self, kind: ticket.Kind, uuid: str, seconds: int = 60) -> str:
        import time

        return ticket.issue(self.key, ticket.Ticket(kind, uuid, int(time.time()) + seconds))

    def connect(self, path: str, source: str = "127.0.0.1") -> tuple[socket.socket, bytes]:
        """As nova's proxy does: the connection, and the answer's first line."""
        client = socket.create_connection(("127.0.0.1", self.port), 10, source_address=(source, 0))
        client.sendall(f"CONNECT {path} HTTP/1.1\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            got = client.recv(1)
            if not got:
                break
            answer += got
        return client, answer.partition(b"\r\n")[0]


@pytest.fixture
def instances() -> Iterator[Path]:
    # sun_path is short, pytest's folders are long
    made = Path(tempfile.mkdtemp(prefix="bs-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def services(instances: Path) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def make(tls: ssl.SSLContext | None = None) -> Service:
        made.append(Service(instances, tls))
        return made[-1]

    yield make
    for each in made:
        each.end()
