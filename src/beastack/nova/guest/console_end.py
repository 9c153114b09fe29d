"""Our end of the guest's serial line: a TCP connection to bhyve, or the other side of a null-modem pair."""

import contextlib
import errno
import os
import socket
import tty
from typing import Protocol

from beastack.freebsd.bhyve import Console, TcpConsole

_TCP_SECONDS = 0.2


class Line(Protocol):
    """What both kinds can do, in a socket's words; never blocking."""

    def fileno(self) -> int:
        """For a selector."""

    def recv(self, size: int, /) -> bytes:
        """What is there; empty at the end. BlockingIOError when nothing is there."""

    def send(self, data: bytes | bytearray, /) -> int:
        """How much was taken."""

    def close(self) -> None:
        """Let go."""


class Terminal:
    """A terminal device in raw mode without echo: with echo the guest would hear itself (10-bhyve.txt)."""

    def __init__(self, device: str) -> None:
        self._descriptor = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            tty.setraw(self._descriptor)
            os.fchmod(self._descriptor, 0o600)  # nmdm(4) makes it writable for the group tty
        except tty.error as error:  # type: ignore[attr-defined]  # termios.error, which is no OSError
            self.close()
            raise OSError(errno.ENOTTY, f"{device}: {error}") from error

    def fileno(self) -> int:
        """For a selector."""
        return self._descriptor

    def recv(self, size: int, /) -> bytes:
        """What is there; empty at the end."""
        return os.read(self._descriptor, size)

    def send(self, data: bytes | bytearray, /) -> int:
        """How much was taken."""
        return os.write(self._descriptor, data)

    def close(self) -> None:
        """Let go; the pair goes when bhyve has let go, too."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def other_side(device: str) -> str:
    """The side of the pair that is not bhyve's."""
    return device[:-1] + ("B" if device.endswith("A") else "A")


def tells_when_open(console: Console) -> bool:
    """Whether an open line means that bhyve is there: it binds the port, but either side makes a pair."""
    return isinstance(console, TcpConsole)


def open_line(console: Console) -> Line:
    """One attempt. OSError when bhyve is not there yet."""
    if not isinstance(console, TcpConsole):
        return Terminal(other_side(console.device))
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        client.settimeout(_TCP_SECONDS)
        client.bind((console.address, 0))
        if client.getsockname() == (console.address, console.port):
            raise ConnectionRefusedError("this would connect to itself")
        client.connect((console.address, console.port))
    except OSError:
        client.close()
        raise
    client.setblocking(False)
    return client
