"""control.sock: one JSON request a connection, answered by states as JSON lines.

{"do": "status"}                  one answer, then the connection ends
{"do": "watch"}                   the state now and at every change, until the supervisor ends
{"do": "stop", "grace": seconds}  the same, after the request was taken
{"do": "reset"}                   the same
{"do": "pause"}, {"do": "resume"} the same; a guest that cannot be paused or resumed now is an error
{"do": "hold"}                    the same; the guest stands still until this connection ends, whoever ends it
"""

import json
import selectors
import socket
from collections.abc import Callable
from dataclasses import asdict
from typing import Protocol

from beastack.nova.guest.console import Selector, unix_listener
from beastack.privsep.guest_files import GuestState

_MAX_CLIENTS = 32
_MAX_REQUEST = 4096
MAX_GRACE = 3600


class Actions(Protocol):
    """What the supervisor offers."""

    def stop(self, grace: float) -> None:
        """Press the power button; by force after `grace` seconds."""

    def reset(self) -> None:
        """Press the reset button."""

    def pause(self) -> None:
        """Stop the guest's processors. ValueError when it does not run."""

    def resume(self) -> None:
        """Let a paused guest run. ValueError when it is not paused."""

    def hold(self) -> None:
        """Stop the guest's processors for a moment. ValueError when it does not run."""

    def release(self) -> None:
        """The end of one `hold`."""


class ControlServer:
    """Owns control.sock; driven by the supervisor's loop."""

    def __init__(self, selector: Selector, state: Callable[[], GuestState], actions: Actions) -> None:
        self._selector = selector
        self._state = state
        self._actions = actions
        self._listener: socket.socket | None = None
        self._watchers: dict[socket.socket, bytearray] = {}
        self._holders: set[socket.socket] = set()

    def listen(self, name: str, owner: int | None) -> None:
        """Open control.sock."""
        self._listener = unix_listener(name, owner)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def publish(self) -> None:
        """Tell every watcher the state."""
        for client, request in list(self._watchers.items()):
            if not request:
                self._answer(client)

    def _accept(self, _mask: int, _now: float) -> None:
        if self._listener is None:
            return
        try:
            client, _ = self._listener.accept()
        except OSError:  # it left again
            return
        if len(self._watchers) >= _MAX_CLIENTS:
            client.close()
            return
        client.setblocking(False)
        self._watchers[client] = bytearray(b" ")  # not empty: its request has not come yet
        self._selector.register(client, selectors.EVENT_READ, lambda _m, _n: self._read(client))

    def _read(self, client: socket.socket) -> None:
        request = self._watchers.get(client)
        if request is None:
            return
        try:
            data = client.recv(_MAX_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or not request or len(request) + len(data) > _MAX_REQUEST:
            self._drop(client)  # it left, or speaks when it should listen
            return
        request += data
        if b"\n" in data:
            self._take(client, bytes(request))

    def _take(self, client: socket.socket, line: bytes) -> None:
        try:
            request = json.loads(line)
            do = request["do"]
            if do == "stop":
                grace = float(request["grace"])
                if not 0 <= grace <= MAX_GRACE:
                    raise ValueError(f"grace is not between 0 and {MAX_GRACE}")
                self._actions.stop(grace)
            elif do in ("reset", "pause", "resume"):
                getattr(self._actions, do)()
            elif do == "hold":
                self._actions.hold()
                self._holders.add(client)
            elif do not in ("status", "watch"):
                raise ValueError(f"unknown request {do!r}")
        except (ValueError, KeyError, TypeError) as error:
            self._send(client, {"error": str(error)})
            self._drop(client)
            return
        if client not in self._watchers:  # the action ended everything
            return
        self._watchers[client] = bytearray()
        self._answer(client)
        if do == "status":
            self._drop(client)

    def _answer(self, client: socket.socket) -> None:
        self._send(client, {"state": asdict(self._state())})

    def _send(self, client: socket.socket, answer: dict[str, object]) -> None:
        try:
            client.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:  # gone, or so far behind that its buffer is full
            self._drop(client)

    def _drop(self, client: socket.socket) -> None:
        if self._watchers.pop(client, None) is not None:
            self._selector.unregister(client)
            client.close()
        if client in self._holders:
            self._holders.remove(client)
            self._actions.release()

    def close(self) -> None:
        """Let everyone go."""
        for client in list(self._watchers):
            self._drop(client)
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
