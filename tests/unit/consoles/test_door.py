"""Who comes in, and to which guest: the service as it runs, over guests' folders."""

import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Service
from .fakes import FakeGuest, exactly, guest

A, B = "aaaaaaaa-0c34-4c55-9d1b-0f7a8d7f2f11", "bbbbbbbb-0c34-4c55-9d1b-0f7a8d7f2f11"
Services = Callable[..., Service]


def until(client: socket.socket, text: bytes) -> bytes:
    seen = b""
    while text not in seen:
        got = client.recv(4096)
        assert got, f"ended without {text!r}: {seen!r}"
        seen += got
    return seen


def test_a_ticket_opens_its_guest_and_no_other(services: Services, instances: Path) -> None:
    service = services()
    with guest(instances, A), guest(instances, B):
        for one, other in ((A, B), (B, A)):
            client, answer = service.connect(service.path("serial", one))
            with client:
                assert answer == b"HTTP/1.1 200 OK"
                client.sendall(b"who\n")
                seen = until(client, b"WHO\n")
            assert one.encode() in seen
            assert other.encode() not in seen


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda path: path[:-1] + ("0" if path[-1] != "0" else "1"), b"403"),
        (lambda path: path.replace(A, B), b"403"),
        (lambda path: path.replace("/serial/", "/vnc/"), b"403"),
        (lambda _: "/", b"403"),
        (lambda path: path + " x", b"400"),
        (lambda path: path + "\r\n" + "h: " + "x" * 70000, b"400"),
    ],
)
def test_anything_but_a_ticket_is_refused_in_words(
    services: Services, instances: Path, change: Callable[[str], str], status: bytes
) -> None:
    service = services()
    with guest(instances, A), guest(instances, B) as other:
        client, answer = service.connect(change(service.path("serial", A)))
        with client:
            assert answer.split()[1] == status
            assert client.recv(10) == b""
        assert other.received == []


def test_an_expired_ticket_is_refused(services: Services, instances: Path) -> None:
    service = services()
    with guest(instances, A):
        client, answer = service.connect(service.path("serial", A, seconds=0))
        client.close()
    assert answer == b"HTTP/1.1 403 Forbidden"


@pytest.mark.parametrize("kind", ["serial", "vnc"])
def test_a_guest_that_is_not_there_is_an_answer_too(services: Services, instances: Path, kind: str) -> None:
    """nova's proxy waits for one for ever."""
    service = services()
    client, answer = service.connect(service.path(kind, A))  # type: ignore[arg-type]
    client.close()
    assert answer == b"HTTP/1.1 404 Not there"


def test_who_is_not_on_the_list_hears_nothing(services: Services, instances: Path) -> None:
    service = services()
    with guest(instances, A), pytest.raises(ConnectionError):
        client, answer = service.connect(service.path("serial", A), source="127.0.0.2")
        client.close()
        assert not answer
        raise ConnectionAbortedError


def test_a_console_that_ends_ends_its_viewers(services: Services, instances: Path) -> None:
    service = services()
    with guest(instances, A):
        client, _ = service.connect(service.path("serial", A))
        until(client, b"\r\n")
    with client:
        client.settimeout(10)
        assert client.recv(10) == b""


def test_tickets_survive_a_restart_of_the_service(services: Services, instances: Path) -> None:
    first = services()
    path = first.path("serial", A)
    first.end()
    with guest(instances, A):
        client, answer = services().connect(path)
        with client:
            assert answer == b"HTTP/1.1 200 OK"
            until(client, A.encode())


def test_much_that_is_typed_arrives_in_order(services: Services, instances: Path) -> None:
    service = services()
    text = bytes(range(97, 123)) * 40000
    with guest(instances, A):
        client, _ = service.connect(service.path("serial", A))
        with client:
            until(client, b"\r\n")
            threading.Thread(target=client.sendall, args=(text,), daemon=True).start()
            client.settimeout(20)
            assert exactly(client, len(text)) == text.upper()


def test_a_console_never_shows_anothers_while_guests_come_and_go(services: Services, instances: Path) -> None:
    """Guests are made and deleted as fast as it goes, while viewers with a ticket for one of them come in."""
    service = services()
    names = [str(uuid.uuid4()) for _ in range(6)]
    stop = time.monotonic() + 4
    wrong: list[str] = []
    shown: list[str] = []

    def live(name: str) -> None:
        while time.monotonic() < stop:
            made = FakeGuest(instances, name)
            time.sleep(0.02)  # its life
            made.end()

    def look(name: str) -> None:
        while time.monotonic() < stop:
            try:
                client, answer = service.connect(service.path("serial", name))
            except OSError as error:
                wrong.append(f"no answer for {name}: {error}")
                continue
            with client:
                client.settimeout(5)
                seen = b""
                try:
                    while b"\r\n" not in seen and (got := client.recv(4096)):
                        seen += got
                except ConnectionError:
                    pass  # the guest was deleted
            if answer.endswith(b"200 OK"):
                if any(other.encode() in seen for other in names if other != name):
                    wrong.append(f"{name} saw {seen!r}")
                elif name.encode() in seen:
                    shown.append(name)
            elif b"404" not in answer:
                wrong.append(f"{name}: {answer!r}")

    threads = [threading.Thread(target=job, args=(name,)) for name in names for job in (live, look)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert set(shown) == set(names), "every guest was looked at"
