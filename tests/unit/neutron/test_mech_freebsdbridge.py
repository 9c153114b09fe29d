"""The mechanism driver: what it binds and what it tells nova."""

from typing import Any
from unittest import mock

import pytest
from neutron_lib.api.definitions import portbindings

from beastack.neutron.agent.bridges import Ways
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
    cards = {"physnet1": "em0"}
    found = {"physical_interface_mappings": cards, "network_types": ["flat"], "tunnel_types": [], **configurations}
    return {"agent_type": AGENT_TYPE, "alive": True, "configurations": found, "host": "fbsd1", "id": "a"}


def test_flat_on_a_mapped_physical_network_only() -> None:
    driver = FreeBSDBridgeMechanismDriver()
    assert driver.check_segment_for_agent(FLAT, agent())
    assert not driver.check_segment_for_agent({**FLAT, "physical_network": "physnet2"}, agent())
    for kind in ("vlan", "vxlan", "gre", "local"):
        assert not driver.check_segment_for_agent({**FLAT, "network_type": kind}, agent())


def test_what_the_agent_reports_is_bound() -> None:
    driver = FreeBSDBridgeMechanismDriver()
    vxlan = {**FLAT, "network_type": "vxlan", "physical_network": None, "segmentation_id": 5}
    host = agent(network_types=["local", "flat", "vlan", "vxlan"], tunnel_types=["vxlan"])
    assert driver.check_segment_for_agent(vxlan, host)
    assert driver.check_segment_for_agent({**vxlan, "network_type": "local", "segmentation_id": None}, host)
    assert driver.check_segment_for_agent({**FLAT, "network_type": "vlan", "segmentation_id": 7}, host)
    assert not driver.check_segment_for_agent({**vxlan, "network_type": "gre"}, host)
    assert not driver.check_segment_for_agent({**FLAT, "network_type": "vlan", "physical_network": "physnet2"}, host)


def test_an_operators_bridge_has_flat_networks_only() -> None:
    driver = FreeBSDBridgeMechanismDriver()
    host = agent(network_types=["flat", "vlan"], bridge_mappings={"lab": "bridge0"})
    lab = {**FLAT, "physical_network": "lab"}
    context = mock.Mock()
    context.network.current = {"id": NETWORK}
    assert driver.try_to_bind_segment_for_agent(context, lab, host)
    assert context.set_binding.call_args.args[2]["bridge_name"] == "bridge0"
    assert not driver.check_segment_for_agent({**lab, "network_type": "vlan", "segmentation_id": 7}, host)


@pytest.mark.parametrize(
    "port", [{"trunk_details": {"trunk_id": "t", "sub_ports": []}}, {"device_owner": "trunk:subport"}]
)
def test_a_trunks_ports_are_refused(port: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    context = mock.Mock(current={"id": "p", **port})
    FreeBSDBridgeMechanismDriver().bind_port(context)
    assert context.set_binding.called is False
    assert "trunk" in caplog.text


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
    reported = BridgeManager(mock.Mock(), "fbsd1", Ways({"physnet1": "em0"})).get_agent_configurations()
    driver = FreeBSDBridgeMechanismDriver()
    assert driver.get_mappings({"configurations": reported}) == {"physnet1": "em0"}
    assert driver.get_allowed_network_types({"configurations": reported}) == ["local", "flat", "vlan"]
    assert "tunneling_ip" not in reported
    ways = Ways({}, tunnel_address="192.0.2.1")
    reported = BridgeManager(mock.Mock(), "fbsd1", ways, tunnels=mock.Mock()).get_agent_configurations()
    assert (reported["tunneling_ip"], reported["l2pop_network_types"]) == ("192.0.2.1", ["vxlan"])
    ways = Ways({}, tunnel_address="192.0.2.1", tunnel_group="239.1.1.1")
    reported = BridgeManager(mock.Mock(), "fbsd1", ways).get_agent_configurations()
    assert (reported["tunnel_types"], reported["l2pop_network_types"]) == (["vxlan"], [])
