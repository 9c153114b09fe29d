"""Upstream's flows through our driver: all are such as cross the boundary, and what cannot be sent is an error."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from neutron.agent.common import ovs_lib
from neutron.agent.linux.openvswitch_firewall import firewall as upstream
from neutron.conf.agent import ovs_conf, securitygroups_rpc
from neutron.conf.plugins.ml2.drivers import ovs_conf as agent_conf
from oslo_config import cfg

from beastack.neutron.ovs import bridge, firewall
from beastack.privsep import flows

MAC, OTHER = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
PORT = {
    "device": "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11",
    "network_id": "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f12",
    "fixed_ips": ["10.0.0.5", "fd00::5"],
    "allowed_address_pairs": [
        {"mac_address": MAC, "ip_address": "10.0.0.77/32"},
        {"mac_address": OTHER, "ip_address": "fd00::77"},
    ],
    "security_groups": ["g"],
    "security_group_source_groups": ["g"],
    "port_security_enabled": True,
}
RULES = [
    {"direction": d, "ethertype": e, **more}
    for d in ("ingress", "egress")
    for e in ("IPv4", "IPv6")
    for more in (
        {},
        {"protocol": "icmp", "port_range_min": 8, "port_range_max": 0},
        {"protocol": "tcp", "port_range_min": 20, "port_range_max": 1000},
        {"protocol": "udp", "port_range_min": 53, "port_range_max": 53, "remote_group_id": "g"},
        {"protocol": "47"},
        {"protocol": "sctp", "source_port_range_min": 1, "source_port_range_max": 9},
    )
] + [{"direction": "ingress", "ethertype": "IPv4", "source_ip_prefix": "192.0.2.0/24"}]


class Sent:
    """What crossed the boundary, held to the privileged side's check."""

    def __init__(self) -> None:
        self.flows: list[tuple[str, str]] = []
        self.ended: list[tuple[int, list[str]]] = []
        self.broken = False

    def ovs_flows(self, name: str, action: str, lines: list[str]) -> None:
        assert name == "br-int"
        if self.broken:
            raise RuntimeError("the privileged side is gone")
        self.flows += [(action, flows.checked(line, action)) for line in lines]

    def ovs_end_states(self, zone: int, addresses: list[str]) -> int:
        self.ended.append((zone, addresses))
        return 0


class Bridge(bridge.ClosedIntegrationBridge):
    """br-int of one port, without a switch behind."""

    def __init__(self) -> None:
        self.br_name = "br-int"
        self._default_cookie, self._flows_per_port = 5, True
        self._reserved_cookies = {5}
        self.installed: list[dict[str, Any]] = []

    def install_drop(self, *args: Any, **flow: Any) -> None:
        self.installed.append(flow)

    def add_protocols(self, *protocols: str) -> None: ...

    def get_port_name_list(self) -> list[str]:
        return []

    def dump_flows(self, table_id: int | None = None) -> list[Any]:
        return []

    def get_vif_port_by_id(self, port_id: str) -> ovs_lib.VifPort:
        return ovs_lib.VifPort("tap6f1a4f2e-0c", 3, port_id, MAC, self)

    def db_get_val(self, table: str, record: str, column: str, **more: Any) -> dict[str, str]:
        return {"tag": "1", "network_type": "vlan", "segmentation_id": "100", "physical_network": "physnet1"}

    is_hw_offload_enabled = False


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sent]:
    for register in (ovs_conf.register_ovs_agent_opts, agent_conf.register_ovs_agent_opts):
        register(cfg.CONF)
    securitygroups_rpc.register_securitygroups_opts(cfg.CONF)
    made = Sent()
    monkeypatch.setattr(bridge, "ovs", made)
    monkeypatch.setattr(firewall, "ovs", made)
    monkeypatch.setattr(upstream.ip_conntrack, "OvsIpConntrackManager", lambda: None)
    monkeypatch.delattr(upstream.ConjIdMap, "_instance", raising=False)
    return made


def driver() -> firewall.ClosedOvsFirewallDriver:
    made = firewall.ClosedOvsFirewallDriver(Bridge())
    made.update_security_group_rules("g", RULES)
    made.update_security_group_members("g", {"IPv4": [("10.0.0.9", MAC)], "IPv6": [("fd00::9", MAC)]})
    return made


def test_every_flow_of_a_port_crosses(sent: Sent) -> None:
    made = driver()
    with made.defer_apply():
        made.prepare_port_filter(dict(PORT))
    added = [flow for action, flow in sent.flows if action == "add"]
    assert len(added) > 100 and all(",cookie=5," in flow for flow in added)
    with made.defer_apply():
        made.update_port_filter({**PORT, "fixed_ips": ["10.0.0.6"]})
    assert [flow for action, flow in sent.flows if action == "del"]
    assert sent.ended == [(1, [])] * 2
    with made.defer_apply():
        made.remove_port_filter(dict(PORT))
    assert sent.ended[2:] == [(1, ["10.0.0.6"])]


