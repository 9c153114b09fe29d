"""A bridge manager over a simulated host, with one card or with tunnels."""

from typing import Any
from unittest import mock

import pytest
from oslo_config import cfg
from tests.unit.neutron.agent.gate import BRIDGE, NETWORK, VXLAN, details, filtered
from tests.unit.neutron.fakes import TUNNEL, FakeNet
from tests.unit.neutron.firewall.test_rules import TAP

from beastack.freebsd.ifnet_read import Interface
from beastack.neutron.agent import manager
from beastack.neutron.agent.bridges import Ways
from beastack.neutron.firewall.driver import PfFirewallDriver


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> FakeNet:
    return FakeNet(monkeypatch)


@pytest.fixture
def sg_agent() -> Any:
    cfg.CONF.set_override("enable_security_group", True, "SECURITYGROUP")
    yield mock.Mock(firewall=PfFirewallDriver(), devices_to_refilter=set())
    cfg.CONF.clear_override("enable_security_group", "SECURITYGROUP")


@pytest.fixture
def bridge(net: FakeNet, sg_agent: Any) -> manager.BridgeManager:
    made = manager.BridgeManager(net, "fbsd1", Ways({"physnet1": "em0"}))
    made.get_rpc_callbacks(mock.Mock(), mock.Mock(), sg_agent)
    return made


@pytest.fixture
def tunnelled(net: FakeNet, sg_agent: Any) -> manager.BridgeManager:
    net.net["vtnet0"] = Interface("vtnet0", frozenset({"UP"}), 1500, inet=[f"{TUNNEL}/24"])
    net.ensure_bridge(BRIDGE, f"beastack:network:{NETWORK}")
    made = manager.BridgeManager(net, "fbsd1", Ways({}, tunnel_address=TUNNEL), tunnels=mock.Mock(networks=list))
    made.get_rpc_callbacks(mock.Mock(), mock.Mock(), sg_agent)
    net.tap(TAP)
    filtered(sg_agent)
    made.get_all_devices()
    made.setup_arp_spoofing_protection(TAP, details())
    assert made.plug_interface(NETWORK, VXLAN, TAP, "compute:nova")
    return made
