"""The serial ports: TCP as bhyve serves it, a terminal device, a null-modem pair, or standard input and output.

On TCP a guest waits for nobody, what it says without a client is lost, the first client has the port until it
leaves, and another one is told so and dropped (13-bhyve-run.txt, 15-bhyve-uefi.txt).
"""

import errno
import os
import re
import selectors
import socket
import sys
import tty
from collections.abc import Callable
from pathlib import Path

from beastack.sim.bhyve.errors import device_failed

_CHUNK = 65536
_KEEP = 1 << 20  # bytes for a slow client; more are lost
_NMDM = re.compile(r"/dev/nmdm(\w+)([AB])")
BUSY = b"Socket already connected\n\0"

Selector = selectors.BaseSelector


class Port:
    """One serial port: QEMU on the one side, somebody or nobody on the other."""

    def __init__(self, selector: Selector) -> None:
        self.guest, self.theirs = socket.socketpair()
        self.guest.setblocking(False)
        self._selector = selector
        self._outside = -1
        self._pending = bytearray()
        selector.register(self.guest, selectors.EVENT_READ, self._from_guest)

    def attach(self, descriptor: int) -> None:
        """Somebody is there."""
        os.set_blocking(descriptor, False)
        self._outside = descriptor
        self._selector.register(descriptor, selectors.EVENT_READ, self._from_outside)

    def detach(self) -> None:
        """Nobody is there any more."""
        if self._outside >= 0:
            self._selector.unregister(self._outside)
            self._outside = -1
            self._pending.clear()
            self.left()

    def left(self) -> None:
        """Called when the other side has gone."""

    def close(self) -> None:
        """Give up what was opened outside."""

    @property
    def taken(self) -> bool:
        """Whether somebody is there."""
        return self._outside >= 0

    def _write(self, data: bytes) -> int:
        return os.write(self._outside, data)

    def _from_guest(self, _mask: int) -> None:
        try:
            data = self.guest.recv(_CHUNK)
        except (BlockingIOError, ConnectionResetError):
            return
        if not data:
            self._selector.unregister(self.guest)
        elif self._outside >= 0 and len(self._pending) < _KEEP:
            self._pending += data
            self._flush()

    def _flush(self) -> None:
        try:
            while self._pending:
                del self._pending[: self._write(bytes(self._pending[:_CHUNK]))]
        except BlockingIOError:
            self._selector.modify(self._outside, selectors.EVENT_READ | selectors.EVENT_WRITE, self._from_outside)
            return
        except OSError:
            self.detach()
            return
        self._selector.modify(self._outside, selectors.EVENT_READ, self._from_outside)

    def _from_outside(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._flush()
        if not mask & selectors.EVENT_READ or self._outside < 0:
            return
        try:
            data = os.read(self._outside, 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.detach()
            return
        try:
            self.guest.send(data)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return  # the guest does not read: lost, as in a full receive buffer


class TcpPort(Port):
    """`tcp=ADDRESS:PORT`."""

    def __init__(self, selector: Selector, com: str, where: str) -> None:
        super().__init__(selector)
        address, _, number = where.removeprefix("tcp=").rpartition(":")
        self._client: socket.socket | None = None
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._server = socket.socket(family, socket.SOCK_STREAM)
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        failed = f"Unable to initialize backend '{where}' for LPC device {com}"
        try:
            self._server.bind((address.strip("[]"), int(number)))
            self._server.listen(1)
        except (ValueError, OverflowError, socket.gaierror) as error:
            raise device_failed(failed, os.strerror(errno.EINVAL)) from error
        except OSError as error:
            words = f"bhyve: bind({address}:{number}): {error.strerror}\n{failed}"
            raise device_failed(words, error.strerror or "") from error
        self._server.setblocking(False)
        selector.register(self._server, selectors.EVENT_READ, self._accept)

    def _accept(self, _mask: int) -> None:
        try:
            client, _ = self._server.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        if self.taken:
            client.setblocking(False)
            try:
                client.send(BUSY)
            except OSError:
                return  # it has gone before it could be told
            finally:
                client.close()
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self.attach(client.fileno())

    def left(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class DevicePort(Port):
    """A terminal device by its path, or one side of a null-modem pair that is made by opening it."""

    def __init__(self, selector: Selector, com: str, path: str) -> None:
        super().__init__(selector)
        self._links: list[Path] = []
        failed = f"Unable to initialize backend '{path}' for LPC device {com}"
        try:
            descriptor = self._open(path)
            os.set_inheritable(descriptor, False)
            if not os.isatty(descriptor):
                raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
            tty.setraw(descriptor)
        except OSError as error:
            reason = "Inappropriate ioctl for device" if error.errno in (errno.ENOTTY, errno.ENXIO) else error.strerror
            raise device_failed(failed, reason or "") from error
        self.attach(descriptor)

    def _open(self, path: str) -> int:
        pair = _NMDM.fullmatch(path)
        if pair is None or Path(path).exists():
            return os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        ours, theirs = os.openpty()
        tty.setraw(theirs)
        other = Path(f"/dev/nmdm{pair[1]}{'B' if pair[2] == 'A' else 'A'}")
        other.symlink_to(os.ttyname(theirs))
        self._links.append(other)
        return ours  # `theirs` stays open here, so that the pair lives while its far side is closed

    def close(self) -> None:
        for link in self._links:
            link.unlink(missing_ok=True)


class StdioPort(Port):
    """`stdio`: reads what is typed to bhyve, and writes to its output."""

    def __init__(self, selector: Selector) -> None:
        super().__init__(selector)
        self._typed = sys.stdin.fileno()
        self._said = sys.stdout.fileno()
        self._saved: list[object] | None = None
        if os.isatty(self._typed):
            import termios

            self._saved = termios.tcgetattr(self._typed)
            tty.setraw(self._typed)
        try:
            selector.register(self._typed, selectors.EVENT_READ, self._read)
        except PermissionError:
            return  # a file or /dev/null: nobody types

    def _read(self, _mask: int) -> None:
        data = os.read(self._typed, 4096)
        if not data:
            self._selector.unregister(self._typed)
            return
        try:
            self.guest.send(data)
        except (BlockingIOError, BrokenPipeError):
            return

    def _from_guest(self, _mask: int) -> None:
        try:
            data = self.guest.recv(_CHUNK)
        except (BlockingIOError, ConnectionResetError):
            return
        if not data:
            self._selector.unregister(self.guest)
        while data:
            data = data[os.write(self._said, data) :]

    def close(self) -> None:
        if self._saved is not None:
            import termios

            termios.tcsetattr(self._typed, termios.TCSANOW, self._saved)  # type: ignore[arg-type]


def make(selector: Selector, com: str, where: str) -> Port:
    """The port of an `-l comN,WHERE`; ends as bhyve does when that cannot be."""
    kinds: dict[str, Callable[[], Port]] = {
        "tcp": lambda: TcpPort(selector, com, where),
        "stdio": lambda: StdioPort(selector),
    }
    kind = "tcp" if where.startswith("tcp=") else where
    return kinds[kind]() if kind in kinds else DevicePort(selector, com, where)
