"""Telling nova when a guest ends by itself: one thread that listens to the supervisors' control sockets."""

import json
import selectors
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from oslo_log import log as logging

from beastack.privsep.guest_files import (
    CONTROL,
    END_STATES,
    GuestFileError,
    GuestState,
    connected,
    current_state,
    wait_unsupervised,
)

LOG = logging.getLogger(__name__)
_CONNECT_SECONDS = 10.0


class GuestWatch:
    """Calls `ended(uuid, state)` from its own thread when a watched guest has ended and nobody asked for
    it.
    """

    def __init__(self, instances: Path, ended: Callable[[str, GuestState], None]) -> None:
        self._instances = instances
        self._ended = ended
        self._lock = threading.Lock()
        self._watched: dict[str, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ, "")
        self._thread: threading.Thread | None = None

    def add(self, uuid: str) -> None:
        """Watch a guest from now on; one that does not run is not watched."""
        try:
            with connected(self._instances / uuid, CONTROL, _CONNECT_SECONDS) as client:
                client.sendall(b'{"do": "watch"}\n')
                own = client.dup()
        except (GuestFileError, OSError) as error:
            LOG.debug("Guest %s is not watched: %s", uuid, error)
            return
        own.setblocking(False)
        with self._lock:
            former = self._watched.pop(uuid, None)
            self._watched[uuid] = own
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="beastack-guests", daemon=True)
                self._thread.start()
            if former is not None:
                former.shutdown(socket.SHUT_RDWR)  # the loop sees its end and closes it
            self._selector.register(own, selectors.EVENT_READ, uuid)
        self._waker.send(b"x")  # a selector of kqueue(2) sees a new descriptor by itself; poll(2) does not

    def _loop(self) -> None:
        while True:
            for key, _ in self._selector.select():
                try:
                    self._event(key)
                except Exception:
                    LOG.exception("Watching guest %s failed", key.data)

    def _event(self, key: selectors.SelectorKey) -> None:
        client = key.fileobj
        if not isinstance(client, socket.socket):
            return
        try:
            data = client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data or client is self._wake:
            return  # a change of state: only the end matters here
        uuid = str(key.data)
        with self._lock:
            self._selector.unregister(client)
            current = self._watched.get(uuid) is client
            if current:
                del self._watched[uuid]
        client.close()
        if current:
            self._report(uuid)

    def _report(self, uuid: str) -> None:
        folder = self._instances / uuid
        wait_unsupervised(folder, 5.0)
        state = current_state(folder) if folder.is_dir() else None
        if state is not None and state.state in END_STATES and not state.asked:
            LOG.info("Guest %s ended: %s (%s)", uuid, state.state, json.dumps(state.reason))
            self._ended(uuid, state)
