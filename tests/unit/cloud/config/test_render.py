"""The configurations: well formed, complete where it matters, and no host learns the database."""

from configparser import RawConfigParser
from pathlib import Path

import pytest

from beastack.cloud.config import backing, identity, neutron, nova
from beastack.cloud.config.common import Sections, render
from beastack.cloud.description import Cluster, Host
from beastack.cloud.layout import PASSWORDS, Layout

LAYOUT = Layout("t", Path("/var/lib/beastack/t"), 7)
CARDS = {"physnet1": "em0", "physnet2": "em1"}
SECRETS = {name: f"secret-of-{name}" for name in PASSWORDS}


def parsed(sections: Sections) -> RawConfigParser:
    parser = RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(render(sections))
    return parser


@pytest.mark.parametrize(
    "sections",
    [
        identity.keystone(LAYOUT, SECRETS),
        identity.glance(LAYOUT, SECRETS),
        identity.placement(LAYOUT, SECRETS),
        nova.control(LAYOUT, SECRETS),
        nova.compute(LAYOUT, SECRETS, "fbsd1", "100.64.7.11", "helper"),
        neutron.server(LAYOUT, SECRETS, Cluster()),
        neutron.ml2(Cluster()),
        neutron.agent(LAYOUT, SECRETS, "fbsd1", "100.64.7.11", CARDS, "helper"),
    ],
)
def test_what_is_rendered_reads_back_the_same(sections: Sections) -> None:
    parser = parsed(sections)
    for name, options in sections.items():
        for key, value in options.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            assert parser.get(name, key) == text


def test_a_line_break_cannot_add_an_option() -> None:
    with pytest.raises(ValueError, match="line break"):
        render({"DEFAULT": {"a": "1\nb = 2"}})


def test_compute_hosts_do_not_get_the_database() -> None:
    for sections in (
        nova.compute(LAYOUT, SECRETS, "fbsd1", "100.64.7.11", "helper"),
        neutron.agent(LAYOUT, SECRETS, "fbsd1", "100.64.7.11", CARDS, "helper"),
    ):
        assert SECRETS["database"] not in render(sections)
        assert SECRETS["admin"] not in render(sections)


def test_every_context_has_its_helper() -> None:
    agent = neutron.agent(LAYOUT, SECRETS, "fbsd1", "100.64.7.11", CARDS, "helper --config-file x")
    compute = nova.compute(LAYOUT, SECRETS, "fbsd1", "100.64.7.11", "helper --config-file x")
    for sections, context in ((agent, "privsep"), (agent, "beastack_privileged"), (compute, "beastack_privileged")):
        assert sections[context]["helper_command"] == "helper --config-file x"


def test_no_secret_in_an_argument_list() -> None:
    for spec in (backing.rabbitmq(LAYOUT), backing.mariadb(LAYOUT), backing.memcached(LAYOUT)):
        text = " ".join([*spec.argv, *spec.env.values()])
        assert not [s for s in SECRETS.values() if s in text]


def test_everything_listens_on_the_clouds_own_address() -> None:
    assert "listeners.tcp.1 = 100.64.7.1:5672" in backing.rabbitmq_conf(LAYOUT, SECRETS)
    assert "--skip-networking" in backing.mariadb(LAYOUT).argv
    assert "100.64.7.1" in backing.memcached(LAYOUT).argv


def test_brokers_of_two_clouds_share_no_socket() -> None:
    """epmd takes its port on the loop-back address too; RabbitMQ asks every address whether its port is free."""
    one, two = backing.rabbitmq(LAYOUT).env, backing.rabbitmq(Layout("u", Path("/u"), 8)).env
    for port in ("ERL_EPMD_PORT", "RABBITMQ_DIST_PORT"):
        assert one[port] != two[port]
    assert "-kernel inet_dist_use_interface {100,64,7,1}" in one["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"]


def test_an_agent_knows_its_cards_and_no_others() -> None:
    agent = parsed(neutron.agent(LAYOUT, SECRETS, "fbsd1", "100.64.7.11", CARDS, "helper"))
    assert agent.get("freebsd_bridge", "physical_interface_mappings") == "physnet1:em0,physnet2:em1"
    assert agent.get("beastack", "physical_interfaces") == "em0,em1"
    # both sides of the privilege boundary know the same address
    assert agent.get("freebsd_bridge", "tunnel_address") == agent.get("beastack", "tunnel_address") == "100.64.7.11"


def test_a_network_has_two_dhcp_servers_where_there_are_hosts_for_them() -> None:
    def servers(*roles: str) -> object:
        hosts = [Host(name=f"h{n}", roles=["compute", role]) for n, role in enumerate(roles)]  # type: ignore[list-item]
        return neutron.server(LAYOUT, SECRETS, Cluster(host=hosts))["DEFAULT"]["dhcp_agents_per_network"]

    assert servers("network") == servers("network", "compute") == 1
    assert servers("network", "network") == servers("network", "network", "network") == 2


def test_consoles_each_side_has_its_own_key_and_the_proxy_is_who_is_let_in() -> None:
    host = parsed(nova.compute(LAYOUT, SECRETS, "fbsd1", "100.64.7.11", "helper"))
    control = parsed(nova.control(LAYOUT, SECRETS))
    assert host.get("beastack", "console_proxies") == control.get("vnc", "novncproxy_host") == LAYOUT.address
    assert control.get("serial_console", "serialproxy_host") == LAYOUT.address
    assert host.get("beastack", "console_address") == "100.64.7.11"
    assert host.get("beastack", "console_ca") == control.get("vnc", "vencrypt_ca_certs")
    assert not host.has_option("vnc", "vencrypt_client_key"), "a host is no proxy"
    assert control.get("vnc", "auth_schemes") == "vencrypt"
    ports = range(*(int(end) for end in host.get("beastack", "console_ports").split("-")))
    assert int(host.get("beastack", "console_port")) not in ports


def test_a_host_through_libvirt_may_call_two_modules_more() -> None:
    def told(host: Host | None) -> RawConfigParser:
        return parsed(nova.compute(LAYOUT, SECRETS, "fbsd1", "100.64.7.11", "helper", host))

    plain, other = told(Host(name="fbsd1")), told(Host(name="fbsd1", hypervisor="libvirt", zfs="tank/b"))
    assert not plain.has_option("beastack", "hypervisor")
    assert other.get("beastack", "hypervisor") == "libvirt"
    assert other.get("beastack", "zfs_root") == "tank/b"
    added = other.get("beastack", "privsep_entries").removeprefix(plain.get("beastack", "privsep_entries"))
    assert added == ",held_taps,lines"
