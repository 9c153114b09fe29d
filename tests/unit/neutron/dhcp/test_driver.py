"""The DHCP driver under the stock agent's calls, with the privilege boundary recorded."""

import types
from pathlib import Path

import pytest
from neutron.agent.linux import dhcp as upstream
from neutron.agent.metadata import driver as upstream_metadata
from neutron_lib import exceptions
from oslo_utils import netutils

from beastack.freebsd.errors import NoSuchJail
from beastack.neutron.dhcp import driver, metadata
from beastack.neutron.dhcp.interface import JailInterfaceDriver

from .fakes import GUEST, NET, NS, PORT, SUBNET, SUBNET6, TAP, conflict, guest, network, port, subnet


def test_it_serves_a_network(agent: types.SimpleNamespace) -> None:
    agent.driver(network(guest())).enable()
    host = agent.host
    assert host.verbs()[:5] == [
        "ensure_dhcp_jail",
        "ensure_jail_port",
        "set_jail_addresses",
        "set_jail_default_route",
        "set_jail_default_route",
    ]
    assert host.last("ensure_jail_port") == (NET, PORT, "fa:16:3e:00:00:02", 1450)
    assert host.last("set_jail_addresses") == (NET, PORT, ["10.8.0.2/24", "169.254.169.254/32"])
    assert (NET, "10.8.0.1", 4) in [c[1:] for c in host.calls if c[0] == "set_jail_default_route"]
    assert host.last("start_dnsmasq")[:6] == (
        NET,
        None,
        NS,
        [{"subnet_id": SUBNET, "cidr": "10.8.0.0/24"}],
        86400,
        256,
    )
    assert host.last("start_metadata_proxy")[:2] == (NET, False)
    # our own port asks nobody for its address
    assert (agent.folder / "host").read_text() == "fa:16:3e:00:00:0a,host-10-8-0-10.openstacklocal,10.8.0.10\n"
    # the guest's way to the metadata service leads through our own address
    assert "classless-static-route,169.254.169.254/32,10.8.0.2," in (agent.folder / "opts").read_text()
    assert set(agent.monitor.watched) == {(NET, "dnsmasq"), (NET, metadata.SERVICE)}


def test_a_new_agent_keeps_what_runs(agent: types.SimpleNamespace) -> None:
    agent.driver(network(guest())).enable()
    metadata._running.clear()
    agent.host.calls.clear()
    agent.driver(network(guest())).enable()
    assert "stop_dnsmasq" not in agent.host.verbs()
    assert agent.host._start_dnsmasq(*agent.host.last("start_dnsmasq")) == "reloaded"


def test_a_reload_asks_little(agent: types.SimpleNamespace) -> None:
    agent.driver(network()).enable()
    agent.host.calls.clear()
    agent.driver(network(guest())).reload_allocations()
    assert agent.host.verbs() == ["start_dnsmasq"]
    assert "fa:16:3e:00:00:0a" in (agent.folder / "host").read_text()


def test_the_lease_of_a_port_that_is_gone_is_dropped(agent: types.SimpleNamespace) -> None:
    agent.driver(network(guest())).enable()
    agent.host.leases = "9 fa:16:3e:00:00:0a 10.8.0.10 h *\nduid 00:01\n"
    agent.host.calls.clear()
    agent.driver(network(guest("fa:16:3e:00:00:0b"))).reload_allocations()
    assert agent.host.verbs() == ["stop_dnsmasq", "start_dnsmasq"]
    assert "0 fa:16:3e:00:00:0b 10.8.0.10 * *\n" in (agent.folder / "leases").read_text()
    assert "00:0a" not in (agent.folder / "leases").read_text()
    agent.host.leases = (agent.folder / "leases").read_text()
    agent.host.calls.clear()
    agent.driver(network(guest("fa:16:3e:00:00:0b"))).reload_allocations()
    assert agent.host.verbs() == ["start_dnsmasq"]


def test_ipv6_leases_are_kept_by_address(agent: types.SimpleNamespace) -> None:
    six = guest()
    six["fixed_ips"].append({"subnet_id": SUBNET6, "ip_address": "2001:db8::10"})
    made = agent.driver(network(six))
    agent.folder.mkdir(exist_ok=True, parents=True)
    (agent.folder / "leases").write_text("duid 0:1\n9 77 2001:db8::10 h 00:02\n9 78 2001:db8::11 h 00:03\n")
    assert made._stale_leases() == ["2001:db8::11"]


def test_everything_goes_with_the_network(agent: types.SimpleNamespace) -> None:
    agent.driver(network(guest())).enable()
    empty = upstream.NetModel({"id": NET, "subnets": [], "non_local_subnets": [], "ports": []})
    agent.driver(empty).disable()
    host = agent.host
    assert (host.dnsmasq, host.proxy, host.jail) == (None, False, False)
    assert host.last("destroy_interface") == (TAP,)
    assert agent.plugin.released == [(NET, "ours")]
    assert agent.monitor.watched == {}
    assert not agent.folder.exists()


def test_a_port_that_cannot_be_plugged_is_released(agent: types.SimpleNamespace) -> None:
    agent.host.fail["ensure_jail_port"] = NoSuchJail(["ifconfig"], 1, "", "x")
    with pytest.raises(NoSuchJail):
        agent.driver(network()).enable()
    assert agent.plugin.released == [(NET, "ours")]
    assert agent.host.last("destroy_interface") == (TAP,)
    assert "start_dnsmasq" not in agent.host.verbs()


