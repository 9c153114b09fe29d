"""The metadata proxy of a network, driven by the DHCP driver.

The stock agent would start haproxy through neutron/agent/metadata/driver_base.py, that is by ``ip netns exec``. So the
driver tells the agent that no network needs a proxy and keeps its own, with the same options.
"""

from typing import Any

from oslo_log import log as logging

from beastack.neutron.dhcp.processes import Watched
from beastack.privsep import dhcp, haproxy

LOG = logging.getLogger(__name__)
# Not upstream's "metadata-proxy": the agent unregisters that one for every network without a proxy of its own.
SERVICE = "beastack-metadata-proxy"

# What this process started: network -> with IPv6.
_running: dict[str, bool] = {}


def _start(conf: Any, network_id: str, ipv6: bool) -> None:
    timeouts = {name: getattr(conf.metadata_haproxy, f"timeout_{name}") for name in haproxy.TIMEOUTS}
    limits = None
    if conf.metadata_rate_limiting.rate_limit_enabled:
        limits = {name: getattr(conf.metadata_rate_limiting, name) for name in haproxy.LIMITS}
    LOG.info(
        "metadata proxy of network %s: %s",
        network_id,
        dhcp.start_metadata_proxy(network_id, ipv6, timeouts, limits),
    )


def ensure(conf: Any, monitor: Any, network_id: str, ipv6: bool, again: bool) -> None:
    """A proxy in the network's jail. What this process started before is left alone unless ``again``."""
    if _running.get(network_id) == ipv6 and not again:
        return
    _start(conf, network_id, ipv6)
    _running[network_id] = ipv6
    watched = Watched(
        f"metadata proxy of network {network_id}",
        lambda: dhcp.metadata_proxy_pid(network_id) is not None,
        lambda: _start(conf, network_id, ipv6),
    )
    monitor.register(network_id, SERVICE, watched)


def remove(monitor: Any, network_id: str, again: bool) -> None:
    """No proxy; what this process knows to be without one is left alone unless ``again``."""
    monitor.unregister(network_id, SERVICE)
    if _running.pop(network_id, None) is not None or again:
        dhcp.stop_metadata_proxy(network_id)
