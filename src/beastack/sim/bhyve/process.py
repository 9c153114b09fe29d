"""QEMU as a child that lives no longer than bhyve, stops when bhyve is stopped, and cannot outlive a kill -9."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_libc = ctypes.CDLL(None, use_errno=True)
_POLL = 0.02


def _die_with(parent: int) -> None:
    """In a child: end when the parent ends, also if it has ended already."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(127)


def start(argv: Sequence[str], keep: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start QEMU; its words go where bhyve's words go. A terminal's Ctrl-C is for bhyve alone."""
    parent = os.getpid()

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _die_with(parent)

    return subprocess.Popen(
        list(argv), stdin=subprocess.DEVNULL, pass_fds=tuple(keep), start_new_session=True, preexec_fn=prepare
    )


def _stopped(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] in "Tt"


def shadow(child: int) -> int:
    """Stop and continue the child together with this process; the number of the process that does it.

    A process that is stopped cannot do it itself, and nobody tells its children: so a small one of its own looks.
    """
    parent = os.getpid()
    pidfd = os.pidfd_open(child)
    pid = os.fork()
    if pid:
        os.close(pidfd)
        return pid
    try:
        _die_with(parent)
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        set_title("bhyve: shadow", "bhyve-shadow")
        _close_all_but(pidfd)
        was = False
        while True:
            now = _stopped(parent)
            if now != was:
                signal.pidfd_send_signal(pidfd, signal.SIGSTOP if now else signal.SIGCONT)
                was = now
            time.sleep(_POLL)  # a stop of another process sends nothing that could be awaited
    except OSError:  # one of the two has gone
        os._exit(0)
    finally:
        os._exit(1)


def _close_all_but(kept: int) -> None:
    os.closerange(0, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX") if kept > 4096 else 4096)


def set_title(title: str, short: str) -> None:
    """What ps(1) shows: over the arguments, as setproctitle(3) does it, and as the process's short name."""
    _libc.prctl(_PR_SET_NAME, short.encode()[:15], 0, 0, 0)
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])
    room = end - begin
    if begin > 0 and 1 < room < 1 << 20:
        ctypes.memmove(begin, title.encode()[: room - 1].ljust(room, b"\0"), room)
