"""The serial console: from bhyve's end of the line to the journal and to every viewer on `console.sock`.

bhyve's own console (`-l com1,tcp=…`, 15-bhyve-uefi.txt) takes one client, forgets what came before that
client, and drops it at each restart. So this hub is that one client from the first moment: it tries the port
every few milliseconds until bhyve has bound it. Every viewer sees everything; who types first is the writer until it
leaves or is quiet for a while (beastack.consoles.pen).
"""

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from beastack.consoles.pen import Pen
from beastack.freebsd.bhyve import Console
from beastack.nova.guest.console_end import Line, open_line, tells_when_open
from beastack.nova.guest.journal import Journal

RETRY = 0.005  # until bhyve has bound its port
RETRY_LATER = 0.25  # when it was connected already, or does not come
EAGER_SECONDS = 60.0
MAX_VIEWERS = 32
VIEWER_BUFFER = 256 * 1024
INPUT_BUFFER = 16 * 1024
_CHUNK = 64 * 1024

Selector = selectors.BaseSelector


class Viewer:
    """One connection to console.sock."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.pending = bytearray()
        self.reads = True  # until it has shut its sending side
        self.told = False

    def events(self, room: bool) -> int:
        """What to wait for."""
        return (selectors.EVENT_READ if self.reads and room else 0) | (selectors.EVENT_WRITE if self.pending else 0)


class ConsoleHub:
    """Owns the connection to bhyve and the viewers; driven by the supervisor's loop."""

    def __init__(self, selector: Selector, journal: Journal, console: Console, on_connect: Callable[[], None]) -> None:
        self._selector = selector
        self._journal = journal
        self._place = console
        self._on_connect = on_connect
        self._listener: socket.socket | None = None
        self._guest: Line | None = None
        self._heard = False
        self._to_guest = bytearray()
        self._viewers: list[Viewer] = []
        self._pen = Pen()
        self._next_try: float | None = None
        self._eager_until = 0.0

    def listen(self, name: str, owner: int | None) -> None:
        """Open console.sock (the supervisor's folder is its working directory)."""
        self._listener = unix_listener(name, owner)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    # -- bhyve's side

    def expect(self, now: float) -> None:
        """bhyve was started: connect as soon as it has bound its port."""
        self._to_guest.clear()
        self._next_try, self._eager_until = now, now + EAGER_SECONDS

    def next_try(self) -> float | None:
        """When `try_connect` wants to be called."""
        return self._next_try

    def try_connect(self, now: float) -> None:
        """One attempt; on the loop-back interface it is answered at once."""
        if self._next_try is None or now < self._next_try:
            return
        self._next_try = now + (RETRY if now < self._eager_until else RETRY_LATER)
        try:
            line = open_line(self._place)
        except OSError:  # not there yet: the next attempt is planned
            return
        self._next_try = None
        self._guest = line
        self._heard = tells_when_open(self._place)
        self._selector.register(line.fileno(), selectors.EVENT_READ, self._from_guest)
        self._update_guest()
        if self._heard:
            self._on_connect()

    def _from_guest(self, mask: int, now: float) -> None:
        if self._guest is None:
            return
        if mask & selectors.EVENT_WRITE and self._to_guest:
            try:
                del self._to_guest[: self._guest.send(self._to_guest)]
            except BlockingIOError:
                mask &= ~selectors.EVENT_WRITE
            except OSError:
                self._to_guest.clear()
            self._update_guest()
        if mask & selectors.EVENT_READ and not self._receive():
            self._drop_guest()
            self._next_try = now + RETRY_LATER

    def _receive(self, *, last: bool = False) -> bool:
        """Take what is there; False at the end of the connection, and when nothing is there any more at the last."""
        assert self._guest is not None  # noqa: S101
        try:
            data = self._guest.recv(_CHUNK)
        except BlockingIOError:
            return not last
        except OSError:
            return False
        if data:
            self._journal.append(data)
            self._show(data)
            if not self._heard:
                self._heard = True
                self._on_connect()
        return bool(data)

    def _update_guest(self) -> None:
        if self._guest is not None:
            write = selectors.EVENT_WRITE if self._to_guest else 0
            self._selector.modify(self._guest.fileno(), selectors.EVENT_READ | write, self._from_guest)
        for viewer in list(self._viewers):
            self._update(viewer)

    def _drop_guest(self) -> None:
        if self._guest is not None:
            self._selector.unregister(self._guest.fileno())
            self._guest.close()
            self._guest = None

    def bhyve_ended(self) -> None:
        """Take the last words, which the kernel still holds, and let go."""
        for _ in range(256):
            if self._guest is None or not self._receive(last=True):
                break
        self._drop_guest()
        self._next_try = None

    # -- the viewers' side

    def note(self, text: str) -> None:
        """Tell the log and every viewer something that the guest did not say."""
        data = f"\r\n[beastack: {text}]\r\n".encode()
        self._journal.append(data)
        self._show(data)

    def _accept(self, _mask: int, _now: float) -> None:
        if self._listener is None:
            return
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it left again
            return
        if len(self._viewers) >= MAX_VIEWERS:
            connection.close()
            return
        connection.setblocking(False)
        viewer = Viewer(connection)
        self._viewers.append(viewer)
        self._selector.register(connection, selectors.EVENT_READ, self._viewer_event(viewer))
        self._send(viewer, self._journal.recent)

    def _viewer_event(self, viewer: Viewer) -> Callable[[int, float], None]:
        def handle(mask: int, _now: float) -> None:
            if mask & selectors.EVENT_WRITE and viewer in self._viewers:
                self._send(viewer, b"")
            if mask & selectors.EVENT_READ and viewer in self._viewers:
                self._from_viewer(viewer)

        return handle

    def _from_viewer(self, viewer: Viewer) -> None:
        try:
            data = viewer.socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            self._drop(viewer)
            return
        if not data:  # it may still listen
            viewer.reads = False
            self._pen.leave(viewer)
            self._update(viewer)
            return
        if self._pen.take(viewer, time.monotonic()):
            viewer.told = False
            self._to_guest += data
            self._update_guest()
        elif not viewer.told:
            viewer.told = True
            self._send(viewer, b"\r\n[beastack: another viewer is typing; you may read]\r\n")

    def _show(self, data: bytes) -> None:
        for viewer in list(self._viewers):
            self._send(viewer, data)

    def _send(self, viewer: Viewer, data: bytes) -> None:
        viewer.pending += data
        try:
            if viewer.pending:
                del viewer.pending[: viewer.socket.send(viewer.pending)]
        except BlockingIOError:
            if len(viewer.pending) > VIEWER_BUFFER:  # it does not read: neither the guest nor the others wait for it
                viewer.pending[: -VIEWER_BUFFER // 2] = b"\r\n[beastack: output was skipped]\r\n"
        except OSError:
            self._drop(viewer)
            return
        self._update(viewer)

    def _update(self, viewer: Viewer) -> None:
        events = viewer.events(len(self._to_guest) < INPUT_BUFFER)
        handler = self._viewer_event(viewer)
        registered = viewer.socket in self._selector.get_map()
        if events and registered:
            self._selector.modify(viewer.socket, events, handler)
        elif events:
            self._selector.register(viewer.socket, events, handler)
        elif registered:
            self._selector.unregister(viewer.socket)

    def _drop(self, viewer: Viewer) -> None:
        if viewer.socket in self._selector.get_map():
            self._selector.unregister(viewer.socket)
        viewer.socket.close()
        self._viewers.remove(viewer)
        self._pen.leave(viewer)

    def close(self) -> None:
        """Let everyone go; what is buffered for a viewer is tried once more."""
        for viewer in list(self._viewers):
            self._send(viewer, b"")
        for viewer in list(self._viewers):
            self._drop(viewer)
        self._drop_guest()
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()


# the mask is the whole process's: two threads that change it at once would leave it changed
_MASK = threading.Lock()


def unix_listener(name: str, owner: int | None) -> socket.socket:
    """A listening unix socket of mode 0600 in the working directory; a file left behind is replaced."""
    with contextlib.suppress(FileNotFoundError):
        Path(name).unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _MASK:
        before = os.umask(0o177)
        try:
            if owner is not None:
                # made as the owner's: by the time of a chown(2) the name could mean a file of root's
                os.seteuid(owner)
            listener.bind(name)
        finally:
            if owner is not None:
                os.seteuid(0)
            os.umask(before)
    listener.listen(16)
    listener.setblocking(False)
    return listener
