"""Owns how a simulated host ends: its engine, everything inside, and its traces in the root namespace."""

import contextlib
import os
import select
import shutil
import signal
from pathlib import Path

from beastack.sim.host import lab, record
from beastack.sim.linux.commands import CommandFailed, ip

STOP_LIMIT = 15.0
MAX_NICS = 16


class StopFailed(Exception):
    """The engine did not end within the limit."""


def stop(directory: Path) -> None:
    """Idempotent, also after a kill -9: what is gone already is no error."""
    if not directory.is_dir():
        return
    directory = directory.resolve()
    with record.locked(directory):
        remove_leftovers(directory, record.read(directory))
        shutil.rmtree(directory / "bin", ignore_errors=True)


def remove_leftovers(directory: Path, known: record.Record | None) -> None:
    if known is not None and known.alive():
        _kill(known)
    for number in range(MAX_NICS):
        # TAPs go with the engine's descriptors; a veth's own end may outlive it for a moment
        for prefix in ("bsv", "bst"):
            name = record.interface_name(directory, prefix, number)
            if lab.exists(name):
                try:
                    ip("link", "delete", "dev", name)
                except CommandFailed:
                    if lab.exists(name):
                        raise
    with contextlib.suppress(FileNotFoundError):
        (directory / "engine.sock").unlink()
    record.remove(directory)


def _kill(known: record.Record) -> None:
    """End PID 1 of the host; the kernel ends everything else in it before PID 1 is gone."""
    try:
        pidfd = os.pidfd_open(known.pid)
    except ProcessLookupError:
        return
    try:
        if not known.alive():
            return  # ended, and its number was given to another, between the look and the open
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        if not poller.poll(STOP_LIMIT * 1000):
            raise StopFailed(f"the engine (pid {known.pid}) did not end in {STOP_LIMIT:.0f} s")
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)
