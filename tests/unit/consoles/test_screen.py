"""One screen, several viewers, one writer: the service over an RFB server that takes one client, as bhyve's."""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from beastack.consoles import rfb, screen

from .conftest import Service
from .fakes import HEIGHT, WIDTH, FakeGuest, exactly, guest

UUID = "cccccccc-0c34-4c55-9d1b-0f7a8d7f2f11"
SIZE = 4 * WIDTH * HEIGHT
Services = Callable[..., Service]


class Viewer:
    """A VNC client behind nova's proxy."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        assert exactly(connection, 12) == rfb.VERSION
        connection.sendall(rfb.VERSION)
        assert exactly(connection, 2) == b"\x01\x01"
        connection.sendall(b"\x01")
        assert exactly(connection, 4) == b"\0\0\0\0"
        connection.sendall(b"\x01")
        width, height, _, length = struct.unpack("!HH16sI", exactly(connection, 24))
        self.size, self.name = (width, height), exactly(connection, length)
        connection.sendall(rfb.set_up([rfb.RAW, rfb.DESKTOP_SIZE]))

    def ask(self, incremental: bool) -> None:
        self.socket.sendall(rfb.update_request(incremental, *self.size))

    def update(self) -> bytes:
        """The next update as one picture; the bells before it are counted."""
        while (kind := exactly(self.socket, 1)) == b"\2":
            self.bells = getattr(self, "bells", 0) + 1
        assert kind == b"\0"
        picture = bytearray(4 * self.size[0] * self.size[1])
        for _ in range(struct.unpack("!xH", exactly(self.socket, 3))[0]):
            x, y, width, height, encoding = struct.unpack("!HHHHi", exactly(self.socket, 12))
            if encoding == rfb.DESKTOP_SIZE:
                self.size = width, height
                return b""
            assert (x, width, encoding) == (0, self.size[0], rfb.RAW)
            picture[4 * y * width : 4 * (y + height) * width] = exactly(self.socket, 4 * width * height)
        return bytes(picture)

    def key(self, symbol: int, down: bool = True) -> None:
        self.socket.sendall(rfb.key_event(down, symbol))


@contextmanager
def viewing(service: Service) -> Iterator[Viewer]:
    client, answer = service.connect(service.path("vnc", UUID))
    with client:
        assert answer == b"HTTP/1.1 200 OK"
        client.settimeout(10)
        yield Viewer(client)


@pytest.fixture
def made(instances: Path) -> Iterator[FakeGuest]:
    with guest(instances, UUID, screen=True) as found:
        yield found


def until(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_see_the_same_through_one_client_of_bhyve(services: Services, made: FakeGuest) -> None:
    service = services()
    assert made.bhyve
    with viewing(service) as one, viewing(service) as two:
        assert one.size == two.size == (WIDTH, HEIGHT)
        assert one.name == UUID.encode()
        for viewer in (one, two):
            viewer.ask(False)
            assert viewer.update() == bytes(made.bhyve.picture)
            viewer.ask(True)
        one.key(0x61)
        assert one.update() == two.update() == bytes(made.bhyve.picture)
        assert made.bhyve.clients == 1
    assert made.bhyve.typed[0] == rfb.key_event(True, 0x61)


def test_one_writes_until_it_leaves_and_nothing_stays_pressed(services: Services, made: FakeGuest) -> None:
    service = services()
    assert made.bhyve
    typed = made.bhyve.typed
    with viewing(service) as two:
        with viewing(service) as one:
            one.key(0x61)
            one.socket.sendall(rfb.pointer_event(1, 5, 6))
            until(lambda: len(typed) == 2)
            two.key(0x62)
            two.key(0x63)
            two.socket.sendall(rfb.pointer_event(0, 9, 9) + rfb.pointer_event(1, 9, 9))
            two.ask(False)
            two.update()
            assert two.bells == 1, "told once"
        until(lambda: len(typed) == 4)
        assert typed[:2] == [rfb.key_event(True, 0x61), rfb.pointer_event(1, 5, 6)]
        assert typed[2:] == [rfb.key_event(False, 0x61), rfb.pointer_event(0, 5, 6)]
        two.key(0x64)
        until(lambda: len(typed) == 5)
        assert typed[4] == rfb.key_event(True, 0x64)


def test_a_reboot_of_the_guest_keeps_its_viewers_and_tells_a_new_size(services: Services, made: FakeGuest) -> None:
    service = services()
    bhyve = made.bhyve
    assert bhyve
    with viewing(service) as viewer:
        viewer.ask(False)
        viewer.update()
        bhyve.size = (WIDTH // 2, HEIGHT)
        bhyve.picture = bytearray(b"\x09\x08\x07\0" * (WIDTH // 2 * HEIGHT))
        viewer.ask(True)
        bhyve.drop()
        assert viewer.update() == b""
        assert viewer.size == (WIDTH // 2, HEIGHT)
        until(lambda: bhyve.clients == 2)
        seen = b""
        while seen != bytes(bhyve.picture):
            viewer.ask(True)
            seen = viewer.update()


def test_a_guest_that_ends_lets_its_viewers_go(services: Services, instances: Path) -> None:
    service = services()
    with guest(instances, UUID, screen=True):
        client, _ = service.connect(service.path("vnc", UUID))
        viewer = Viewer(client)
        viewer.ask(False)
        client.settimeout(10)
        viewer.update()
    with client:
        assert client.recv(1) == b""


def test_bhyve_is_let_go_when_nobody_looks(
    services: Services, made: FakeGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "LINGER", 0.1)
    service = services()
    assert made.bhyve
    for turn in (1, 2):
        with viewing(service) as viewer:
            viewer.ask(False)
            assert viewer.update() == bytes(made.bhyve.picture)
            viewer.ask(True)  # nothing will change: bhyve does not answer
            time.sleep(0.2)
        until(lambda: not any(each.busy for each in service.door.screens.values()))
        assert made.bhyve.clients == turn


def test_a_viewer_that_does_not_read_keeps_nobody_waiting(services: Services, made: FakeGuest) -> None:
    service = services()
    assert made.bhyve
    with viewing(service) as lazy, viewing(service) as other:
        lazy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(500):
            lazy.ask(False)
        for number in range(20):
            other.ask(False)
            assert len(other.update()) == SIZE
            other.key(0x61 + number)


def test_noise_ends_only_who_makes_it(services: Services, made: FakeGuest) -> None:
    service = services()
    with viewing(service) as good, viewing(service) as bad:
        bad.socket.sendall(b"\xfe" * 100)
        try:
            while bad.socket.recv(4096):
                pass
        except ConnectionResetError:
            pass  # what it sent was not read to the end
        good.ask(False)
        assert len(good.update()) == SIZE


def test_a_guest_that_is_paused_does_not_make_the_service_grow(services: Services, made: FakeGuest) -> None:
    """Its bhyve reads nothing while a viewer types and types."""
    service = services()
    assert made.bhyve
    with viewing(service) as viewer:
        viewer.ask(False)
        viewer.update()
        made.bhyve.runs.clear()
        viewer.socket.sendall((rfb.key_event(True, 0x61) + rfb.key_event(False, 0x61)) * 100_000)
        viewer.ask(False)
        shown = service.door.screens[UUID]
        until(lambda: shown._bhyve is not None and shown._bhyve.transport.get_write_buffer_size() > 0)
        with viewing(service) as other:
            assert other.size == (WIDTH, HEIGHT)
        assert shown._bhyve is not None
        assert shown._bhyve.transport.get_write_buffer_size() < 128 * 1024
        made.bhyve.runs.set()


def test_who_presses_every_key_is_sent_away(services: Services, made: FakeGuest) -> None:
    service = services()
    with viewing(service) as viewer:
        for symbol in range(200):
            viewer.key(symbol)
        with pytest.raises((EOFError, ConnectionError)):
            exactly(viewer.socket, 1)
    until(lambda: made.bhyve is not None and made.bhyve.typed.count(rfb.key_event(False, 63)) == 1)
