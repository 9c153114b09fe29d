"""`beastack-guest attach`: a terminal on the guest's serial console, or a pipe when standard input is
none.
"""

import os
import select
import socket
import sys
import termios
import tty
from pathlib import Path

from beastack.privsep.guest_files import CONSOLE, NoSupervisor, connected

DETACH = b"\x1d"  # Ctrl-]
_ENTRIES = 65536


def attach(folder: Path, linger: float) -> int:
    """Copy both ways until Ctrl-], the end of the guest, or `linger` quiet seconds after the end of a
    piped input.
    """
    try:
        with connected(folder, CONSOLE, 5.0) as guest:
            guest.settimeout(None)
            if not sys.stdin.isatty():
                return _copy(guest, linger, detach=False)
            print("Attached to the console. Ctrl-] leaves it.", file=sys.stderr, flush=True)
            before = termios.tcgetattr(0)
            try:
                tty.setraw(0)
                return _copy(guest, linger, detach=True)
            finally:
                termios.tcsetattr(0, termios.TCSADRAIN, before)
                print("\r\nDetached.", file=sys.stderr, flush=True)
    except NoSupervisor as error:
        print(f"beastack-guest: the guest does not run: {error}", file=sys.stderr)
        return 1


def _copy(guest: socket.socket, linger: float, *, detach: bool) -> int:
    sources: list[socket.socket | int] = [guest, 0]
    while True:
        patience = None if 0 in sources else linger
        ready, _, _ = select.select(sources, [], [], patience)
        if not ready:
            return 0
        if guest in ready:
            data = guest.recv(_ENTRIES)
            if not data:
                return 0
            _write_all(data)
        if 0 in ready:
            typed = os.read(0, 4096)
            before, found, _ = typed.partition(DETACH) if detach else (typed, b"", b"")
            if before:
                guest.sendall(before)
            if found:
                return 0
            if not typed:
                sources.remove(0)
                guest.shutdown(socket.SHUT_WR)


def _write_all(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
