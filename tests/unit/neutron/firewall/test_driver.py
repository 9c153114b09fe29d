"""The firewall driver, driven by upstream's SecurityGroupAgentRpc against a simulated pf."""

from typing import Any
from unittest import mock

import pytest
from neutron.agent import securitygroups_rpc
from oslo_config import cfg
from tests.unit.neutron.fakes import FakeNet
from tests.unit.neutron.firewall.test_rules import DEFAULT, EGRESS, SG, TAP, port, sg_rule

from beastack.freebsd import pf
from beastack.neutron.firewall.driver import PfFirewallDriver
from beastack.neutron.firewall.translate import table

OTHER = "tapaaaaaaaa-bb"


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> FakeNet:
    return FakeNet(monkeypatch)


class Server:
    """security_group_info_for_devices, as neutron's server answers."""

    def __init__(self) -> None:
        self.devices: dict[str, dict[str, Any]] = {TAP: port(security_group_source_groups=[SG])}
        self.rules: dict[str, list[dict[str, Any]]] = {SG: DEFAULT}
        self.members: dict[str, Any] = {SG: {"IPv4": [["10.0.0.5", None], ["10.0.0.6", None]], "IPv6": []}}

    def security_group_info_for_devices(self, context: Any, devices: list[str]) -> dict[str, Any]:
        return {
            "devices": {d: dict(self.devices[d]) for d in devices if d in self.devices},
            "security_groups": self.rules,
            "sg_member_ips": self.members,
        }


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def agent(net: FakeNet, server: Server) -> Any:
    cfg.CONF.set_override("firewall_driver", "beastack_pf", "SECURITYGROUP")
    cfg.CONF.set_override("enable_security_group", True, "SECURITYGROUP")
    agent = securitygroups_rpc.SecurityGroupAgentRpc(mock.Mock(), server, defer_refresh_firewall=True)
    assert isinstance(agent.firewall, PfFirewallDriver)
    yield agent
    cfg.CONF.clear_override("firewall_driver", "SECURITYGROUP")
    cfg.CONF.clear_override("enable_security_group", "SECURITYGROUP")


def taken(net: FakeNet) -> list[str]:
    found, net.log[:] = list(net.log), []
    return found


def test_a_port_comes_changes_and_goes(agent: Any, net: FakeNet, server: Server) -> None:
    agent.setup_port_filters({TAP}, set())
    assert taken(net) == [
        f"replace_table {table(4, SG)}", f"replace_table {table(6, SG)}", f"load_port_rules {TAP}", "list_tables",
    ]  # fmt: skip
    assert agent.firewall.ready(TAP) is None
    assert pf.read_table(net, table(4, SG)) == ["10.0.0.5", "10.0.0.6"]
    # nothing changed, nothing is loaded
    agent.setup_port_filters(set(), {TAP})
    assert taken(net) == []
    # a member came, and one went: its states end
    server.members = {SG: {"IPv4": [["10.0.0.5", None], ["10.0.0.7", None]], "IPv6": []}}
    agent.security_groups_member_updated([SG])
    agent.setup_port_filters(set(), set())
    assert taken(net) == [f"change_table {table(4, SG)}", "end_member_states"]
    assert pf.read_table(net, table(4, SG)) == ["10.0.0.5", "10.0.0.7"]
    # the same members in another order
    server.members = {SG: {"IPv6": [], "IPv4": [["10.0.0.7", "x"], ["10.0.0.5", None]]}}
    agent.security_groups_member_updated([SG])
    agent.setup_port_filters(set(), set())
    assert taken(net) == []
    # a rule went: the port is loaded again and the group's table is not needed any more
    server.rules = {SG: EGRESS}
    agent.security_groups_rule_updated([SG])
    agent.setup_port_filters(set(), set())
    assert taken(net) == [f"load_port_rules {TAP}", f"drop_table {table(4, SG)}", f"drop_table {table(6, SG)}"]
    # gone
    agent.remove_devices_filter({TAP})
    assert taken(net) == [f"unload_port {TAP}"]
    assert agent.firewall.ports == {}
    assert pf.list_anchors(net) == []


