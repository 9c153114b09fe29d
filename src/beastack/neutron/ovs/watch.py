"""Keeping the host's own stack closed to what Open vSwitch reads, beside upstream's agent.

bpf(4) hands out copies: without its guard, a guest behind a port of the switch reaches the host itself. Guards are set
before a port is made; somebody may shut one down (ngctl(8)) or unload ng_bpf(4).
"""

import threading
from collections.abc import Callable

from oslo_log import log as logging

from beastack.privsep import ovs

LOG = logging.getLogger(__name__)
# Seconds between two looks.
INTERVAL = 10.0


class GuardWatch:
    """A thread that looks at the guards of all ports."""

    def __init__(self, keep: Callable[[], list[str]] = ovs.ovs_keep_closed, seconds: float = INTERVAL) -> None:
        self._keep = keep
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guard-watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join(self._seconds)

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            self.look()

    def look(self) -> None:
        """One look."""
        try:
            for name in self._keep():
                LOG.error("Port %s had lost its guard: the host's own stack was open to it. It is closed again", name)
        except Exception:
            LOG.exception("Guards of ports could not be looked at or put back: the next look is in %g s", self._seconds)
