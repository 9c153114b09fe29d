"""The replicator as the agent sees it: its table, and whether it runs (``beastack.neutron.replicator``).

It outlives the agent, so that an agent's restart stops no broadcast: the next agent finds it by its lock.
"""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from oslo_log import log as logging

from beastack.freebsd.vxlan import FLOOD_PORT
from beastack.neutron.replicator import LOCK, TABLE, Table

LOG = logging.getLogger(__name__)


def serving(folder: Path) -> int | None:
    """The pid of the replicator that serves this folder; 0 when it has not said yet; None when there is none."""
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(lock, 32, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(lock)
    return None


def end(folder: Path) -> bool:
    """Ask the replicator of this folder to end: floods are the kernel's now, or there are no tunnels any more."""
    pid = serving(folder)
    if not pid:
        return False
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return False
    return True


class Flooding:
    """``folder`` is the agent's own; ``address`` is this host's in the network between hosts, "" without tunnels."""

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._address = address
        self._children: list[subprocess.Popen[bytes]] = []

    def update(self, peers: Mapping[int, tuple[str, ...]]) -> None:
        """Who gets the floods of each network. Raises OSError."""
        if not self._address:
            return
        text = Table(self._address, FLOOD_PORT, peers=dict(peers)).dump()
        path = self._folder / TABLE
        try:
            if path.read_text(encoding="utf-8") == text:
                return
        except FileNotFoundError:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)
        pid = serving(self._folder)
        if pid:
            try:
                os.kill(pid, signal.SIGHUP)
            except ProcessLookupError:
                LOG.info("The replicator has just ended")

    def keep_running(self) -> None:
        """Start it unless it runs."""
        self._children = [child for child in self._children if child.poll() is None]
        if not self._address or self._children or serving(self._folder) is not None:
            return
        argv = [sys.executable, "-m", "beastack.neutron.replicator", str(self._folder)]
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True)
        self._children.append(child)
        LOG.info("Replicator started, pid %d", child.pid)
