"""dnsmasq and the metadata proxy as neutron's ProcessMonitor and DHCP driver see a process.

They stand in the place of neutron/agent/linux/external_process.py's ProcessManager, which runs commands by
``ip netns exec``. Whether a process lives, starting and ending it are the privileged side's.
"""

from collections.abc import Callable
from typing import Any

from oslo_log import log as logging

from beastack.privsep import dhcp

LOG = logging.getLogger(__name__)


class DnsmasqProcess:
    """One network's dnsmasq; ``start`` calls the entry point with what the driver knows."""

    def __init__(self, network_id: str, segment: int | None, start: Callable[[], str]) -> None:
        self.network_id, self.segment, self.start = network_id, segment, start
        self.uuid = network_id if segment is None else f"{segment}/{network_id}"

    @property
    def pid(self) -> int | None:
        """The number of its process, None when it does not run."""
        found: int | None = dhcp.dnsmasq_pid(self.network_id, self.segment)
        return found

    @property
    def active(self) -> bool:
        """Whether it runs."""
        return self.pid is not None

    def enable(self, **kwargs: Any) -> None:
        """Start it; what runs already reads its files again, with other settings it is started anew."""
        LOG.info("dnsmasq of network %s: %s", self.uuid, self.start())

    def disable(self, sig: str = "15", **kwargs: Any) -> None:
        """End it: SIGTERM and then SIGKILL, whichever of them was asked for."""
        if dhcp.stop_dnsmasq(self.network_id, self.segment):
            LOG.info("dnsmasq of network %s: ended", self.uuid)


class Watched:
    """What neutron's ProcessMonitor looks after ([AGENT] check_child_processes_interval).

    Its thread must not meet an error: one would leave the processes behind it unchecked. What cannot be read counts
    as alive.
    """

    def __init__(self, what: str, alive: Callable[[], bool], mend: Callable[[], object]) -> None:
        self.what, self._alive, self._mend = what, alive, mend

    @property
    def active(self) -> bool:
        """Whether it runs, as far as that can be told."""
        try:
            return self._alive()
        except Exception:
            LOG.exception("%s: cannot tell whether it runs", self.what)
            return True

    def enable(self, **kwargs: Any) -> None:
        """Bring it back; the monitor asks again after its interval when that failed."""
        try:
            self._mend()
        except Exception:
            LOG.exception("%s: cannot be brought back", self.what)
