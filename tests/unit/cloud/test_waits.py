import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from beastack.cloud import waits
from beastack.cloud.errors import CloudError


def test_what_was_waited_for_is_in_the_error_with_the_logs_end(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("first\nthe cause\n")
    with pytest.raises(CloudError, match="for the moon; its log ends:\nfirst\nthe cause") as raised:
        waits.until("the moon", lambda: False, 0.1, log)
    assert raised.value.log == log


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[tuple[Path, list[bytes]]]:
    """A metadata agent that answers with what is put into the list, in order."""
    path, answers = tmp_path / "s", [b""]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            with client:
                request = client.recv(4096)
                assert b"X-Neutron-Network-ID: 0000" in request
                client.sendall(answers[0])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield path, answers
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", False),
        (b"", False),
        (b"garbage\r\n\r\n", False),
    ],
)
def test_the_metadata_agent_is_ready_when_it_does_not_know_nobody(
    agent: tuple[Path, list[bytes]], answer: bytes, ready: bool
) -> None:
    path, answers = agent
    answers[0] = answer
    assert waits.metadata_answers(path) is ready


def test_no_socket_is_not_ready(tmp_path: Path) -> None:
    assert not waits.metadata_answers(tmp_path / "none")
