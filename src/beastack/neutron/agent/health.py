"""Keeping the host's filtering as it must be, beside the loop.

``net.link.bridge.pfil_member`` is reset by other sysctls, an operator may reload pf.conf without our anchor, pf may be
switched off: every ``check_interval`` seconds what drifted is corrected and logged. When the host's own rules leave
ours out, which is not ours to correct, filtered ports leave their bridges until the operator has added the anchor.
"""

import threading
from typing import TYPE_CHECKING

from oslo_log import log as logging

from beastack.freebsd.pf_host import ForeignRuleset
from beastack.privsep import guard, pf

if TYPE_CHECKING:
    from beastack.neutron.agent.manager import BridgeManager

LOG = logging.getLogger(__name__)


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

    def __init__(self, manager: "BridgeManager", seconds: float) -> None:
        self._manager = manager
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="host-check", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            self.check()

    def check(self) -> None:
        """One look."""
        try:
            for change in pf.prepare_host():
                LOG.warning("The host's filtering had drifted and was corrected: %s", change)
            plugged = set(self._manager.watch.all_plugged())
            guarded = self._manager.guarded()
            lost = (plugged - set(pf.list_ports())) | (guarded - set(guard.list_guards()))
            # what left its bridge while we looked is none of ours any more
            lost &= set(self._manager.watch.all_plugged()) & self._manager.watch.scan()
            if lost:
                self._manager.reopen(lost)
            self._manager.safe()
        except ForeignRuleset as e:
            self._manager.close(str(e))
        except Exception:
            LOG.exception("The host's filtering could not be looked at: it is unknown, and looked at again")
