"""QEMU's machine protocol over a socket pair: commands out, events in."""

import json
import socket
from collections.abc import Iterator


class Qmp:
    """Our end. Nothing is awaited: answers and events come as they come."""

    def __init__(self) -> None:
        self.socket, self.theirs = socket.socketpair()
        self.socket.setblocking(False)
        self._buffer = b""
        self._greeted = False
        self._later: list[str] = []

    def command(self, name: str) -> None:
        """Send a command without arguments, as soon as QEMU listens."""
        if not self._greeted:
            self._later.append(name)
            return
        try:
            self.socket.sendall(json.dumps({"execute": name}).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            return  # it has ended: the caller hears that from its process

    def events(self) -> Iterator[tuple[str, dict[str, object]]]:
        """What has arrived: (event, data). Ends when there is no more for now."""
        while True:
            try:
                data = self.socket.recv(65536)
            except (BlockingIOError, ConnectionResetError):
                return
            if not data:
                return
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "QMP" in message:
                    self._greeted = True
                    self.command("qmp_capabilities")
                    for name in self._later:
                        self.command(name)
                    self._later.clear()
                elif "event" in message:
                    yield str(message["event"]), message.get("data") or {}
