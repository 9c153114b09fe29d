"""ML2 mechanism driver ``freebsdbridge``: binds ports of FreeBSD hosts that run the bridge agent.

Loaded by ``neutron.ml2.mechanism_drivers``. ``vif_type`` is ``tap``: nova refuses ``bridge`` (nova/network/neutron.py),
and hands ``vif_details`` to the compute driver as they are.
"""

from typing import Any

from neutron.plugins.ml2.drivers import mech_agent
from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.services.trunk import constants as trunk
from oslo_log import log as logging

from beastack.neutron import qos

LOG = logging.getLogger(__name__)
AGENT_TYPE = "FreeBSD bridge agent"
MAPPINGS = "physical_interface_mappings"
# Physical network -> a bridge of the operator's, and the network types that a host serves.
ADOPTED = "bridge_mappings"
TYPES = "network_types"
BRIDGE_PREFIX = "brq"


def bridge_name(network_id: str) -> str:
    """The bridge of a network on every host."""
    return BRIDGE_PREFIX + network_id[:11]


class FreeBSDBridgeMechanismDriver(mech_agent.SimpleAgentMechanismDriverBase):
    """Binds what the agent of the port's host reports that it can; filtering is pf's, on the host."""

    def __init__(self) -> None:
        super().__init__(
            AGENT_TYPE,
            portbindings.VIF_TYPE_TAP,
            {
                portbindings.CAP_PORT_FILTER: True,
                portbindings.VIF_DETAILS_CONNECTIVITY: portbindings.CONNECTIVITY_L2,
            },
        )

    def initialize(self) -> None:
        """Upstream's, and what QoS these hosts have."""
        super().initialize()
        qos.register()

    @property
    def connectivity(self) -> str:
        """Every segment is one broadcast domain."""
        return str(portbindings.CONNECTIVITY_L2)

    def bind_port(self, context: Any) -> None:
        """Upstream's; a trunk's ports are refused: a guest's tags end at its port here (docs/networking.md)."""
        port = context.current
        if port.get("trunk_details") or port.get("device_owner") == trunk.TRUNK_SUBPORT_OWNER:
            LOG.error("Port %s is part of a trunk: FreeBSD hosts serve none, it is not bound", port["id"])
            return
        super().bind_port(context)

    def get_allowed_network_types(self, agent: dict[str, Any] | None = None) -> list[str]:
        """What the agent says that its host can serve."""
        types: list[str] = (agent or {}).get("configurations", {}).get(TYPES, [])
        return list(types)

    def get_mappings(self, agent: dict[str, Any]) -> dict[str, str]:
        """Physical network -> network card or bridge, as the agent reports them."""
        reported = agent["configurations"]
        return {**reported.get(MAPPINGS, {}), **reported.get(ADOPTED, {})}

    def check_segment_for_agent(self, segment: dict[str, Any], agent: dict[str, Any]) -> bool:
        """Upstream's; on an operator's bridge there are flat networks only."""
        adopted = agent["configurations"].get(ADOPTED, {})
        vlan = segment["network_type"] == constants.TYPE_VLAN
        if vlan and segment.get("physical_network") in adopted:
            return False
        return bool(super().check_segment_for_agent(segment, agent))

    def get_vif_details(self, context: Any, agent: dict[str, Any], segment: dict[str, Any]) -> dict[str, Any]:
        """The constant details, and the bridge's name."""
        details: dict[str, Any] = super().get_vif_details(context, agent, segment)
        adopted = agent["configurations"].get(ADOPTED, {}).get(segment.get("physical_network"))
        flat = segment["network_type"] == constants.TYPE_FLAT
        name = adopted if flat and adopted else bridge_name(context.network.current["id"])
        return {**details, portbindings.VIF_DETAILS_BRIDGE_NAME: name}
