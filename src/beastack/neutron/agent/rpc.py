"""What neutron's server tells the agent (neutron/plugins/ml2/drivers/macvtap/agent is the template)."""

import threading
from typing import TYPE_CHECKING, Any

import oslo_messaging
from neutron.api.rpc.handlers import securitygroups_rpc
from neutron.plugins.ml2.drivers.agent import _agent_manager_base as base
from oslo_log import log as logging

if TYPE_CHECKING:
    from beastack.neutron.agent.manager import BridgeManager

LOG = logging.getLogger(__name__)


class BridgeRpcCallbacks(securitygroups_rpc.SecurityGroupAgentRpcCallbackMixin, base.CommonAgentManagerRpcCallBackBase):
    """Notifications are handled in the loop; here they are only noted."""

    target = oslo_messaging.Target(version="1.4")

    def __init__(self, context: Any, agent: Any, sg_agent: Any, manager: "BridgeManager") -> None:
        super().__init__(context, agent, sg_agent)
        self.updated_devices: set[str] = set()
        self._manager = manager
        self._lock = threading.Lock()

    def port_update(self, context: Any, **kwargs: Any) -> None:
        """A port changed: look at its device."""
        device = f"tap{kwargs['port']['id'][:11]}"
        LOG.debug("port_update: %s", device)
        with self._lock:
            self.updated_devices.add(device)

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