def test_only_the_port_that_changed_is_loaded(agent: Any, net: FakeNet, server: Server) -> None:
    server.devices[OTHER] = port(device=OTHER, fixed_ips=["10.0.0.6"])
    agent.setup_port_filters({TAP, OTHER}, set())
    taken(net)
    server.devices[OTHER] = port(device=OTHER, fixed_ips=["10.0.0.8"])
    agent.setup_port_filters(set(), {TAP, OTHER})
    assert taken(net) == [f"load_port_rules {OTHER}"]


def test_unknown_devices_get_no_rules_until_trusted(agent: Any, net: FakeNet) -> None:
    net.tap(OTHER)
    agent.setup_port_filters({OTHER}, set())
    # no rules: pf's main ruleset drops it, and the agent keeps it off its bridge
    assert not pf.read_rules(net, OTHER)
    assert "has not described" in agent.firewall.ready(OTHER)
    agent.firewall.trust(OTHER)
    assert [r.label for r in pf.read_rules(net, OTHER) or []] == [f"{OTHER}/open", f"{OTHER}/end"]
    assert agent.firewall.ready(OTHER) is None
    taken(net)
    agent.setup_port_filters({OTHER}, set())
    assert taken(net) == []
    agent.remove_devices_filter({OTHER})
    assert taken(net) == [f"unload_port {OTHER}"]


def test_a_message_that_was_late_leaves_no_rules(agent: Any, net: FakeNet) -> None:
    agent.setup_port_filters({TAP}, set())
    agent.security_groups_rule_updated([SG])  # the device is noted
    agent.remove_devices_filter({TAP})
    agent.setup_port_filters(set(), set())  # and filtered again: the server has not deleted its port yet
    assert pf.list_anchors(net) == [TAP]
    agent.firewall.retain({OTHER})
    assert pf.list_anchors(net) == []
    assert agent.firewall.ports == {}
    taken(net)
    agent.firewall.retain({OTHER})
    assert taken(net) == []


def test_rules_that_stayed_behind_are_removed_later(agent: Any, net: FakeNet) -> None:
    agent.setup_port_filters({TAP}, set())
    net.broken.add("unload_port")
    agent.remove_devices_filter({TAP})
    assert pf.list_anchors(net) == [TAP]
    net.broken.clear()
    agent.firewall.retain(set())
    assert pf.list_anchors(net) == []
    assert agent.firewall.ready(TAP) is not None


