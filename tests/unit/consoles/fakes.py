"""Guests' folders with what their supervisors offer: console.sock that tells who it is, screen.sock, and a bhyve."""

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from beastack.nova.guest.console import unix_listener
from beastack.privsep import guest_files

WIDTH, HEIGHT = 64, 48


def exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        got = connection.recv(size - len(data))
        if not got:
            raise EOFError(f"{data!r} instead of {size} bytes")
        data += got
    return data


class FakeBhyve:
    """An RFB server for one client at a time, as bhyve's: what is typed becomes a pixel, and is remembered."""

    def __init__(self, path: Path, colour: int = 7) -> None:
        self.typed: list[bytes] = []
        self.size = (WIDTH, HEIGHT)
        self.picture = bytearray(bytes([colour, 1, 2, 0]) * (WIDTH * HEIGHT))
        self.clients = 0
        self.changed = threading.Event()
        self.runs = threading.Event()
        self.runs.set()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(4)
        self._client: socket.socket | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.clients += 1
            self._client = client
            with client, contextlib.suppress(OSError, EOFError):
                self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        client.sendall(b"RFB 003.008\n")
        assert exactly(client, 12) == b"RFB 003.008\n"
        client.sendall(b"\x01\x01")
        assert exactly(client, 1) == b"\x01"
        client.sendall(b"\0\0\0\0")
        exactly(client, 1)
        form = struct.pack("!BBBBHHHBBB3x", 32, 32, 0, 1, 255, 255, 255, 16, 8, 0)
        client.sendall(struct.pack("!HH", *self.size) + form + struct.pack("!I", 5) + b"bhyve")
        pending = False
        while True:
            self.runs.wait(20)
            kind = exactly(client, 1)[0]
            if kind == 0:
                exactly(client, 19)
            elif kind == 2:
                exactly(client, 4 * struct.unpack("!xH", exactly(client, 3))[0])
            elif kind == 3:
                incremental = exactly(client, 9)[0]
                pending = True
                if not incremental or self.changed.is_set():
                    pending = False
                    self._update(client)
            elif kind in (4, 5):
                event = bytes([kind]) + exactly(client, 7 if kind == 4 else 5)
                self.typed.append(event)
                self.picture[4 * len(self.typed) % len(self.picture)] = 255
                self.changed.set()
                if pending:
                    pending = False
                    self._update(client)
            else:
                raise AssertionError(kind)

    def _update(self, client: socket.socket) -> None:
        self.changed.clear()
        width, height = self.size
        client.sendall(struct.pack("!BxHHHHHi", 0, 1, 0, 0, width, height, 0) + bytes(self.picture))

    def drop(self) -> None:
        """As at a reboot of the guest."""
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.drop()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


class FakeGuest:
    """The folder of one guest, with its supervisor's sockets, in a thread."""

    def __init__(self, instances: Path, uuid: str, screen: bool = False) -> None:
        self.uuid, self.folder = uuid, instances / uuid
        self.folder.mkdir(parents=True)
        self.received: list[bytes] = []
        self._selector = selectors.DefaultSelector()
        self._stop, self._stopper = socket.socketpair()
        self._selector.register(self._stop, selectors.EVENT_READ)
        self._listener = unix_listener(str(self.folder / guest_files.CONSOLE), None)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.bhyve: FakeBhyve | None = None
        self._screen: socket.socket | None = None
        if screen:
            self.bhyve = FakeBhyve(self.folder / "b")
            self._screen = unix_listener(str(self.folder / guest_files.SCREEN), None)
            self._selector.register(self._screen, selectors.EVENT_READ)
        self._clients: list[socket.socket] = []
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stop:
                    return
                with contextlib.suppress(OSError):
                    self._event(key.fileobj)  # type: ignore[arg-type]

    def _event(self, ready: socket.socket) -> None:
        if ready is self._listener:
            client, _ = ready.accept()
            client.sendall(f"guest {self.uuid}\r\n".encode())
            self._clients.append(client)
            self._selector.register(client, selectors.EVENT_READ)
        elif ready is self._screen:
            client, _ = ready.accept()
            with client, socket.socket(socket.AF_UNIX) as screen:
                screen.connect(str(self.folder / "b"))
                socket.send_fds(client, [b"screen\n"], [screen.fileno()])
        else:
            data = ready.recv(65536)
            if not data:
                self._selector.unregister(ready)
                ready.close()
                return
            self.received.append(data)
            ready.sendall(data.upper())

    def end(self) -> None:
        """Stopped and deleted."""
        self._stopper.send(b"x")
        self._thread.join(5)
        for each in (*self._clients, self._listener, self._screen, self._stop, self._stopper):
            if each is not None:
                each.close()
        if self.bhyve is not None:
            self.bhyve.close()
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()


@contextlib.contextmanager
def guest(instances: Path, uuid: str, screen: bool = False) -> Iterator[FakeGuest]:
    made = FakeGuest(instances, uuid, screen)
    try:
        yield made
    finally:
        made.end()
