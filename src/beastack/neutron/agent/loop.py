"""Upstream's CommonAgentLoop, started when the host can filter, and told of address groups.

CommonAgentLoop never hears of changes to address groups (shared/plugpoints.md, section 3): only the OVS agent
subscribes. Here their push notifications mark the ports that use the group.
"""

import threading
from typing import Any

from neutron.api.rpc.callbacks import resources
from neutron.api.rpc.callbacks.consumer import registry
from neutron.api.rpc.handlers import resources_rpc
from neutron.plugins.ml2.drivers.agent import _common_agent
from oslo_log import log as logging

from beastack.neutron.agent.health import Health, wait_until_ready
from beastack.neutron.agent.manager import BridgeManager

LOG = logging.getLogger(__name__)


class BridgeAgentLoop(_common_agent.CommonAgentLoop):
    """One agent process."""

    def __init__(self, manager: BridgeManager, check_interval: float, *args: Any) -> None:
        super().__init__(manager, *args)
        self._check_interval = check_interval
        self._stopping = threading.Event()
        self._health: Health | None = None

    def start(self) -> None:
        """Serve; returns only when stopped before the host was ready."""
        if not wait_until_ready(self._stopping):
            return
        self._health = Health(self.mgr, self._check_interval)
        self._health.start()
        super().start()

    def stop(self, graceful: bool = True) -> None:
        """End."""
        self._stopping.set()
        if self._health is not None:
            self._health.stop()
        else:
            self.quitting_rpc_timeout = None  # there are no RPC clients yet
        super().stop(graceful)

    def setup_rpc(self) -> None:
        """Upstream's, and address groups."""
        super().setup_rpc()
        registry.register(self.address_groups_changed, resources.ADDRESSGROUP)
        topic = resources_rpc.resource_type_versioned_topic(resources.ADDRESSGROUP)
        self.connection.create_consumer(topic, [resources_rpc.ResourcesPushRpcCallback()], fanout=True)

    def address_groups_changed(self, context: Any, resource_type: str, groups: list[Any], event_type: str) -> None:
        """Ports whose rules name one of these groups are filtered anew in the next iteration."""
        changed = {group.id for group in groups}
        devices = {
            device
            for device, port in self.sg_agent.firewall.ports.items()
            if changed & set(port.get("security_group_remote_address_groups") or ())
        }
        LOG.debug("Address groups %s %s: %s", changed, event_type, devices)
        self.sg_agent.devices_to_refilter |= devices
