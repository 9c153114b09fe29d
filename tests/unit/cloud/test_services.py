"""What runs where follows from the description."""

from pathlib import Path

from beastack.cloud import services
from beastack.cloud.description import Host
from beastack.cloud.layout import Layout

LAYOUT = Layout("t", Path("/var/lib/beastack/t"), 7)


def test_roles_decide_what_a_host_runs() -> None:
    both = services.on_host(LAYOUT, Host(name="a"))
    assert {"nova-compute-a", "bridge-agent-a", "dhcp-agent-a", "metadata-agent-a"} <= set(both)
    compute = services.on_host(LAYOUT, Host(name="b", roles=["compute"]))
    assert set(compute) == {"nova-compute-b", "consoles-b", "bridge-agent-b"}
    assert "nova-compute-c" not in services.on_host(LAYOUT, Host(name="c", roles=["network"]))


def test_with_open_vswitch_its_agent_wires_the_ports() -> None:
    found = services.on_host(LAYOUT, Host(name="a"), "openvswitch")
    assert "openvswitch-agent-a" in found and "bridge-agent-a" not in found
    assert set(found) - {"openvswitch-agent-a"} == set(services.on_host(LAYOUT, Host(name="a"))) - {"bridge-agent-a"}


def test_services_of_a_host_enter_it() -> None:
    for spec in services.on_host(LAYOUT, Host(name="a")).values():
        assert spec.host == "/var/lib/beastack/t/hosts/a/engine.json"


def test_on_freebsd_the_services_of_the_host_run_here() -> None:
    engine, environment = services.placed(LAYOUT, "a", "freebsd15")
    assert engine is None
    assert "BEASTACK_SIM" not in environment
    assert environment["PATH"].endswith("/usr/sbin:/usr/bin:/sbin:/bin")
    engine, environment = services.placed(LAYOUT, "a", "linux")
    assert engine == "/var/lib/beastack/t/hosts/a/engine.json"
    assert environment["PATH"].startswith("/var/lib/beastack/t/hosts/a/bin:")
