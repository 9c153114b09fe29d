"""What the choice of a switch changes in the services' files."""

from pathlib import Path

import pytest

from beastack.cloud.config import neutron, nova
from beastack.cloud.description import Cluster
from beastack.cloud.layout import Layout

LAYOUT = Layout("t", Path("/var/lib/beastack/t"), 7)
SECRETS = dict.fromkeys(("database", "rabbit", "service", "metadata"), "x")
CARDS = {"physnet1": "em0", "physnet2": "em1"}


@pytest.fixture
def firmware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nova.programs, "firmware", lambda: ("/code", "/vars"))


def test_open_vswitch_has_no_tunnels() -> None:
    ml2 = neutron.ml2(Cluster(switch="openvswitch"))["ml2"]
    assert ml2["mechanism_drivers"] == "openvswitch" and ml2["project_network_types"] == "vlan"
    assert "vxlan" not in str(ml2["type_drivers"])
    assert neutron.ml2(Cluster())["ml2"]["mechanism_drivers"] == "freebsdbridge,l2population"


def test_open_vswitch_has_no_limits() -> None:
    for switch, there in (("if_bridge", True), ("openvswitch", False)):
        plugins = neutron.server(LAYOUT, SECRETS, Cluster(switch=switch))["DEFAULT"]["service_plugins"]
        assert ("beastack_qos" in str(plugins).split(",")) is there
        assert ("qos" in str(neutron.ml2(Cluster(switch=switch))["ml2"]["extension_drivers"]).split(",")) is there


def test_the_agent_filters_by_flows_and_may_do_no_pf() -> None:
    sections = neutron.agent(LAYOUT, SECRETS, "a", "192.0.2.1", CARDS, "helper", "openvswitch")
    assert sections["ovs"]["bridge_mappings"] == "physnet1:br-em0,physnet2:br-em1"
    assert sections["securitygroup"]["firewall_driver"] == "beastack_ovs"
    assert "freebsd_bridge" not in sections
    entries = str(sections["beastack"]["privsep_entries"]).split(",")
    assert "ovs" in entries and not {"pf", "guard", "rates", "uplinks"} & set(entries)
    bridged = neutron.agent(LAYOUT, SECRETS, "a", "192.0.2.1", CARDS, "helper")
    assert "ovs" not in bridged and "ovs" not in str(bridged["beastack"]["privsep_entries"]).split(",")


def test_nova_compute_may_plug_and_no_more(firmware: None) -> None:
    switched = nova.compute(LAYOUT, SECRETS, "a", "192.0.2.1", "helper", switch="openvswitch")["beastack"]
    plain = nova.compute(LAYOUT, SECRETS, "a", "192.0.2.1", "helper")["beastack"]
    assert switched["switch"] == "openvswitch" and "switch" not in plain
    more = set(str(switched["privsep_entries"]).split(",")) - set(str(plain["privsep_entries"]).split(","))
    assert more == {"ovs.ovs_plug", "ovs.ovs_unplug"}
