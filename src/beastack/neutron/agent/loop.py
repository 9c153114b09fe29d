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
from neutron_lib import constants
from oslo_config import cfg
from oslo_log import log as logging

from beastack.neutron.agent.health import Health, wait_until_ready
from beastack.neutron.agent.manager import BridgeManager
from beastack.neutron.agent.pace import Pace
from beastack.neutron.agent.resync import Resync

LOG = logging.getLogger(__name__)


class BridgeAgentLoop(_common_agent.CommonAgentLoop):
    """One agent process."""

    def __init__(self, manager: BridgeManager, options: Any, polling_interval: float, *args: Any) -> None:
        """``options`` are those of section [freebsd_bridge]; the others are upstream's (an interval in seconds)."""
        super().__init__(manager, polling_interval, *args)
        self._interval = polling_interval
        self._options = options
        self._stopping = threading.Event()
        self._health: Health | None = None
        self._resync: Resync | None = None
        self._pace: Pace | None = None

    def start(self) -> None:
        """Serve; returns only when stopped before the host was ready."""
        if not wait_until_ready(self._stopping):
            return
        self._health = Health(self.mgr, self._options.check_interval, self._options.glance_interval)
        self._health.start()
        super().start()

    def stop(self, graceful: bool = True) -> None:
        """End."""
        self._stopping.set()
        if self._health is not None:
            self._health.stop()
        else:
            self.quitting_rpc_timeout = None  # there are no RPC clients yet
        if self._resync is not None:
            self._resync.stop()
        super().stop(graceful)

    def setup_rpc(self) -> None:
        """Upstream's, address groups, and what compares vxlan networks with the server."""
        super().setup_rpc()
        registry.register(self.address_groups_changed, resources.ADDRESSGROUP)
        topic = resources_rpc.resource_type_versioned_topic(resources.ADDRESSGROUP)
        self.connection.create_consumer(topic, [resources_rpc.ResourcesPushRpcCallback()], fanout=True)

        if self.mgr.tunnels is not None:
            pulling = resources_rpc.ResourcesPullRpcApi()
            self._resync = Resync(
                self.mgr.tunnels,
                cfg.CONF.host,
                lambda network: pulling.bulk_pull(self.context, resources.PORT, filter_kwargs={"network_id": network}),
                self._tunnel_addresses,
                self._options.resync_interval,
            )
            self._resync.start()

    def daemon_loop(self) -> None:
        """Upstream's, which sleeps no more: ``scan_devices`` waits until the next look at the host is due."""
        self._pace = Pace(self._interval)
        self.polling_interval = 0
        super().daemon_loop()

    def scan_devices(self, previous: Any, sync: bool) -> Any:
        """Upstream's, when it is time."""
        if self._pace is not None:
            self._pace.wait()
        found = super().scan_devices(previous, sync)
        self.mgr.retain(found["current"] | found["removed"])
        if self._pace is not None:
            self._pace.found(found["current"])
        self.mgr.rates.settle(found["current"])
        return found

    def expect(self, device: str) -> None:
        """nova-compute is about to make this tap."""
        if self._pace is not None:
            self._pace.expect(device)

    def treat_devices_added_updated(self, devices: set[str]) -> bool:
        """Upstream's; devices of which the server says nothing are only logged there."""
        resync = bool(super().treat_devices_added_updated(devices))
        if not resync:
            self.mgr.settle(devices)
            # the extension has said by now what it wants, in this agent's life
            self.mgr.rates.mark(devices)
            self.mgr.rates.settle(devices)
        return resync

    def _tunnel_addresses(self) -> dict[str, str]:
        """Host -> tunnel address; tells the server this host's own."""
        own = self.mgr.get_agent_configurations()["tunneling_ip"]
        found = self.plugin_rpc.tunnel_sync(self.context, own, constants.TYPE_VXLAN, cfg.CONF.host)
        return {str(end["host"]): str(end["ip_address"]) for end in found["tunnels"] if end.get("host")}

    def _report_state(self) -> None:
        """Upstream's, with the alarms; when the server had given this agent up, messages were lost."""
        self.agent_state["configurations"]["alarms"] = self.mgr.alarms
        super()._report_state()
        if self.fullsync and self.mgr.tunnels is not None:
            self.mgr.tunnels.all_due()

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
