"""Owns jails: their parameters, their hostname, their network stack, and the end of everything inside."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from beastack.sim.engine.vnet import Vnet

REMOVAL_LIMIT = 5.0

ALLOW_DEFAULTS = {
    "adjtime": False,
    "chflags": False,
    "extattr": False,
    "mlock": False,
    "mount": False,
    "mount.devfs": False,
    "mount.fdescfs": False,
    "mount.procfs": False,
    "mount.tmpfs": False,
    "nfsd": False,
    "quotas": False,
    "raw_sockets": False,
    "read_msgbuf": False,
    "reserved_ports": True,
    "routing": False,
    "set_hostname": True,
    "setaudit": False,
    "settime": False,
    "socket_af": False,
    "suser": True,
    "sysvipc": False,
    "unprivileged_parent_tampering": False,
    "unprivileged_proc_debug": True,
}


@dataclass(eq=False)
class Jail:
    """One jail. `vnet` is None when it shares the network stack of its parent; `uts` holds its hostname."""

    jid: int
    name: str
    path: str
    hostname: str
    uts: int
    vnet: Vnet | None
    parameters: dict[str, str] = field(default_factory=dict)
    allow: dict[str, bool] = field(default_factory=lambda: dict(ALLOW_DEFAULTS))

    @property
    def uts_inode(self) -> int:
        return os.fstat(self.uts).st_ino


def processes_in(uts_inode: int) -> Iterator[int]:
    """The processes of a jail are those that live in its UTS namespace: every jail has its own."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or entry.name == "1":
            continue
        try:
            if (entry / "ns/uts").stat().st_ino == uts_inode:
                yield int(entry.name)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended while we looked


def kill_all(uts_inode: int) -> list[int]:
    """Kill what lives in the jail until nothing is left; returns what did not end within the limit."""
    deadline = time.monotonic() + REMOVAL_LIMIT
    while True:
        pids = list(processes_in(uts_inode))
        watched = []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                watched.append(os.pidfd_open(pid))
                os.kill(pid, signal.SIGKILL)
        if not watched:
            return []
        poller = select.poll()
        for fd in watched:
            poller.register(fd, select.POLLIN)
        waiting = set(watched)
        while waiting and time.monotonic() < deadline:
            for fd, _event in poller.poll(100):
                poller.unregister(fd)
                waiting.discard(fd)
        for fd in watched:
            os.close(fd)
        reap()
        if waiting:
            return list(processes_in(uts_inode))


def reap() -> None:
    """PID 1's duty: collect the ended children, its own and those it inherited."""
    while True:
        try:
            pid, _status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
