"""Keeping the host's filtering as it must be, beside the loop.

``net.link.bridge.pfil_member`` is reset by other sysctls, an operator may reload pf.conf without our anchor, pf may be
switched off: every ``check_interval`` seconds what drifted is corrected, with an alarm; the sysctls alone, which one
word switches off, are looked at every ``glance_interval`` seconds. When something is not ours to correct (the host's
own rules leave ours out) or stays as it is, filtered ports leave their bridges until it is right. A host that cannot
be read is unknown: after ``UNKNOWN_LIMIT`` looks that counts as not filtering.
"""

import threading
import time
from typing import TYPE_CHECKING

from oslo_log import log as logging

from beastack.freebsd import sysctl
from beastack.freebsd.errors import HostError
from beastack.freebsd.host import Host, LocalHost
from beastack.freebsd.pf_host import SYSCTLS, NotFiltering
from beastack.privsep import guard, pf

if TYPE_CHECKING:
    from beastack.neutron.agent.manager import BridgeManager

LOG = logging.getLogger(__name__)
UNKNOWN_LIMIT = 3


def wait_until_ready(stopping: threading.Event, seconds: float = 10.0) -> bool:
    """Prepare the host, again and again until it is done; False when the agent is stopped before."""
    while not stopping.is_set():
        try:
            for change in pf.prepare_host():
                LOG.info("Host prepared: %s", change)
            return True
        except Exception as e:  # noqa: BLE001 - the agent does nothing before this; whatever it is, the operator must see it
            LOG.error("This host cannot filter yet, no port is wired, next try in %g s: %s", seconds, e)
        stopping.wait(seconds)
    return False


class Health:
    """A thread that looks at the host."""

    def __init__(
        self, manager: "BridgeManager", seconds: float, glance: float | None = None, host: Host | None = None
    ) -> None:
        """``seconds`` between two whole looks, ``glance`` between two at the sysctls."""
        self._manager = manager
        self._seconds = seconds
        self._glance = min(glance or seconds, seconds)
        self._host = host or LocalHost()
        self._unknown = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="host-check", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()

    def _run(self) -> None:
        due = time.monotonic() + self._seconds
        while not self._stopping.wait(self._glance):
            if time.monotonic() >= due or self.drifted():
                self.check()
                due = time.monotonic() + self._seconds

    def drifted(self) -> bool:
        """One glance: whether a sysctl is not as it must be, or cannot be read."""
        try:
            return any(sysctl.read_int(self._host, name) != value for name, value in SYSCTLS)
        except HostError as e:
            LOG.error("The sysctls of filtering cannot be read: %s", e)
            return True

    def check(self) -> None:
        """One look."""
        try:
            for change in pf.prepare_host():
                self._manager.alarm(f"the host's filtering had drifted and was corrected: {change}")
            plugged = set(self._manager.watch.all_plugged())
            guarded = self._manager.guarded()
            filtered = set(pf.list_ports())
            lost = (plugged - filtered) | (guarded - set(guard.list_guards()))
            # what left its bridge while we looked is none of ours any more
            lost &= set(self._manager.watch.all_plugged()) & self._manager.watch.scan()
            if lost:
                self._manager.reopen(lost)
            self._manager.reopen_ways(filtered)
            self._manager.rates.check(self._manager.watch.all_plugged())
            self._unknown = 0
            self._manager.safe()
        except NotFiltering as e:
            self._manager.close(str(e))
        except Exception as e:
            self._unknown += 1
            LOG.exception("The host's filtering could not be looked at: it is unknown, and looked at again")
            if self._unknown >= UNKNOWN_LIMIT:
                self._manager.close(f"it was not known {self._unknown} times whether the host filters: {e}")
