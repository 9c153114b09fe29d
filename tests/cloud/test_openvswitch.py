"""Open vSwitch joins the ports: `up` with its description, groups, a forger, a new agent, flows that cannot be sent.

`up` has made a server whose tap nova plugged, which got its lease and metadata from a jail's port, and which answered
from outside. Stations (jails at ports, ``stations``) do the rest, plugged by the privileged side's own code.
"""

import ipaddress
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest

from .conftest import ROOT, beastack, until
from .prober import OTHER_PORT, PORT
from .stations import NIC, PROBER, Hosts, Lab

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
CLOUD, HOST = "ovstest", "fbsd1"
FAMILIES, KINDS = (4, 6), ("ping", "tcp", "udp")
SILENCE = 1.5
PLUG = """
import sys
from oslo_config import cfg
from beastack.freebsd.host import LocalHost
from beastack.privsep import switch_ports
cfg.CONF([], project="test")
switch_ports.plug(LocalHost(), *sys.argv[1:], None)
"""


def cloud_status() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(beastack("status", "--name", CLOUD, "--json").stdout)
    return found


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    beastack("down", "--name", CLOUD, status=None)
    beastack("up", str(ROOT / "clouds" / "openvswitch.toml"), "--name", CLOUD)
    try:
        yield Hosts(Path(cloud_status()["run_dir"]))
    finally:
        beastack("down", "--name", CLOUD, status=None)


class SwitchedLab(Lab):
    """Stations whose taps are ports of br-int."""

    def add(self, network: str, wanted: dict[str, tuple[str, str]], **more: Any) -> None:
        super().add(network, wanted, **more)
        for name in wanted:
            station = self.stations[name]
            self.hosts.ok(HOST, sys.executable, "-c", PLUG, station.tap, station.port, station.mac)


@pytest.fixture(scope="module")
def api(hosts: Hosts) -> Any:
    files = [str(hosts.run_dir / "credentials" / "clouds.yaml")]
    config = openstack.config.OpenStackConfig(config_files=files, load_envvars=False)
    return openstack.connection.Connection(config=config.get_one(cloud=CLOUD))


@pytest.fixture(scope="module")
def groups(api: Any) -> dict[str, str]:
    """``open``: ICMP and PORT from anywhere; ``shut``: nothing comes in."""
    made = {name: api.network.create_security_group(name=f"ovs-{name}").id for name in ("open", "shut")}
    for version, icmp in (("IPv4", "icmp"), ("IPv6", "ipv6-icmp")):
        for protocol, port in ((icmp, None), ("tcp", PORT), ("udp", PORT)):
            api.network.create_security_group_rule(
                security_group_id=made["open"], direction="ingress", ethertype=version, protocol=protocol,
                port_range_min=port, port_range_max=port,
            )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def lab(api: Any, hosts: Hosts, groups: dict[str, str]) -> Lab:
    """Three ports of a project's network, which is a VLAN: who asks, one that may be asked, one that may not."""
    made = SwitchedLab(api, hosts)
    assert made.network("net", "10.60.0.0/24", "fd00:60::/64").provider_network_type == "vlan"
    made.add("net", {"asks": (HOST, groups["open"]), "open": (HOST, groups["open"]), "shut": (HOST, groups["shut"])})
    made.active()
    return made


def agent() -> dict[str, Any]:
    name = f"openvswitch-agent-{HOST}"
    found: dict[str, Any] = next(s for s in cloud_status()["services"] if s["name"] == name)
    return found


def test_ports_are_bound_and_closed_to_the_host_itself(lab: Lab) -> None:
    server = next(iter(lab.api.compute.servers(all_projects=True)))
    (port,) = lab.api.network.ports(device_id=server.id)
    assert (port.binding_vif_type, port.binding_vif_details["bridge_name"]) == ("ovs", "br-int")
    taps = [f"tap{p.id[:11]}" for p in lab.api.network.ports() if p.binding_host_id == HOST]
    assert f"tap{port.id[:11]}" in taps and len(taps) > 4
    ports = lab.hosts.ok(HOST, "ovs-vsctl", "list-ports", "br-int").split()
    guards = lab.hosts.ok(HOST, "ngctl", "list")
    assert set(taps) <= set(ports)
    assert [tap for tap in [*taps, "em0"] if f"Name: bsg_{tap} " not in guards] == []


def test_groups_decide_in_both_families(lab: Lab) -> None:
    cells: dict[str, Any] = {}
    for group, patience in (("open", None), ("shut", SILENCE)):
        for family in FAMILIES:
            address = lab.stations[group].address(family)
            cells |= {f"{group}/{family}/{kind}": (kind, address, PORT, patience) for kind in KINDS}
            cells[f"{group}/{family}/other"] = ("tcp", address, OTHER_PORT, SILENCE)
    found = lab.probe("asks", cells, 15)
    allowed = {f"open/{family}/{kind}" for family in FAMILIES for kind in KINDS}
    assert {cell for cell, who in found.items() if who} == allowed, found
    assert found["open/4/tcp"] == "open"