def test_stale_ports_are_removed_from_the_jail(agent: types.SimpleNamespace) -> None:
    agent.host.ports = ["ns-99999999-99"]
    elsewhere = port(GUEST, "fa:16:3e:00:00:03", "network:dhcp", "10.8.0.3", **{"binding:host_id": "other"})
    agent.host.ports.append(f"ns-{GUEST[:11]}")
    agent.driver(network(elsewhere)).enable()
    gone = {c[1] for c in agent.host.calls if c[0] == "destroy_interface"}
    assert gone == {"tap99999999-99", f"tap{GUEST[:11]}"}


def test_no_dhcp_no_process(agent: types.SimpleNamespace) -> None:
    agent.driver(network()).enable()
    agent.driver(network(subnets=[subnet(enable_dhcp=False)])).enable()
    assert agent.host.dnsmasq is None


def test_addresses_of_an_ipv6_network(agent: types.SimpleNamespace) -> None:
    modes = {"ipv6_address_mode": "slaac", "ipv6_ra_mode": "slaac"}
    agent.driver(network(subnets=[subnet(), subnet(SUBNET6, "2001:db8::/64", "2001:db8::1", **modes)])).enable()
    assert agent.host.last("set_jail_addresses")[2] == [
        "10.8.0.2/24",
        "2001:db8::2/64",
        "169.254.169.254/32",
        "fe80::a9fe:a9fe/128",
    ]
    assert agent.host.last("start_metadata_proxy")[1] is True
    # routers advertise alone: dnsmasq has no range there
    assert agent.host.last("start_dnsmasq")[3] == [{"subnet_id": SUBNET, "cidr": "10.8.0.0/24"}]
    assert agent.host.last("set_jail_default_route") == (NET, "2001:db8::1", 6)


@pytest.mark.parametrize(("gateway", "wanted"), [("fe80::1", None), (None, None), ("192.0.2.1", None)])
def test_a_gateway_outside_is_no_route(agent: types.SimpleNamespace, gateway: str | None, wanted: str | None) -> None:
    version = 6 if gateway and ":" in gateway else 4
    cidr = "2001:db8::/64" if version == 6 else "10.8.0.0/24"
    agent.driver(network(subnets=[subnet(SUBNET, cidr, gateway)])).enable()
    assert (NET, wanted, version) in [c[1:] for c in agent.host.calls if c[0] == "set_jail_default_route"]


def test_a_reload_of_a_network_that_got_a_subnet_gets_its_address_first(agent: types.SimpleNamespace) -> None:
    """The agent reloads when the subnet came while it set the network up, and has no address in it yet."""
    agent.driver(network()).enable()
    agent.host.calls.clear()
    told = network(subnets=[subnet(), subnet(SUBNET6, "2001:db8::/64", "2001:db8::1")])
    agent.driver(told).reload_allocations()
    asked = [
        c[0] for c in agent.host.calls if c[0] in ("set_jail_addresses", "set_jail_default_route", "start_dnsmasq")
    ]
    assert asked[0] == "set_jail_addresses"
    assert asked[-1] == "start_dnsmasq"
    assert "2001:db8::2/64" in agent.host.last("set_jail_addresses")[2]
    assert agent.host.last("set_jail_default_route") == (NET, "2001:db8::1", 6)
    agent.host.calls.clear()
    agent.driver(told).reload_allocations()
    assert not [c for c in agent.host.calls if c[0].startswith("set_")]


def test_what_died_is_brought_back(agent: types.SimpleNamespace) -> None:
    agent.driver(network(guest())).enable()
    for key in ((NET, "dnsmasq"), (NET, metadata.SERVICE)):
        assert agent.monitor.watched[key].active
    agent.host.dnsmasq, agent.host.proxy, agent.host.jail = None, False, False
    for watched in agent.monitor.watched.values():
        assert not watched.active
        watched.enable()
    assert agent.host.dnsmasq and agent.host.proxy and agent.host.jail


def test_the_monitor_survives_what_cannot_be_read(agent: types.SimpleNamespace) -> None:
    agent.driver(network(guest())).enable()
    watched = agent.monitor.watched[NET, "dnsmasq"]
    agent.host.fail |= {"dnsmasq_pid": OSError("x"), "start_dnsmasq": NoSuchJail(["jexec"], 1, "", "x")}
    assert watched.active  # unknown is not absent
    watched.enable()


def test_jails_of_unknown_networks_are_known(agent: types.SimpleNamespace) -> None:
    agent.host.jail = True
    assert driver.JailDnsmasq.existing_dhcp_networks(agent.conf) == [NET]
    agent.host.fail["list_dhcp_jails"] = NoSuchJail(["jls"], 1, "", "x")
    assert driver.JailDnsmasq.existing_dhcp_networks(agent.conf) == []


def test_the_agent_is_told_aloud(agent: types.SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    made = agent.driver(network())
    made.device_manager.setup_dhcp_port = conflict
    with pytest.raises(exceptions.Conflict):
        made.enable()
    assert NET in caplog.text and "enable not done" in caplog.text


def test_upstreams_proxy_clean_up_starts_no_second_daemon(agent: types.SimpleNamespace, tmp_path: Path) -> None:
    assert not driver.JailDnsmasq.should_enable_metadata(agent.conf, network())
    assert netutils.is_ipv6_enabled()
    upstream_metadata.HaproxyConfigurator.cleanup_config_file(NET, str(tmp_path))


def test_names() -> None:
    made = JailInterfaceDriver(None)
    assert made.get_device_name({"id": PORT}) == NS
    assert len(NS) <= 15 and len(TAP) <= 15