PORTS = st.integers(1, 65535)
PROTOCOLS = st.one_of(
    st.just({}),
    st.integers(0, 255).map(lambda n: {"protocol": str(n)}),
    st.sampled_from(
        ["ah", "egp", "esp", "gre", "igmp", "ipip", "ipv6-icmp", "ospf", "pgm", "rsvp", "udplite", "vrrp"]
    ).map(lambda name: {"protocol": name}),
    st.builds(
        lambda name, ends: {"protocol": name, "port_range_min": min(ends), "port_range_max": max(ends)},
        st.sampled_from(["tcp", "udp", "sctp", "dccp", "6", "17"]),
        st.tuples(PORTS, PORTS),
    ),
    st.builds(
        lambda name, kind, code: (
            {"protocol": name, "port_range_min": kind} | ({} if code is None else {"port_range_max": code})
        ),
        st.sampled_from(["icmp", "1", "58", "ipv6-icmp", "icmpv6"]),
        st.integers(0, 255),
        st.none() | st.integers(0, 255),
    ),
)
NETWORKS = {
    "IPv4": st.ip_addresses(v=4).flatmap(
        lambda ip: st.integers(0, 32).map(lambda n: ip_network((ip, n), strict=False))
    ),
    "IPv6": st.ip_addresses(v=6).flatmap(
        lambda ip: st.integers(0, 128).map(lambda n: ip_network((ip, n), strict=False))
    ),
}


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """A rule as the server describes it."""
    family, direction = draw(st.sampled_from(sorted(NETWORKS))), draw(st.sampled_from(["ingress", "egress"]))
    found = {"direction": direction, "ethertype": family, **draw(PROTOCOLS)}
    if draw(st.booleans()):
        found["source_ip_prefix" if direction == "ingress" else "dest_ip_prefix"] = str(draw(NETWORKS[family]))
    elif draw(st.booleans()):
        found["remote_group_id"] = "g"
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rules(), max_size=6))
def test_whatever_the_rules_are_their_flows_cross(sent: Sent, wanted: list[dict[str, Any]]) -> None:
    """One that did not would keep every new port of the host down."""
    made = driver()
    made.update_security_group_rules("g", wanted)
    before = len(sent.flows)
    with made.defer_apply():
        made.prepare_port_filter(dict(PORT))
    assert len(sent.flows) > before


def test_who_announces_an_address_is_who_has_it(sent: Sent) -> None:
    made = driver()
    with made.defer_apply():
        made.prepare_port_filter(dict(PORT))
    arp = [flow for _, flow in sent.flows if "arp_spa" in flow]
    assert len(arp) == 2 and all(f"dl_src={MAC}" in flow and f"arp_sha={MAC}" in flow for flow in arp)
    advertised = {
        (flow.split("nd_target=")[1].split(",")[0], flow.split("dl_src=")[1].split(",")[0])
        for _, flow in sent.flows
        if "nd_target" in flow
    }
    assert advertised == {("fd00::5", MAC), ("fd00::77", OTHER), ("fe80::f816:3eff:fe00:1", MAC)}


def test_what_cannot_be_sent_is_raised_and_sent_with_the_next_attempt(sent: Sent) -> None:
    made = driver()
    sent.broken = True
    with pytest.raises(RuntimeError, match="is gone"), made.defer_apply():
        made.prepare_port_filter(dict(PORT))
    sent.broken = False
    before = len(sent.flows)
    with made.defer_apply():
        made.prepare_port_filter(dict(PORT))
    assert any("table=60" in flow and "in_port=3" in flow for _, flow in sent.flows[before:])


def test_states_that_cannot_be_ended_are_said_and_no_more(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    made = driver()

    def refuse(*_: Any) -> int:
        raise RuntimeError("no datapath")

    monkeypatch.setattr(sent, "ovs_end_states", refuse)
    with made.defer_apply():
        made.prepare_port_filter(dict(PORT))
    assert made.ports.keys() == {PORT["device"]}


def test_another_bridge_is_refused(sent: Sent) -> None:
    with pytest.raises(RuntimeError, match="beastack-ovs-agent"):
        firewall.ClosedOvsFirewallDriver(object())


@pytest.mark.parametrize(
    ("command", "arguments", "text"),
    [
        ("dump-flows", [], None),
        ("del-flows", [], None),
        ("add-flows", ["--strict", "-"], "x"),
        ("add-meter", ["-"], "x"),
    ],
)
def test_other_commands_are_not_served(command: str, arguments: list[str], text: str | None, sent: Sent) -> None:
    with pytest.raises(bridge.FlowsNotServed):
        Bridge().run_ofctl(command, arguments, text)
    assert sent.flows == []


def test_a_port_without_flows_is_closed_before_the_bridge_forwards(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Bridge()
    monkeypatch.setattr(
        bridge.br_int.OVSIntegrationBridge, "setup_default_table", lambda self, **k: self.installed.append(k)
    )
    made.setup_default_table(enable_dhcpv6=True)
    drop, upstreams = made.installed
    assert (drop["table_id"], drop["vlan_vid"]) == (60, (0, 0x0FFF)) and 1 < drop["priority"] < 90
    assert upstreams == {"enable_dhcpv6": True}
