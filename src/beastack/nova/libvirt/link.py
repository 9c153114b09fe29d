"""The way to libvirt's daemon: opened when it is needed, with a limit for every call, opened anew when it was lost.

Every call of Connection may be repeated, so one that finds the connection dead is made once more over a new one.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from oslo_log import log as logging

from beastack.nova.libvirt.binding import NoLibvirt
from beastack.nova.libvirt.connection import Connection, LibvirtRefused, NoSuchDomain
from beastack.nova.seam import Unusable

LOG = logging.getLogger(__name__)
T = TypeVar("T")
SECONDS = 60.0
MOST_WAITING = 8


class Unreachable(Unusable):
    """libvirt cannot be asked: nothing is known of its guests, which is not to say that there are none."""


class Link:
    """One connection for all; any thread may ask."""

    def __init__(self, connect: Callable[[], Connection], seconds: float = SECONDS) -> None:
        self._connect, self._seconds = connect, seconds
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._waiting: list[threading.Thread] = []

    def ask(self, call: Callable[[Connection], T], seconds: float | None = None) -> T:
        """What the call returns. Raises Unreachable, LibvirtRefused."""
        for fresh in (False, True):
            connection = self._open(anew=fresh)
            try:
                return self._limited(lambda: call(connection), seconds)  # noqa: B023 called within the turn
            except NoSuchDomain:
                raise
            except TimeoutError as error:
                self._drop(connection)
                raise Unreachable(f"libvirt does not answer: {error}") from error
            except LibvirtRefused as error:
                if self._lives(connection):
                    raise
                self._drop(connection)
                if fresh:
                    raise Unreachable(f"the connection to libvirt was lost: {error}") from error
                LOG.warning("The connection to libvirt was lost (%s); it is opened anew", error)
        raise AssertionError  # the second turn returns or raises

    def _open(self, *, anew: bool) -> Connection:
        with self._lock:
            if self._connection is None:
                try:
                    self._connection = self._limited(self._connect)
                except (LibvirtRefused, NoLibvirt) as error:
                    raise Unreachable(f"libvirt cannot be reached: {error}") from error
                except TimeoutError as error:
                    raise Unreachable(f"libvirt does not answer: {error}") from error
                if anew:
                    LOG.info("libvirt is reached again")
            return self._connection

    def _lives(self, connection: Connection) -> bool:
        try:
            return self._limited(connection.alive)
        except (LibvirtRefused, TimeoutError):
            return False

    def _drop(self, connection: Connection) -> None:
        with self._lock:
            if self._connection is connection:
                self._connection = None
        # closing may wait for the daemon, too: nobody waits for it
        threading.Thread(target=_close, args=(connection,), name="libvirt-close", daemon=True).start()

    def _limited(self, call: Callable[[], T], seconds: float | None = None) -> T:
        """libvirt's calls have no limit of their own: they are made in threads. Raises TimeoutError, at once when too
        many still wait for an answer.
        """
        self._waiting = [each for each in self._waiting if each.is_alive()]
        if len(self._waiting) >= MOST_WAITING:
            raise TimeoutError(f"{len(self._waiting)} calls wait for an answer")
        answer: list[Any] = []

        def work() -> None:
            try:
                answer.extend((True, call()))
            except BaseException as error:  # noqa: BLE001 raised in the caller's thread
                answer.extend((False, error))

        worker = threading.Thread(target=work, name="libvirt", daemon=True)
        worker.start()
        worker.join(seconds or self._seconds)
        if len(answer) < 2:
            self._waiting.append(worker)
            raise TimeoutError(f"no answer within {seconds or self._seconds:.0f} s")
        if not answer[0]:
            raise answer[1]
        return answer[1]


def _close(connection: Connection) -> None:
    try:
        connection.close()
    except LibvirtRefused as error:
        LOG.debug("A lost connection to libvirt: %s", error)
