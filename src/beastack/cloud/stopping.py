"""Being asked to stop (Ctrl-C, SIGTERM, a closed terminal) while much is under way.

``caught`` turns the signals into an event. The graph binds it to each task's thread, and everything that waits there
calls ``check``. Nothing is interrupted in its middle, and a second Ctrl-C cannot interrupt the cleaning up.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import FrameType

from beastack.cloud.errors import CloudError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_bound: ContextVar[threading.Event | None] = ContextVar("stop", default=None)


class Interrupted(CloudError):
    """What was under way has been stopped on request; the exit status is the shell's for the signal."""

    def __init__(self, message: str = "interrupted", *, signal_number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.status = 128 + signal_number


class Stop(threading.Event):
    """Set when a signal came: the first one's number is ``number``."""

    number: int = signal.SIGINT

    @property
    def signal_name(self) -> str:
        """SIGINT, SIGTERM or SIGHUP."""
        return signal.Signals(self.number).name


@contextmanager
def caught() -> Iterator[Stop]:
    """While inside, signals set the event, and standard error says so."""
    stop = Stop()

    def handler(number: int, _frame: FrameType | None) -> None:
        words = "still stopping" if stop.is_set() else f"{signal.Signals(number).name}: stopping"
        if not stop.is_set():
            stop.number = number
        stop.set()
        with suppress(OSError):  # the terminal may be gone
            # not by the progress: the code that this interrupts may hold its lock
            os.write(2, f"\nbeastack: {words}, cleaning up\n".encode())

    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def bind(stop: threading.Event | None) -> None:
    """Let ``check`` of this thread look at ``stop``."""
    _bound.set(stop)


def asked() -> bool:
    """Whether this thread's work was asked to stop."""
    stop = _bound.get()
    return stop is not None and stop.is_set()


def check() -> None:
    """Raise Interrupted when this thread's work was asked to stop."""
    if asked():
        raise Interrupted
