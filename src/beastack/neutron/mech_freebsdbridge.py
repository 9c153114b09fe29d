"""ML2 mechanism driver ``freebsdbridge``: binds ports of FreeBSD hosts that run the bridge agent.

Loaded by ``neutron.ml2.mechanism_drivers``. ``vif_type`` is ``tap``: nova refuses ``bridge`` (nova/network/neutron.py),
and hands ``vif_details`` to the compute driver as they are.
"""

from typing import Any

from neutron.plugins.ml2.drivers import mech_agent
from neutron_lib import constants
from neutron_lib.api.definitions import portbindings

AGENT_TYPE = "FreeBSD bridge agent"
MAPPINGS = "physical_interface_mappings"
BRIDGE_PREFIX = "brq"


def bridge_name(network_id: str) -> str:
    """The bridge of a network on every host."""
    return BRIDGE_PREFIX + network_id[:11]


class FreeBSDBridgeMechanismDriver(mech_agent.SimpleAgentMechanismDriverBase):
    """Binds flat networks, and what tunnels the agent reports; filtering is pf's, on the host."""

    def __init__(self) -> None:
        super().__init__(
            AGENT_TYPE,
            portbindings.VIF_TYPE_TAP,
            {
                portbindings.CAP_PORT_FILTER: True,
                portbindings.VIF_DETAILS_CONNECTIVITY: portbindings.CONNECTIVITY_L2,
            },
        )

    @property
    def connectivity(self) -> str:
        """Every segment is one broadcast domain."""
        return str(portbindings.CONNECTIVITY_L2)

    def get_allowed_network_types(self, agent: dict[str, Any] | None = None) -> list[str]:
        """Flat always; others only when the agent says that it can."""
        reported = (agent or {}).get("configurations", {})
        return [constants.TYPE_FLAT, *reported.get("tunnel_types", []), *reported.get("vlan_types", [])]

    def get_mappings(self, agent: dict[str, Any]) -> dict[str, str]:
        """Physical network -> network card, as the agent reports them."""
        mappings: dict[str, str] = agent["configurations"].get(MAPPINGS, {})
        return mappings

    def get_vif_details(self, context: Any, agent: dict[str, Any], segment: dict[str, Any]) -> dict[str, Any]:
        """The constant details, and the bridge's name."""
        details: dict[str, Any] = super().get_vif_details(context, agent, segment)
        return {**details, portbindings.VIF_DETAILS_BRIDGE_NAME: bridge_name(context.network.current["id"])}
