"""The DHCP driver under the stock agent's calls, with the privilege boundary recorded."""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from neutron.agent.linux import dhcp as upstream
from neutron.agent.metadata import driver as upstream_metadata
from neutron.conf.agent import dhcp as dhcp_conf
from neutron.conf.agent.metadata import config as metadata_conf
from neutron_lib import exceptions
from oslo_config import cfg
from oslo_utils import netutils

from beastack.freebsd.errors import NoSuchJail
from beastack.neutron.dhcp import driver, metadata
from beastack.neutron.dhcp.devices import JailDeviceManager
from beastack.neutron.dhcp.interface import JailInterfaceDriver
from beastack.privsep import dhcp as entries
from beastack.privsep import interfaces, jails

NET = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
PORT = "aaaaaaaa-bbcc-4c55-9d1b-0f7a8d7f2f11"
GUEST = "bbbbbbbb-bbcc-4c55-9d1b-0f7a8d7f2f11"
SUBNET = "cccccccc-bbcc-4c55-9d1b-0f7a8d7f2f11"
SUBNET6 = "dddddddd-bbcc-4c55-9d1b-0f7a8d7f2f11"
NS, TAP = f"ns-{PORT[:11]}", f"tap{PORT[:11]}"


def port(id: str, mac: str, owner: str, address: str, device: str = "x", **more: Any) -> dict[str, Any]:
    fixed = [{"subnet_id": SUBNET, "ip_address": address}]
    return {
        "id": id,
        "network_id": NET,
        "mac_address": mac,
        "device_owner": owner,
        "device_id": device,
        "admin_state_up": True,
        "fixed_ips": fixed,
        "extra_dhcp_opts": [],
        **more,
    }


def subnet(
    id: str = SUBNET, cidr: str = "10.8.0.0/24", gateway: str | None = "10.8.0.1", **more: Any
) -> dict[str, Any]:
    return {
        "id": id,
        "cidr": cidr,
        "ip_version": 6 if ":" in cidr else 4,
        "enable_dhcp": True,
        "gateway_ip": gateway,
        "host_routes": [],
        "dns_nameservers": [],
        "subnetpool_id": None,
        **more,
    }


def network(*ports: dict[str, Any], subnets: list[dict[str, Any]] | None = None, mtu: int = 1450) -> Any:
    ours = port(PORT, "fa:16:3e:00:00:02", "network:dhcp", "10.8.0.2", "ours")
    return upstream.NetModel(
        {
            "id": NET,
            "project_id": "p",
            "mtu": mtu,
            "segments": [],
            "subnets": [subnet()] if subnets is None else subnets,
            "non_local_subnets": [],
            "ports": [*ports, ours],
        }
    )


def guest(mac: str = "fa:16:3e:00:00:0a") -> dict[str, Any]:
    return port(GUEST, mac, "compute:nova", "10.8.0.10")


def _nothing(*_: Any) -> None:
    return None


def _conflict(*_: Any) -> None:
    raise exceptions.Conflict


class Monitor:
    def __init__(self) -> None:
        self.watched: dict[tuple[str, str], Any] = {}

    def register(self, uuid: str, service_name: str, monitored_process: Any) -> None:
        self.watched[uuid, service_name] = monitored_process

    def unregister(self, uuid: str, service_name: str) -> None:
        self.watched.pop((uuid, service_name), None)


class Plugin:
    def __init__(self) -> None:
        self.released: list[tuple[str, str]] = []

    def get_networks(self, *a: Any, **k: Any) -> list[Any]:
        return []

    get_ports = get_networks

    def update_dhcp_port(self, port_id: str, wanted: dict[str, Any]) -> Any:
        """The server gives an address in each subnet that is named without one."""
        fixed = [{"ip_address": "2001:db8::2", **given} for given in wanted["port"]["fixed_ips"]]
        return upstream.DictModel(port(port_id, "fa:16:3e:00:00:02", "network:dhcp", "", "ours") | {"fixed_ips": fixed})

    def release_dhcp_port(self, network_id: str, device_id: str) -> None:
        self.released.append((network_id, device_id))


