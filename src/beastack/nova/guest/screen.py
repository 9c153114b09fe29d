"""screen.sock: hands a connection to bhyve's frame buffer over to whoever asks for the guest's screen.

bhyve's frame buffer is root's: a unix socket in a folder of root's, or a port of the loop-back interface. The console
service is not root; it gets the open connection itself (SCM_RIGHTS, unix(4)), and this process is not in the way of the
picture. bhyve serves one client: the service is that one, and shows the screen to all viewers (beastack.consoles).
"""

import contextlib
import selectors
import socket
from pathlib import Path

from beastack.freebsd.bhyve import FrameBuffer, SocketFrameBuffer
from beastack.nova.guest.console import Selector, unix_listener

_CONNECT_SECONDS = 0.5


class ScreenDoor:
    """Owns screen.sock; driven by the supervisor's loop."""

    def __init__(self, selector: Selector, screen: FrameBuffer | SocketFrameBuffer) -> None:
        self._selector = selector
        self._screen = screen
        self._listener: socket.socket | None = None

    def listen(self, name: str, owner: int | None) -> None:
        """Open screen.sock in the working directory."""
        self._listener = unix_listener(name, owner)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self, _mask: int, _now: float) -> None:
        if self._listener is None:
            return
        try:
            client, _ = self._listener.accept()
        except OSError:  # it left again
            return
        with client, contextlib.suppress(OSError):  # bhyve is between two runs, or the client left: it asks again
            client.settimeout(_CONNECT_SECONDS)
            with self._connect() as screen:
                socket.send_fds(client, [b"screen\n"], [screen.fileno()])

    def _connect(self) -> socket.socket:
        if isinstance(self._screen, FrameBuffer):
            return socket.create_connection((self._screen.address, self._screen.port), _CONNECT_SECONDS)
        screen = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            screen.settimeout(_CONNECT_SECONDS)
            screen.connect(self._screen.path)
        except OSError:
            screen.close()
            raise
        return screen

    def close(self) -> None:
        """No more; a socket that bhyve left in its folder goes, too."""
        if isinstance(self._screen, SocketFrameBuffer):
            with contextlib.suppress(OSError):
                Path(self._screen.path).unlink()
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
