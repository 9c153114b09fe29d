"""`beastack-guest line`: holds the serial line of a guest that somebody else runs (libvirt), and nothing more.

It is on the other side of the null-modem pair from before the guest starts until it is told to end (SIGTERM): what the
guest writes goes to the log and to every viewer on console.sock, as on the native path. A guest may end and start
again meanwhile. Standard library only.
"""

import contextlib
import os
import selectors
import signal
import socket
import time
from pathlib import Path

from beastack.freebsd.bhyve import NmdmConsole
from beastack.nova.guest.console import ConsoleHub
from beastack.nova.guest.journal import Journal
from beastack.privsep.guest_files import CONSOLE, CONSOLE_LOG


class LineHolder:
    """Runs in the guest's folder, holding line.lock, until it is told to end."""

    def __init__(self, device: str, owner: int | None) -> None:
        self._owner = owner
        self._selector = selectors.DefaultSelector()
        journal = Journal(CONSOLE_LOG, owner=owner)
        self._hub = ConsoleHub(self._selector, journal, NmdmConsole(device), lambda: None)
        self._ending = False

    def listen(self) -> None:
        """Open console.sock in the working directory, and the line."""
        self._hub.listen(CONSOLE, self._owner)
        now = time.monotonic()
        self._hub.expect(now)
        self._hub.try_connect(now)

    def run(self) -> None:
        """Until SIGTERM."""
        wake, waker = socket.socketpair()
        for end in (wake, waker):
            end.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        self._selector.register(wake, selectors.EVENT_READ, lambda _m, _n: self._woken(wake))
        while not self._ending:
            for key, mask in self._selector.select(self._patience()):
                key.data(mask, time.monotonic())
            self._hub.try_connect(time.monotonic())
        self._hub.bhyve_ended()  # the last words
        self._hub.close()
        with contextlib.suppress(FileNotFoundError):
            Path(CONSOLE).unlink()

    def _patience(self) -> float | None:
        due = self._hub.next_try()
        return None if due is None else max(0.0, due - time.monotonic())

    @staticmethod
    def _woken(wake: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wake.fileno(), 64)

    def _end(self, _number: int, _frame: object) -> None:
        self._ending = True
