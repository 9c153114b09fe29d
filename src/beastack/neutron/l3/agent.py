"""``neutron-l3-agent`` with routers in vnet jails: upstream's agent, with a class of ours for a router (0003).

Upstream decides what to do and when: the queue of updates, full synchronisations, retries, the reports. What it does
by network namespaces and iptables is ``JailRouter``'s and ``JailManager``'s.
"""

import threading
from typing import Any

from neutron.agent.common import resource_processing_queue as queue
from neutron.agent.l3 import agent as upstream
from neutron.api.rpc.callbacks import resources
from neutron.api.rpc.callbacks.consumer import registry
from neutron.api.rpc.handlers import resources_rpc
from neutron.common import utils
from neutron_lib import rpc
from oslo_log import log as logging
from oslo_service import periodic_task
from oslo_utils import netutils

from beastack.neutron.l3 import jails
from beastack.neutron.l3.router import JailRouter

LOG = logging.getLogger(__name__)
# Routers that are worked on at the same time; the privileged side has as many threads.
WORKERS = 4
# Seconds after which a router that could not be made is tried again.
RETRY = 10.0
# Seconds between two looks for lost jails; neutron's periodic_interval counts when it is longer.
LOOK = 30

# oslo_utils looks into /proc/sys, which FreeBSD has not, and would find no IPv6 (netutils.is_ipv6_enabled).
netutils._IS_IPV6_ENABLED = True


class JailL3Agent(upstream.L3NATAgentWithStateReport):
    """Routers of one host."""

    def __init__(self, host: str, conf: Any = None) -> None:
        super().__init__(host, conf)
        self.metadata = bool(self.conf.enable_metadata_proxy)
        # upstream's driver would start its proxies by ``ip netns exec`` and lead there by iptables
        self.conf.set_override("enable_metadata_proxy", False)
        self._timers: dict[str, threading.Timer] = {}

    def _register_router_cls(self, factory: Any) -> None:
        """Centralized routers; a highly available or distributed one is refused by the factory, with its features."""
        factory.register([], JailRouter)

    def init_host(self) -> None:
        """Upstream's, then jails in the place of namespaces."""
        super().init_host()
        self.namespaces_manager = jails.JailManager(self.conf, self.driver, self.process_monitor)
        self._pool = utils.ThreadPoolExecutorWithBlock(max_workers=WORKERS)
        self._pull = resources_rpc.ResourcesPullRpcApi()
        registry.register(self.forwards_changed, resources.PORTFORWARDING)
        self._pushed = rpc.Connection()
        topic = resources_rpc.resource_type_versioned_topic(resources.PORTFORWARDING)
        self._pushed.create_consumer(topic, [resources_rpc.ResourcesPushRpcCallback()], fanout=True)
        self._pushed.consume_in_threads()

    def forwards(self, router: dict[str, Any]) -> list[Any]:
        """The router's port forwardings, as the server knows them now."""
        fips = sorted(router.get("fip_managed_by_port_forwardings") or ())
        if not fips:
            return []
        found = self._pull.bulk_pull(self.context, resources.PORTFORWARDING, filter_kwargs={"floatingip_id": fips})
        return list(found)

    def forwards_changed(self, context: Any, resource_type: str, forwards: list[Any], event_type: str) -> None:
        """Routers of ours whose port forwardings changed are processed again."""
        for router_id in {f.router_id for f in forwards} & set(self.router_info):
            self._again(router_id)

    @periodic_task.periodic_task(spacing=LOOK)
    def look_for_lost_routers(self, context: Any) -> None:
        """A router whose jail went (somebody removed it) is made again."""
        lost = set(self.router_info) - jails.here()
        for router_id in sorted(lost):
            LOG.error("Router %s: its jail is gone; it is made again", router_id)
            self._again(router_id)

    def later(self, router_id: str) -> None:
        """Process the router again in a while."""
        timer = threading.Timer(RETRY, self._again, [router_id])
        timer.daemon = True
        previous = self._timers.pop(router_id, None)
        if previous is not None:
            previous.cancel()
        self._timers[router_id] = timer
        timer.start()

    def _again(self, router_id: str) -> None:
        update = queue.ResourceUpdate(router_id, upstream.PRIORITY_RPC, action=upstream.ADD_UPDATE_ROUTER)
        self._queue.add(update)


def main() -> None:
    """Entry point; the arguments are neutron's."""
    # here: it registers options that clash with nova's where both are imported, as the tests do
    from neutron.agent import l3_agent

    l3_agent.main(manager=f"{__name__}.{JailL3Agent.__name__}")
