"""Waiting for a condition, never for a time: what was waited for and how long is in the error."""

import http.client
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import amqp

from beastack.cloud import stopping
from beastack.cloud.errors import CloudError, tail


def until(
    what: str, condition: Callable[[], bool], seconds: float, log: Path | None = None, every: float = 0.05
) -> None:
    """Ask ``condition`` every ``every`` seconds until it holds; CloudError with the log's end after ``seconds``.

    Raises stopping.Interrupted when this thread's work is asked to stop.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        stopping.check()
        if time.monotonic() > deadline:
            words = tail(log) if log else ""
            raise CloudError(
                f"waited {seconds:.0f} s for {what}" + (f"; its log ends:\n{words}" if words else ""),
                log=log,
                remedy="mend what the log names and run ./beastack up again: it goes on from here",
            )
        time.sleep(every)


def http_answers(url: str) -> bool:
    """Whether an HTTP server answers at all, with whatever status below 500."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own http address
            return True
    except urllib.error.HTTPError as e:
        return e.code < 500
    except OSError:
        return False


def port_open(address: str, port: int) -> bool:
    """Whether a TCP connection is accepted."""
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def metadata_answers(path: Path) -> bool:
    """Whether the metadata agent answers, which asks the server for an instance first; 404 when there is none."""
    connection = _UnixConnection(path)
    try:
        nobody = {"X-Forwarded-For": "192.0.2.1", "X-Neutron-Network-ID": "00000000-0000-0000-0000-000000000000"}
        connection.request("GET", "/", headers=nobody)
        return connection.getresponse().status == 404
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def broker_serves(address: str, port: int, password: str) -> bool:
    """Whether RabbitMQ lets our user in."""
    try:
        with amqp.Connection(f"{address}:{port}", "beastack", password, connect_timeout=3):
            return True
    except (OSError, amqp.AMQPError):
        return False


def queue_consumed(address: str, port: int, password: str, queue: str) -> bool:
    """Whether somebody consumes the queue (passive declare)."""
    try:
        with (
            amqp.Connection(f"{address}:{port}", "beastack", password, connect_timeout=3) as connection,
            connection.channel() as channel,
        ):
            return bool(channel.queue_declare(queue, passive=True).consumer_count)
    except (OSError, amqp.AMQPError):
        return False
