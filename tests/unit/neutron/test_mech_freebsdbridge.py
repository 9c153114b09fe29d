"""The mechanism driver: what it binds and what it tells nova."""

from typing import Any
from unittest import mock

from neutron_lib.api.definitions import portbindings

from beastack.neutron.agent.manager import BridgeManager
from beastack.neutron.mech_freebsdbridge import AGENT_TYPE, FreeBSDBridgeMechanismDriver

NETWORK = "8a2f0c3e-5a6b-4e0a-9f0e-1d8a6b1c2d3e"
FLAT = {
    "id": "s",
    "network_type": "flat",
    "physical_network": "physnet1",
    "segmentation_id": None,
    "network_id": NETWORK,
}


def agent(**configurations: Any) -> dict[str, Any]:
    found = {"physical_interface_mappings": {"physnet1": "em0"}, "tunnel_types": [], **configurations}
    return {"agent_type": AGENT_TYPE, "alive": True, "configurations": found, "host": "fbsd1", "id": "a"}


def test_flat_on_a_mapped_physical_network_only() -> None:
    driver = FreeBSDBridgeMechanismDriver()
    assert driver.check_segment_for_agent(FLAT, agent())
    assert not driver.check_segment_for_agent({**FLAT, "physical_network": "physnet2"}, agent())
    for kind in ("vlan", "vxlan", "gre", "local"):
        assert not driver.check_segment_for_agent({**FLAT, "network_type": kind}, agent())


def test_tunnels_when_the_agent_reports_them() -> None:
    driver = FreeBSDBridgeMechanismDriver()
    vxlan = {**FLAT, "network_type": "vxlan", "physical_network": None, "segmentation_id": 5}
    assert driver.check_segment_for_agent(vxlan, agent(tunnel_types=["vxlan"]))
    assert driver.get_allowed_network_types(agent(tunnel_types=["vxlan"], vlan_types=["vlan"])) == [
        "flat", "vxlan", "vlan",
    ]  # fmt: skip


def test_a_port_is_bound_as_tap_with_its_bridge() -> None:
    driver = FreeBSDBridgeMechanismDriver()
    context = mock.Mock()
    context.network.current = {"id": NETWORK}
    assert driver.try_to_bind_segment_for_agent(context, FLAT, agent())
    (_, vif_type, details), _ = context.set_binding.call_args
    assert vif_type == portbindings.VIF_TYPE_TAP
    assert details == {"port_filter": True, "connectivity": "l2", "bridge_name": "brq8a2f0c3e-5a"}
    assert driver.connectivity == "l2"


def test_the_agent_reports_what_the_driver_reads() -> None:
    reported = BridgeManager(mock.Mock(), "fbsd1", {"physnet1": "em0"}).get_agent_configurations()
    assert FreeBSDBridgeMechanismDriver().get_mappings({"configurations": reported}) == {"physnet1": "em0"}
