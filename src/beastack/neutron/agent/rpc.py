"""What neutron's server tells the agent (neutron/plugins/ml2/drivers/macvtap/agent is the template)."""

import threading
from typing import TYPE_CHECKING, Any

import oslo_messaging
from neutron.api.rpc.handlers import securitygroups_rpc
from neutron.plugins.ml2.drivers.agent import _agent_manager_base as base
from neutron.plugins.ml2.drivers.l2pop.rpc_manager import l2population_rpc
from oslo_log import log as logging

if TYPE_CHECKING:
    from beastack.neutron.agent.manager import BridgeManager

LOG = logging.getLogger(__name__)


class BridgeRpcCallbacks(
    securitygroups_rpc.SecurityGroupAgentRpcCallbackMixin,
    l2population_rpc.L2populationRpcCallBackMixin,
    base.CommonAgentManagerRpcCallBackBase,
):
    """Notifications of ports are handled in the loop and only noted here; l2population's are done at once."""

    target = oslo_messaging.Target(version="1.4")

    def __init__(self, context: Any, agent: Any, sg_agent: Any, manager: "BridgeManager") -> None:
        super().__init__(context, agent, sg_agent)
        self.updated_devices: set[str] = set()
        self._manager = manager
        self._lock = threading.Lock()

    def port_update(self, context: Any, **kwargs: Any) -> None:
        """A port changed: look at its device, and for it when a server of this host will have it."""
        port = kwargs["port"]
        device = f"tap{port['id'][:11]}"
        LOG.debug("port_update: %s", device)
        with self._lock:
            self.updated_devices.add(device)
        if self._manager.awaits(device, port):
            self.agent.expect(device)

    def network_update(self, context: Any, **kwargs: Any) -> None:
        """A network changed, its MTU perhaps: look at its ports."""
        devices = self._manager.devices_of(str(kwargs["network"]["id"]))
        LOG.debug("network_update: %s", devices)
        with self._lock:
            self.updated_devices |= devices

    def fdb_add(self, context: Any, fdb_entries: dict[str, Any]) -> None:
        """Stations came up behind other hosts."""
        if self._manager.tunnels is not None:
            self._manager.tunnels.add(fdb_entries)

    def fdb_remove(self, context: Any, fdb_entries: dict[str, Any]) -> None:
        """Stations behind other hosts went."""
        if self._manager.tunnels is not None:
            self._manager.tunnels.remove(fdb_entries)

    def fdb_update(self, context: Any, fdb_entries: dict[str, Any]) -> None:
        """Stations' addresses changed."""
        if self._manager.tunnels is None:
            return
        for action, values in fdb_entries.items():
            if action == "chg_ip":
                self._manager.tunnels.change_addresses(values)
            else:
                LOG.error("l2population says %r, which is not known here", action)

    def network_delete(self, context: Any, **kwargs: Any) -> None:
        """A network is gone."""
        network_id = str(kwargs.get("network_id"))
        LOG.debug("network_delete: %s", network_id)
        self.network_map.pop(network_id, None)
        self._manager.network_deleted(network_id)

    def get_and_clear_updated_devices(self) -> set[str]:
        """Upstream's is not safe under native threads (_agent_manager_base.py)."""
        with self._lock:
            found, self.updated_devices = self.updated_devices, set()
        return set(found)
