"""Running one program to its end, with a limit, and ending it with all that it started when it must not go on."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from beastack.cloud import stopping

# Seconds a program has between being asked and being killed; dpkg, say, wants to finish what it writes.
GRACE = 10.0
STEP = 0.2


@dataclass(frozen=True)
class Done:
    """How a program ended: status (negative: by that signal), and what it said where it was not written elsewhere."""

    rc: int
    out: str = ""
    err: str = ""


def run(
    argv: Sequence[str],
    limit: float,
    *,
    text: str | None = None,
    log: IO[bytes] | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Done:
    """Run to the end; its words go to ``log``, or into the answer.

    In a session of its own, so that Ctrl-C reaches it through us only. Raises subprocess.TimeoutExpired after
    ``limit`` seconds, stopping.Interrupted when this thread is asked to stop, FileNotFoundError.
    """
    out: int | IO[bytes] = subprocess.PIPE if log is None else log
    child = subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
        stdout=out,
        stderr=out,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        start_new_session=True,
        text=True,
    )
    deadline = time.monotonic() + limit
    try:
        while True:
            try:
                # called again after its own time-out it goes on where it was, and wants no input then
                words = child.communicate(text, timeout=STEP)
                return Done(child.returncode, words[0] or "", words[1] or "")
            except subprocess.TimeoutExpired:
                text = None
                stopping.check()
                if time.monotonic() > deadline:
                    raise subprocess.TimeoutExpired(list(argv), limit) from None
    finally:
        if child.poll() is None:
            end(child)


def end(child: subprocess.Popen[str], grace: float = GRACE) -> None:
    """End a program and what shares its session: SIGTERM, after ``grace`` seconds SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.communicate(timeout=grace)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        if child.returncode is not None:
            return
