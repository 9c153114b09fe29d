"""The whole truth about vxlan networks, asked of the server: at start, when a network comes, and now and then.

l2population's messages are events, and events get lost: with a broker's restart, or while the agent was down. Here
the network's ports and their hosts are read by neutron's pull interface (neutron/api/rpc/handlers/resources_rpc.py),
and the hosts' tunnel addresses by ``tunnel_sync`` (plugins/ml2/drivers/type_tunnel.py).
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from neutron_lib import constants
from oslo_log import log as logging

from beastack.neutron.agent.fdb import FLOODING
from beastack.neutron.agent.tunnels import Tunnels

LOG = logging.getLogger(__name__)
ATTEMPTS = 5
# Seconds before what failed is asked again; between two looks at the replicator.
RETRY, LOOK = 5.0, 5.0


def by_host(ports: Iterable[Any], own: str) -> dict[str, list[tuple[str, str]]]:
    """Neutron's Port objects as l2population tells them: host name -> (MAC, address), ACTIVE ones on other hosts."""
    found: dict[str, list[tuple[str, str]]] = {}
    for port in ports:
        if port.status != constants.PORT_STATUS_ACTIVE:
            continue
        for binding in port.bindings:
            if not binding.host or binding.host == own or binding.status != constants.ACTIVE:
                continue
            pairs = found.setdefault(binding.host, [FLOODING])
            pairs += [(str(port.mac_address), str(ip.ip_address)) for ip in port.fixed_ips or ()]
    return found


class Resync:
    """A thread beside the loop."""

    def __init__(
        self,
        tunnels: Tunnels,
        host: str,
        pull: Callable[[str], Iterable[Any]],
        tunnel_addresses: Callable[[], Mapping[str, str]],
        seconds: float,
    ) -> None:
        """``pull``: a network's Port objects; ``tunnel_addresses``: host name -> address; either may raise anything."""
        self._tunnels, self._host, self._seconds = tunnels, host, seconds
        self._pull, self._tunnel_addresses = pull, tunnel_addresses
        self._addresses: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vxlan-resync", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._tunnels.wake.set()

    def _run(self) -> None:
        everything = time.monotonic() + self._seconds
        while not self._stopping.is_set():
            self._tunnels.wake.wait(RETRY if self._tunnels.due else LOOK)
            self._tunnels.wake.clear()
            if time.monotonic() >= everything:
                everything = time.monotonic() + self._seconds
                self._addresses = {}
                self._tunnels.all_due()
            self.look()

    def look(self) -> None:
        """One round: the replicator, this host's own address at the server, and the networks that are due."""
        try:
            self._tunnels.keep()
        except Exception:
            LOG.exception("The replicator cannot be started; broadcasts of vxlan networks stay on this host")
        try:
            if not self._addresses:
                self._addresses = dict(self._tunnel_addresses())
        except Exception as e:  # noqa: BLE001 - the server may be away
            LOG.warning("The hosts' tunnel addresses could not be asked: %s; tried again", e)
            return
        for network_id in sorted(self._tunnels.due):
            try:
                done = self.one(network_id)
            except Exception as e:  # noqa: BLE001 - the server may be away; what is in force stays, and it is asked again
                LOG.warning("Network %s could not be compared with the server: %s; tried again", network_id, e)
                return
            if done:
                self._tunnels.due.discard(network_id)

    def one(self, network_id: str) -> bool:
        """Compare one network; True when it is as the server says."""
        for _ in range(ATTEMPTS):
            version = self._tunnels.version(network_id)
            hosts = by_host(self._pull(network_id), self._host)
            if set(hosts) - set(self._addresses):
                self._addresses = dict(self._tunnel_addresses())
            known = {self._addresses[name]: pairs for name, pairs in hosts.items() if name in self._addresses}
            if self._tunnels.replace(network_id, known, version):
                return True
        return False
