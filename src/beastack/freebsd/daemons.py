"""Daemons that leave a pid file: whether theirs is running, and ending it (ps(1), kill(2)).

A pid file outlives its process and numbers come back, so a pid counts only when ps(1) shows the command line that the
daemon was started with.
"""

import os
import signal
import time
from pathlib import Path

from beastack.freebsd.errors import HostError, UnexpectedOutput, failure
from beastack.freebsd.host import Host
from beastack.freebsd.process import is_same, kill_and_wait, start_mark

# Seconds that a daemon has for its own end before it is killed, and then for being gone.
GRACE = 5.0
KILL_LIMIT = 5.0


class StillRunning(HostError):
    """A process outlived SIGKILL (it hangs in the kernel)."""


def command_line(host: Host, pid: int) -> str | None:
    """A process's command line, or None when there is no such process. Raises UnexpectedOutput."""
    done = host.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], check=False)
    text = done.out.strip()
    if done.rc == 1 and not text and not done.err.strip():
        return None
    if done.rc:
        raise failure(done.argv, done.rc, done.out, done.err)
    if len(text.splitlines()) != 1:
        raise UnexpectedOutput(done.argv, done.out, "one command line")
    return text


def recorded_pid(pid_file: Path) -> int | None:
    """What the file says; None when there is none or no number in it (a daemon that is just starting)."""
    try:
        text = pid_file.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isdecimal() and text.isascii() and int(text) > 1 else None


def find(host: Host, pid_file: Path, mark: str) -> tuple[int, str] | None:
    """The daemon's pid and command line, when the process of the pid file carries ``mark`` in it."""
    pid = recorded_pid(pid_file)
    if pid is None:
        return None
    command = command_line(host, pid)
    return (pid, command) if command is not None and mark in command else None


def hang_up(pid: int) -> bool:
    """SIGHUP; False when the process is gone."""
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return False
    return True


def end(host: Host, pid_file: Path, mark: str) -> bool:
    """End the daemon: SIGTERM, then SIGKILL. False when it was not running. Removes the pid file."""
    found = find(host, pid_file, mark)
    if found is not None:
        _end(found[0])
    pid_file.unlink(missing_ok=True)
    return found is not None


def _end(pid: int) -> None:
    started = start_mark(pid)
    if started is None:
        return
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + GRACE
    while is_same(pid, started):
        if time.monotonic() > deadline:
            if not kill_and_wait(pid, started, KILL_LIMIT):
                raise StillRunning(f"process {pid} did not end within {KILL_LIMIT:g} s of SIGKILL")
            return
        time.sleep(0.02)  # not our child: there is nothing to wait on but the process table
