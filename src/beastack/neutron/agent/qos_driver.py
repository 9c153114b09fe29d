"""The bridge agent's driver of upstream's ``qos`` extension: its calls are noted in ``rates``."""

from typing import Any

from neutron.agent.l2.extensions import qos
from neutron_lib import constants
from oslo_log import log as logging

from beastack.neutron.agent.rates import Rates
from beastack.neutron.qos import SUPPORTED_RULES

LOG = logging.getLogger(__name__)


class BridgeQosDriver(qos.QosAgentDriver):
    """Loaded by ``neutron.qos.agent_drivers``."""

    SUPPORTED_RULES = SUPPORTED_RULES

    def __init__(self) -> None:
        self._rates: Rates | None = None

    def consume_api(self, agent_api: Rates) -> None:
        """The manager's limits; raises TypeError in another agent."""
        if not isinstance(agent_api, Rates):
            raise TypeError("this QoS driver is the FreeBSD bridge agent's")
        self._rates = agent_api

    def initialize(self) -> None:
        """Nothing is to be prepared."""

    def create_bandwidth_limit(self, port: dict[str, Any], rule: Any) -> None:
        """A port has a limit now."""
        self.update_bandwidth_limit(port, rule)

    def update_bandwidth_limit(self, port: dict[str, Any], rule: Any) -> None:
        """A port's limit changed. The server refuses the other direction; a rule that came through is said."""
        if rule.direction == constants.INGRESS_DIRECTION:
            LOG.error("Port %s: what is sent to a guest is not limited here (rule %s)", port["device"], rule.id)
        elif self._rates is not None:
            self._rates.want(port["device"], rule.max_kbps, rule.max_burst_kbps or 0)

    def delete_bandwidth_limit(self, port: dict[str, Any]) -> None:
        """A port has no limit any more, or another one in a moment."""
        if self._rates is not None:
            self._rates.unwant(port["device"])

    def delete_bandwidth_limit_ingress(self, port: dict[str, Any]) -> None:
        """There was none."""
        LOG.debug("Port %s had no limit of what is sent to it", port["device"])