def test_a_router_leads_outside(lab: Lab) -> None:
    """Its ports are a jail's, on the project's VLAN and on the flat network; a floating IP leads back in."""
    network = lab.api.network
    outside, inside = network.find_network("provider"), lab.networks["net"]
    (subnet,) = network.subnets(network_id=inside.id, ip_version=4)
    router = network.create_router(name="ovs", external_gateway_info={"network_id": outside.id})
    fixed = [{"subnet_id": subnet.id, "ip_address": "10.60.0.1"}]
    network.add_interface_to_router(router, port_id=network.create_port(network_id=inside.id, fixed_ips=fixed).id)
    for name in ("asks", "open"):
        lab.hosts.ok(HOST, "jexec", name, "route", "add", "default", "10.60.0.1")
    gateway = next(network.subnets(network_id=outside.id)).gateway_ip
    assert lab.probe("asks", {"out": ("ping", gateway, PORT, None)}, 40) == {"out": "answered"}
    floating = network.create_ip(floating_network_id=outside.id, port_id=lab.stations["open"].port).floating_ip_address
    argv = ["ping", "-n", "-c", "1", "-W", "1", floating]
    until("the floating IP to answer", lambda: not subprocess.run(argv, capture_output=True, timeout=9).returncode, 40)


def arp(mac: str, address: str, source: str | None = None) -> bytes:
    """A question to all for an address that nobody has; ``source``: the frame's own sender."""
    own, ip, nobody = bytes.fromhex(mac.replace(":", "")), ipaddress.ip_address(address).packed, b"\x0a\x3c\x00\xfd"
    frame = bytes.fromhex((source or mac).replace(":", ""))
    return b"\xff" * 6 + frame + bytes.fromhex("0806 0001 0800 06 04 0001") + own + ip + bytes(6) + nobody


def test_a_forged_sender_is_not_heard(lab: Lab) -> None:
    asks, other = lab.stations["asks"], lab.stations["shut"]
    words = [sys.executable, "-I", str(PROBER), "hear", NIC, "4"]
    with subprocess.Popen(lab.inside("open", *words), stdout=subprocess.PIPE, text=True) as hear:
        assert hear.stdout is not None and hear.stdout.readline() == "listening\n"
        forged = [
            arp(asks.mac, other.address(4)),
            arp(other.mac, asks.address(4), asks.mac),
            arp(other.mac, other.address(4)),
            # with a tag of its own, of this very network's local VLAN
            arp(asks.mac, asks.address(4))[:12] + bytes.fromhex("8100 0002") + arp(asks.mac, asks.address(4))[12:],
        ]
        true = arp(asks.mac, asks.address(4))
        lab.send("asks", *forged, true)
        heard = [bytes.fromhex(line) for line in hear.communicate(timeout=20)[0].split()]
    assert true in [frame[: len(true)] for frame in heard]
    said = [frame for frame in heard if frame[38:42] == b"\x0a\x3c\x00\xfd"]
    assert {(f[6:12].hex(":"), f[22:28].hex(":"), str(ipaddress.ip_address(f[28:32]))) for f in said} == {
        (asks.mac, asks.mac, asks.address(4))
    }


def test_a_new_agent_interrupts_nothing(lab: Lab) -> None:
    log = lab.hosts.run_dir / "log" / f"openvswitch-agent-{HOST}.log"
    size = log.stat().st_size
    pings = []
    for family in FAMILIES:
        version = ["-6"] if family == 6 else []
        argv = lab.inside(
            "asks", "ping", *version, "-n", "-i", "0.2", "-c", "60", "-t", "60", lab.stations["open"].address(family)
        )
        pings.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
    os.kill(agent()["pid"], signal.SIGKILL)
    until("the new agent to have wired every port", lambda: "Cleaning stale br-int flows" in log.read_text()[size:])
    for ping in pings:
        out = ping.communicate(timeout=90)[0]
        assert re.search("60 packets transmitted, 60 (packets )?received", out), out[-300:]


def test_a_switch_that_starts_anew_is_closed_until_it_has_its_flows(lab: Lab) -> None:
    lab.hosts.ok(HOST, "service", "ovs-vswitchd", "onerestart")
    cells = {"shut": ("udp", lab.stations["shut"].address(4), PORT, 8.0)}
    cells["open"] = ("udp", lab.stations["open"].address(4), PORT, 40.0)
    assert lab.probe("asks", cells, 40) == {"shut": None, "open": "open"}


def test_a_port_whose_flows_cannot_be_sent_is_not_up(lab: Lab, groups: dict[str, str]) -> None:
    """It passes nothing either, in both directions, until they can."""
    log = lab.hosts.run_dir / "log" / f"openvswitch-agent-{HOST}.log"
    program = lab.hosts.run_dir / "hosts" / HOST / "bin" / "ovs-ofctl"
    aside = program.with_name("ovs-ofctl.aside")
    program.rename(aside)
    try:
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
        size = log.stat().st_size
        lab.add("net", {"late": (HOST, groups["open"])})
        until("two attempts", lambda: log.read_text()[size:].count("Error while processing VIF ports") > 1, 30)
        assert lab.api.network.get_port(lab.stations["late"].port).status == "DOWN"
        out = {"out": ("ping", lab.stations["open"].address(4), PORT, SILENCE)}
        back = {"in": ("ping", lab.stations["late"].address(4), PORT, SILENCE)}
        assert {**lab.probe("late", out), **lab.probe("asks", back)} == {"out": None, "in": None}
    finally:
        program.unlink(missing_ok=True)
        aside.rename(program)
    lab.active("late")
    assert lab.probe("asks", {"in": ("ping", lab.stations["late"].address(4), PORT, None)}) == {"in": "answered"}
