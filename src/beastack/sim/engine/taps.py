"""Owns who holds a tap open: the two datagram sockets that are the guest's cable, and the watch on its process."""

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

from beastack.sim.net.interface import Interface

# In the host's own /dev: short enough for a socket's name, unseen outside, gone with the host.
FOLDER = Path("/dev/.sim")


class Holder:
    """A process that has /dev/tapN open, with the socket on our side of its cable."""

    def __init__(self, interface: Interface, pid: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        FOLDER.mkdir(mode=0o700, exist_ok=True)
        self.engine_path = str(FOLDER / f"{interface.device}.engine")
        self.guest_path = str(FOLDER / f"{interface.device}.guest")
        self._remove_paths()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self.socket.bind(self.engine_path)

    def send(self, frame: bytes) -> bool:
        """False when the guest is not there yet or does not keep up: the frame is lost, as on a wire."""
        try:
            self.socket.sendto(frame, self.guest_path)
        except OSError:
            return False
        return True

    def close(self) -> None:
        self.socket.close()
        os.close(self.pidfd)
        self._remove_paths()

    def _remove_paths(self) -> None:
        for path in (self.engine_path, self.guest_path):
            with contextlib.suppress(FileNotFoundError):
                Path(path).unlink()


class Taps:
    """Opens and closes taps; `closed` is called when a holder has ended."""

    def __init__(
        self,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
        read: Callable[[Interface, socket.socket], None],
        closed: Callable[[Interface], None],
    ) -> None:
        self._watch, self._unwatch, self._read, self._closed = watch, unwatch, read, closed

    def open(self, interface: Interface, pid: int) -> Holder:
        holder = Holder(interface, pid)
        interface.holder = holder
        self._watch(holder.socket.fileno(), lambda: self._read(interface, holder.socket))
        self._watch(holder.pidfd, lambda: self.close(interface))
        return holder

    def close(self, interface: Interface) -> None:
        """The holder is gone: no carrier, down, no addresses; a bridge member it stays."""
        holder = interface.holder
        if holder is None:
            return
        self._unwatch(holder.socket.fileno())
        self._unwatch(holder.pidfd)
        holder.close()
        interface.holder = None
        self._closed(interface)