class Host:
    """What the entry points were asked, and the little state that their answers need."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.dnsmasq: tuple[Any, ...] | None = None
        self.proxy = False
        self.jail = False
        self.leases = ""
        self.ports: list[str] = []
        self.fail: dict[str, Exception] = {}

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            self.calls.append((name, *args))
            if name in self.fail:
                raise self.fail[name]
            return getattr(self, f"_{name}", _nothing)(*args)

        if name.startswith("_"):
            raise AttributeError(name)
        return call

    def _start_dnsmasq(self, *args: Any) -> str:
        before, self.dnsmasq = self.dnsmasq, args
        return "reloaded" if before == args else "restarted" if before else "started"

    def _stop_dnsmasq(self, *args: Any) -> bool:
        before, self.dnsmasq = self.dnsmasq, None
        return before is not None

    def _dnsmasq_pid(self, *args: Any) -> int | None:
        return 77 if self.dnsmasq else None

    def _dnsmasq_leases(self, *args: Any) -> str:
        return self.leases

    def _start_metadata_proxy(self, *args: Any) -> str:
        self.proxy = True
        return "started"

    def _stop_metadata_proxy(self, *args: Any) -> bool:
        self.proxy = False
        return True

    def _metadata_proxy_pid(self, *args: Any) -> int | None:
        return 78 if self.proxy else None

    def _ensure_dhcp_jail(self, *args: Any) -> None:
        self.jail = True

    def _remove_dhcp_jail(self, *args: Any) -> None:
        self.jail = False

    def _list_dhcp_jails(self) -> list[str]:
        return [NET] if self.jail else []

    def _ensure_jail_port(self, network_id: str, port_id: str, *args: Any) -> None:
        self.ports.append(f"ns-{port_id[:11]}")

    def _list_jail_ports(self, *args: Any) -> list[str]:
        return self.ports

    def verbs(self) -> list[str]:
        """What was asked for; reading leases changes nothing."""
        return [c[0] for c in self.calls if c[0] != "dnsmasq_leases"]

    def last(self, verb: str) -> tuple[Any, ...]:
        return next(c[1:] for c in reversed(self.calls) if c[0] == verb)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    fake = Host()
    for module in (entries, jails, interfaces):
        for name, value in vars(module).items():
            if getattr(value, "privsep_entrypoint", None) is not None:
                monkeypatch.setattr(module, name, getattr(fake, name))
    metadata._running.clear()
    JailDeviceManager._routes.clear()
    monkeypatch.setattr(upstream.DeviceManager, "get_device_id", lambda *_: "ours")
    return fake


@pytest.fixture
def conf(tmp_path: Path) -> Iterator[Any]:
    made = cfg.ConfigOpts()
    for options in (
        dhcp_conf.DHCP_AGENT_OPTS,
        dhcp_conf.DHCP_OPTS,
        dhcp_conf.DNSMASQ_OPTS,
        dhcp_conf.common.DHCP_PROTOCOL_OPTS,
    ):
        made.register_opts(options)
    made.register_opts(metadata_conf.METADATA_HAPROXY_OPTS, group="metadata_haproxy")
    made.register_opts(metadata_conf.METADATA_RATE_LIMITING_OPTS, group="metadata_rate_limiting")
    made.register_opts(
        [
            cfg.StrOpt("state_path", default=str(tmp_path)),
            cfg.IntOpt("dhcp_lease_duration", default=86400),
            cfg.StrOpt("dns_domain", default="openstacklocal"),
            cfg.StrOpt("host", default="fb"),
            cfg.StrOpt("interface_driver", default="beastack.neutron.dhcp.interface.JailInterfaceDriver"),
        ]
    )
    made([], project="test")
    made.set_override("force_metadata", True)
    return made


@pytest.fixture
def agent(conf: Any, host: Host) -> types.SimpleNamespace:
    found = types.SimpleNamespace(monitor=Monitor(), plugin=Plugin(), host=host, conf=conf)
    found.driver = lambda net: driver.JailDnsmasq(conf, net, found.monitor, None, found.plugin, None)
    found.folder = Path(conf.dhcp_confs) / NET
    return found


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
    made.device_manager.setup_dhcp_port = _conflict
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
