"""What l2population says about a network: behind which host each station is, and which hosts have the network at all.

The messages are those of neutron/plugins/ml2/drivers/l2pop (rpc.py, rpc_manager/l2population_rpc.py): for each network
the hosts by tunnel address, for each host pairs of MAC and IP address, and a flooding entry (all zero) that says that
the host has the network. Pure state; nothing here touches the host.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from neutron_lib import constants
from oslo_log import log as logging

from beastack.privsep import checks

LOG = logging.getLogger(__name__)
FLOODING = tuple(constants.FLOODING_ENTRY)


@dataclass
class Network:
    """One network's remote side. ``stations``: MAC -> (host, its IP addresses); ``hosts``: who gets broadcasts."""

    stations: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    hosts: set[str] = field(default_factory=set)

    def entries(self) -> dict[str, str]:
        """MAC -> host, for the forwarding table."""
        return {mac: host for mac, (host, _) in self.stations.items()}

    def add(self, host: str, ports: Iterable[tuple[str, str]]) -> None:
        """These are behind this host now, wherever they were before."""
        for mac, ip in ports:
            if (mac, ip) == FLOODING:
                self.hosts.add(host)
                continue
            known, ips = self.stations.get(mac, (host, frozenset()))
            self.stations[mac] = (host, (ips if known == host else frozenset()) | {ip})

    def remove(self, host: str, ports: Iterable[tuple[str, str]]) -> None:
        """These are not behind this host any more. A station that is said to be elsewhere stays there."""
        for mac, ip in ports:
            if (mac, ip) == FLOODING:
                self.hosts.discard(host)
                continue
            known, ips = self.stations.get(mac, (None, frozenset()))
            if known != host:
                continue
            if left := ips - {ip}:
                self.stations[mac] = (host, left)
            else:
                del self.stations[mac]


def ports_by_host(ports: Mapping[str, Iterable[Any]], own: str) -> dict[str, list[tuple[str, str]]]:
    """Checked: what is no host's or station's address is left out and logged, and so is this host."""
    found: dict[str, list[tuple[str, str]]] = {}
    for host, pairs in ports.items():
        if host == own:
            continue
        try:
            host_ok = checks.peer(host)
        except checks.Refused as e:
            LOG.error("l2population names a host that is none: %s", e)
            continue
        good = found.setdefault(host_ok, [])
        for mac, ip in pairs:
            if (mac, ip) == FLOODING:
                good.append((mac, ip))
                continue
            try:
                good.append((checks.mac(str(mac).lower()), checks.ip(ip)))
            except checks.Refused as e:
                LOG.error("l2population names a station behind %s that is none: %s", host, e)
    return found
