"""Which process a recorded pid really is: ps(1) on FreeBSD, proc(5) on a simulated host.

A pid alone says nothing after its process has ended, because numbers come back. Together with the time of the
start it names one process. Standard library only: the guest supervisor imports this.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def start_mark(pid: int) -> str | None:
    """A text that is the same as long as `pid` is the same process; None when there is no such process.

    A zombie counts as gone: it holds nothing any more.
    """
    if sys.platform.startswith("linux"):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else f"ticks {fields[19]}"
    done = subprocess.run(
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    state, _, started = done.stdout.strip().partition(" ")
    return None if done.returncode or not started or state.startswith("Z") else " ".join(started.split())


def is_same(pid: int, mark: str) -> bool:
    """Whether the process that was recorded as this pid with this mark still runs."""
    return pid > 1 and bool(mark) and start_mark(pid) == mark


def kill_and_wait(pid: int, mark: str, seconds: float) -> bool:
    """SIGKILL the recorded process, if it still runs, and wait for its end; False when it is there after
    that.
    """
    deadline = time.monotonic() + seconds
    signalled = False
    while is_same(pid, mark):
        if not signalled:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return True
            signalled = True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)  # not our child: there is nothing to wait on but the process table
    return True