def test_what_pf_does_not_take_closes_one_port(
    agent: Any, net: FakeNet, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.devices[OTHER] = port(device=OTHER)
    whole = net.run

    def run(argv: Any, **kw: Any) -> Any:
        if f"beastack/{TAP}" in argv and (kw.get("input") or "").count("\n") > 1:
            kw["input"] = "pass foo\n"
        return whole(argv, **kw)

    monkeypatch.setattr(net, "run", run)
    agent.setup_port_filters({TAP, OTHER}, set())
    assert agent.firewall.ready(OTHER) is None
    assert "Syntax error" in agent.firewall.ready(TAP)
    assert [r.label for r in pf.read_rules(net, TAP) or []] == [f"{TAP}/end"]
    monkeypatch.setattr(net, "run", whole)
    agent.setup_port_filters(set(), {TAP})
    assert agent.firewall.ready(TAP) is None


def test_a_table_that_is_not_loaded_closes_its_ports(agent: Any, net: FakeNet) -> None:
    net.broken = {"replace_table"}
    agent.setup_port_filters({TAP}, set())
    assert "table" in agent.firewall.ready(TAP)
    assert len(pf.read_rules(net, TAP) or []) == 1
    net.broken = set()
    agent.setup_port_filters(set(), {TAP})
    assert agent.firewall.ready(TAP) is None


def test_a_port_that_cannot_be_understood_is_closed(agent: Any, net: FakeNet, server: Server) -> None:
    server.devices[TAP] = port(fixed_ips=["what?"])
    agent.setup_port_filters({TAP}, set())
    assert len(pf.read_rules(net, TAP) or []) == 1


def test_a_restart_removes_tables_without_use(agent: Any, net: FakeNet) -> None:
    pf.replace_table(net, "bs4_0123456789ab", ["10.0.0.1"])
    pf.replace_table(net, "operators", ["10.0.0.1"])
    agent.setup_port_filters({TAP}, set())
    assert pf.list_tables(net) == sorted([table(4, SG), table(6, SG), "operators"])


def test_forgotten_ports_are_loaded_again(agent: Any, net: FakeNet) -> None:
    agent.setup_port_filters({TAP}, set())
    taken(net)
    agent.firewall.forget([TAP])
    assert agent.firewall.ready(TAP) == "its rules are not loaded"
    agent.setup_port_filters(set(), {TAP})
    assert f"load_port_rules {TAP}" in taken(net)


def test_many_members_that_went_end_all_states(agent: Any, net: FakeNet, server: Server) -> None:
    server.members = {SG: {"IPv4": [[f"10.0.1.{n}", None] for n in range(40)], "IPv6": []}}
    agent.setup_port_filters({TAP}, set())
    taken(net)
    server.members = {SG: {"IPv4": [], "IPv6": []}}
    agent.setup_port_filters(set(), {TAP})
    assert taken(net) == [f"change_table {table(4, SG)}", "end_member_states"]


def test_address_groups_are_tables(agent: Any, net: FakeNet, server: Server) -> None:
    server.rules = {SG: [sg_rule(remote_address_group_id="ag")]}
    server.members = {"ag": {"IPv4": [["10.3.0.0/16", None]], "IPv6": []}}
    agent.setup_port_filters({TAP}, set())
    assert pf.read_table(net, table(4, "ag")) == ["10.3.0.0/16"]


def test_a_table_that_is_not_as_it_was_left_is_loaded_whole(agent: Any, net: FakeNet, server: Server) -> None:
    agent.setup_port_filters({TAP}, set())
    pf.replace_table(net, table(4, SG), ["10.0.0.99"])  # somebody else
    taken(net)
    server.members = {SG: {"IPv4": [["10.0.0.5", None]], "IPv6": []}}
    agent.setup_port_filters(set(), {TAP})
    assert taken(net) == [f"change_table {table(4, SG)}", f"replace_table {table(4, SG)}", "end_member_states"]
    assert pf.read_table(net, table(4, SG)) == ["10.0.0.5"]


def test_states_that_cannot_be_ended_close_the_port_until_they_are(agent: Any, net: FakeNet, server: Server) -> None:
    agent.setup_port_filters({TAP}, set())
    net.broken = {"end_member_states"}
    server.members = {SG: {"IPv4": [], "IPv6": []}}
    agent.setup_port_filters(set(), {TAP})
    assert "table" in agent.firewall.ready(TAP)
    assert len(pf.read_rules(net, TAP) or []) == 1
    net.broken = set()
    agent.setup_port_filters(set(), {TAP})
    assert agent.firewall.ready(TAP) is None


def test_a_member_costs_the_same_whatever_the_ports(agent: Any, net: FakeNet, server: Server) -> None:
    names = [f"tap{n:08x}-00" for n in range(30)]
    server.devices = {name: port(device=name, security_group_source_groups=[SG]) for name in names}
    agent.setup_port_filters(set(names), set())
    taken(net)
    before = len(net.ran)
    server.members = {SG: {"IPv4": [["10.0.0.5", None], ["10.0.0.6", None], ["10.0.0.7", None]], "IPv6": []}}
    agent.security_groups_member_updated([SG])
    agent.setup_port_filters(set(), set())
    assert taken(net) == [f"change_table {table(4, SG)}"]
    assert [argv[3:] for argv in net.ran[before:]] == [["-T", "add", "10.0.0.7/32"]]
