"""Networks between two hosts: every type, both families, by group; restarts, removal, hostile frames.

Vnet jails at neutron's ports stand for guests (``stations``): their frames take the same way, through the guard, pf and
the bridge. One cloud of two hosts, brought up once.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import openstack
import pytest

from .conftest import ROOT, beastack, until
from .prober import OTHER_PORT, PORT
from .stations import Hosts, Lab
from .wire import ARP, Wire

pytestmark = [pytest.mark.root, pytest.mark.timeout(400)]

CLOUD = "nettest"
DESCRIPTION = """
name = "nettest"

[[physical_network]]
name = "physnet1"
vlans = "100:199"

[[physical_network]]
name = "physnet2"

[[host]]
name = "fbsd1"
roles = ["compute", "network"]

[[host]]
name = "fbsd2"
roles = ["compute"]
"""
HERE, THERE = "fbsd1", "fbsd2"
TYPES: dict[str, dict[str, Any]] = {
    "flat": {"provider_network_type": "flat", "provider_physical_network": "physnet2"},
    # beside the cloud's own flat network on the same cards
    "vlan": {"provider_network_type": "vlan", "provider_physical_network": "physnet1"},
    "vxlan": {},
    "local": {"provider_network_type": "local"},
}
MTU = {"flat": 1500, "vlan": 1500, "vxlan": 1450, "local": 1500}
FAMILIES, KINDS = (4, 6), ("ping", "tcp", "udp")
# Seconds for what must not be answered.
SILENCE = 1.5


def cloud_status() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(beastack("status", "--name", CLOUD, "--json").stdout)
    return found


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    description = tmp_path_factory.mktemp("networks") / "two.toml"
    description.write_text(DESCRIPTION)
    beastack("down", "--name", CLOUD, status=None)
    beastack("up", str(description), "--name", CLOUD)
    try:
        yield Hosts(Path(cloud_status()["run_dir"]))
    finally:
        beastack("down", "--name", CLOUD, status=None)


@pytest.fixture(scope="module")
def api(hosts: Hosts) -> Any:
    files = [str(hosts.run_dir / "credentials" / "clouds.yaml")]
    config = openstack.config.OpenStackConfig(config_files=files, load_envvars=False)
    return openstack.connection.Connection(config=config.get_one(cloud=CLOUD))


@pytest.fixture(scope="module")
def groups(api: Any) -> dict[str, str]:
    """``open``: ICMP and PORT from anywhere; ``shut``: nothing comes in."""
    made = {name: api.network.create_security_group(name=f"net-{name}").id for name in ("open", "shut")}
    for version, icmp in (("IPv4", "icmp"), ("IPv6", "ipv6-icmp")):
        for protocol, port in ((icmp, None), ("tcp", PORT), ("udp", PORT)):
            api.network.create_security_group_rule(
                security_group_id=made["open"], direction="ingress", ethertype=version, protocol=protocol,
                port_range_min=port, port_range_max=port,
            )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def lab(api: Any, hosts: Hosts, groups: dict[str, str]) -> Lab:
    """For each type: who asks, and on this and the other host one that may be asked and one that may not."""
    made = Lab(api, hosts)
    for number, (kind, provider) in enumerate(TYPES.items()):
        made.network(kind, f"10.{60 + number}.0.0/24", f"fd00:{60 + number}::/64", **provider)
        made.add(
            kind,
            {
                f"{kind}-asks": (HERE, groups["shut"]),
                **{f"{kind}-same-{g}": (HERE, groups[g]) for g in groups},
                **{f"{kind}-other-{g}": (THERE, groups[g]) for g in groups},
            },
        )
    made.active()
    return made


def expected(kind: str, place: str, group: str) -> bool:
    return group == "open" and not (kind == "local" and place == "other")


@pytest.fixture(scope="module")
def answers(lab: Lab) -> dict[str, str | None]:
    """Every cell of the matrix, asked at the same time: TYPE/PLACE/GROUP/FAMILY/KIND -> who answered."""

    def ask(kind: str) -> dict[str, str | None]:
        cells = {}
        for place in ("same", "other"):
            for group in ("open", "shut"):
                patience = None if expected(kind, place, group) else SILENCE
                for family in FAMILIES:
                    address = lab.stations[f"{kind}-{place}-{group}"].address(family)
                    for how in KINDS:
                        cells[f"{kind}/{place}/{group}/{family}/{how}"] = (how, address, PORT, patience)
                    if group == "open":
                        cells[f"{kind}/{place}/open/{family}/tcp-other"] = ("tcp", address, OTHER_PORT, SILENCE)
        return lab.probe(f"{kind}-asks", cells, 15)

    with ThreadPoolExecutor(len(TYPES)) as pool:
        return {cell: who for found in pool.map(ask, TYPES) for cell, who in found.items()}


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("group", ["open", "shut"])
@pytest.mark.parametrize("place", ["same", "other"])
@pytest.mark.parametrize("kind", TYPES)
def test_matrix(kind: str, place: str, group: str, family: int, how: str, answers: dict[str, str | None]) -> None:
    name = "answered" if how == "ping" else f"{kind}-{place}-{group}"
    assert answers[f"{kind}/{place}/{group}/{family}/{how}"] == (name if expected(kind, place, group) else None)


def test_a_port_that_the_group_does_not_name(answers: dict[str, str | None]) -> None:
    asked = {cell: who for cell, who in answers.items() if cell.endswith("tcp-other")}
    assert len(asked) == 16
    assert set(asked.values()) == {None}


def interfaces(hosts: Hosts, host: str) -> dict[str, str]:
    """ifconfig's text by interface."""
    text = hosts.ok(host, "ifconfig", "-a")
    return {part.split(":", 1)[0]: part for part in re.split(r"\n(?=\S)", text)}


@pytest.mark.parametrize("kind", TYPES)
def test_the_mtu_is_right_everywhere(kind: str, lab: Lab) -> None:
    network = lab.networks[kind]
    assert network.mtu == MTU[kind]
    short = network.id[:11]
    for host in (HERE, THERE):
        found = interfaces(lab.hosts, host)
        taps = [s.tap for s in lab.stations.values() if s.host == host and s.name.startswith(f"{kind}-")]
        uplink = {"vlan": [f"vln{short}"], "vxlan": [f"vxl{short}"]}.get(kind, [])
        for name in (f"brq{short}", *taps, *uplink):
            assert f" mtu {MTU[kind]}\n" in found[name], name
    place = "same" if kind == "local" else "other"
    target = lab.stations[f"{kind}-{place}-open"].address(4)
    for size, status in ((MTU[kind] - 28, 0), (MTU[kind] - 27, 2)):
        argv = lab.inside(f"{kind}-asks", "ping", "-n", "-D", "-s", str(size), "-c", "2", "-t", "3", target)
        assert subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode == status, size


def test_two_tenants_with_the_same_addresses(lab: Lab, groups: dict[str, str]) -> None:
    for tenant in ("red", "blue"):
        lab.network(tenant, "10.70.0.0/24", "fd00:70::/64")
        for number, (name, host) in enumerate((("one", HERE), ("two", THERE)), 10):
            ips = [{"ip_address": f"10.70.0.{number}"}, {"ip_address": f"fd00:70::{number}"}]
            lab.add(tenant, {f"{tenant}-{name}": (host, groups["open"])}, fixed_ips=ips)
    # an address that only one of them has
    lab.add("blue", {"blue-three": (THERE, groups["open"])}, fixed_ips=[{"ip_address": "10.70.0.12"}])
    lab.active("red-one", "red-two", "blue-one", "blue-two", "blue-three")
    cells: dict[str, Any] = {
        f"{how}{address}": (how, address, PORT, None)
        for how in ("tcp", "udp")
        for address in ("10.70.0.11", "fd00:70::11")
    }
    for tenant in ("red", "blue"):
        assert set(lab.probe(f"{tenant}-one", cells, 15).values()) == {f"{tenant}-two"}
    only = {"only": ("tcp", "10.70.0.12", PORT, None)}
    assert lab.probe("blue-one", only, 15) == {"only": "blue-three"}
    assert lab.probe("red-one", only, SILENCE) == {"only": None}


def tagged(mac: str, *tags: int) -> bytes:
    """A broadcast ARP request with VLAN tags, the outer one first."""
    source = bytes.fromhex(mac.replace(":", ""))
    stack = b"".join(b"\x81\x00" + tag.to_bytes(2, "big") for tag in tags)
    arp = bytes.fromhex("0806000108000604 0001".replace(" ", "")) + source + bytes([10, 60, 0, 9]) + bytes(6)
    return b"\xff" * 6 + source + stack + arp + bytes([10, 60, 0, 8])


def cables(bridge: str) -> list[str]:
    argv = ["ip", "-o", "link", "show", "master", bridge]
    lines = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
    return [line.split(": ")[1].split("@")[0] for line in lines]


@pytest.mark.parametrize(("kind", "number"), [("flat", 1), ("vlan", 0)])
def test_a_guests_vlan_tags_do_not_leave(kind: str, number: int, lab: Lab, groups: dict[str, str]) -> None:
    """With a guard, and without port security; the network's own tag is the only one on the cable."""
    index = json.loads((lab.hosts.run_dir / "cloud.json").read_text())["index"]
    bridge = f"bsp{index}" + (f"x{number}" if number else "")
    name = f"{kind}-free"
    lab.add(kind, {name: (HERE, "")})
    lab.active(name)
    senders = [lab.stations[f"{kind}-same-open"], lab.stations[name]]
    own, tags = (0x8100, (lab.networks[kind].provider_segmentation_id,)) if kind == "vlan" else (ARP, ())
    wires = [Wire(cable) for cable in cables(bridge)]
    for wire in wires:
        wire.__enter__()
    try:
        for sender in senders:
            # a plain one last: when it has come, the others would have
            frames = [tagged(sender.mac, *stack) for stack in ((5,), (5, 6), (100, 5), ())]
            lab.send(sender.name, *frames[:3])
            address = bytes(int(part) for part in sender.address(4).split("."))
            plain = frames[3][:28] + address + frames[3][32:]
            lab.send(sender.name, plain)
            until(
                f"the plain frame of {sender.name}",
                lambda mac=sender.mac: any(w.seen(lambda f: (f.source, f.kind) == (mac, own)) for w in wires),  # type: ignore[misc]
                10,
            )
    finally:
        for wire in wires:
            wire.__exit__()
    macs = {sender.mac for sender in senders}
    found = [frame for wire in wires for frame in wire.seen(lambda f: f.source in macs)]
    assert {frame.source for frame in found} == macs
    assert {frame.tags for frame in found} == {tags}


def stages() -> list[str]:
    """The commands of "Seeing each stage" in docs/networking.md."""
    page = (ROOT / "docs" / "networking.md").read_text()
    table = page.partition("### Seeing each stage")[2].partition("###")[0]
    rows = [row.replace("\\|", "PIPE").split("|") for row in table.splitlines() if "| `" in row]
    found = [row[2].strip(" `").replace("PIPE", "|") for row in rows]
    # these never end, and need the administrator's credentials
    return [command for command in found if not command.startswith(("tcpdump", "openstack"))]


@pytest.mark.parametrize("command", stages())
def test_what_the_page_says_can_be_seen(command: str, lab: Lab) -> None:
    tap, vxlan, vlan = lab.stations["vxlan-asks"].tap, lab.networks["vxlan"].id[:11], lab.networks["vlan"].id[:11]
    state = str(lab.hosts.run_dir / "data" / "hosts" / HERE / "neutron")
    names = {"tapP": tap, "brqN": f"brq{vxlan}", "vxlN": f"vxl{vxlan}", "vlnN": f"vln{vlan}", "STATE": state}
    for word, here in names.items():
        command = command.replace(word, here)
    # so that there is something in the tables
    target = lab.stations["vxlan-other-open"].address(4)
    assert lab.probe("vxlan-asks", {"ping": ("ping", target, PORT, None)})["ping"]
    assert lab.hosts.ok(HERE, "sh", "-c", command).strip()


def pid_of(name: str) -> int:
    return int(next(s["pid"] for s in cloud_status()["services"] if s["name"] == name) or 0)


def test_a_restart_of_agents_and_replicators_loses_no_packet(lab: Lab) -> None:
    """They are killed under running pings of both families, over each type that leaves the host, and to a DHCP server.

    Its port is neutron's own: no security group describes it to the new agent.
    """
    server = next(iter(lab.api.network.ports(device_owner="network:dhcp"))).fixed_ips[0]["ip_address"]
    pings = {
        "dhcp": subprocess.Popen(
            ["ping", "-n", "-q", "-i", "0.2", "-c", "100", "-w", "60", server], stdout=subprocess.PIPE, text=True
        )
    }
    for kind in ("flat", "vlan", "vxlan"):
        for family in FAMILIES:
            version = ["-6"] if family == 6 else []
            target = lab.stations[f"{kind}-other-open"].address(family)
            argv = lab.inside(f"{kind}-asks", "ping", *version, "-n", "-i", "0.2", "-c", "100", "-t", "60", target)
            pings[f"{kind}/{family}"] = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    logs = {host: lab.hosts.run_dir / "log" / f"bridge-agent-{host}.log" for host in (HERE, THERE)}
    sizes = {host: log.stat().st_size for host, log in logs.items()}
    locks = {h: lab.hosts.run_dir / "data" / "hosts" / h / "neutron" / "tunnels" / "lock" for h in logs}
    replicators = {host: lock.read_text().strip() for host, lock in locks.items()}
    for host, number in ((HERE, signal.SIGTERM), (THERE, signal.SIGKILL)):
        lab.hosts.ok(host, "sh", "-c", f"kill -9 {replicators[host]}")
        os.kill(pid_of(f"bridge-agent-{host}"), number)
    for host, log in logs.items():
        until(
            f"the new agent of {host} to have looked at every port",
            lambda log=log, at=sizes[host]: "iteration:0 completed" in log.read_text()[at:],  # type: ignore[misc]
        )
        until(f"a replicator on {host}", lambda h=host: locks[h].read_text().strip() not in ("", replicators[h]), 30)  # type: ignore[misc]
    for cell, ping in pings.items():
        out = ping.communicate(timeout=90)[0]
        assert re.search("100 packets transmitted, 100 (packets )?received", out), f"{cell}: {out[-300:]}"


def test_filtering_that_is_turned_off_is_turned_on_again(lab: Lab) -> None:
    log = lab.hosts.run_dir / "log" / f"bridge-agent-{THERE}.log"
    began = time.monotonic()
    lab.hosts.ok(THERE, "sysctl", "net.link.bridge.pfil_member=0")
    until(
        "filtering to be on again",
        lambda: lab.hosts.ok(THERE, "sysctl", "-n", "net.link.bridge.pfil_member").strip() == "1",
        30,
    )
    assert time.monotonic() - began < 25
    until("the alarm", lambda: "ALARM: the host's filtering had drifted" in log.read_text(), 20)


def test_what_is_removed_leaves_nothing(lab: Lab) -> None:
    gone = {kind: lab.networks[kind].id for kind in TYPES}
    lab.remove(*[name for name in lab.stations if name.split("-")[0] in gone])
    for network in gone.values():
        lab.api.network.delete_network(network)
    prefixes = [f"{p}{network[:11]}" for network in gone.values() for p in ("brq", "vln", "vxl")]
    for host in (HERE, THERE):
        until(
            f"bridges, VLANs and tunnels of {host} to go",
            lambda host=host: not set(lab.hosts.ok(host, "ifconfig", "-l").split()) & set(prefixes),  # type: ignore[misc]
            30,
        )
        folder = lab.hosts.run_dir / "data" / "hosts" / host / "neutron" / "tunnels"
        assert not (folder / f"{gone['vxlan']}.json").exists()
        tenants = [lab.networks[name] for name in ("red", "blue") if name in lab.networks]
        left = {str(network.provider_segmentation_id) for network in tenants}
        assert set(json.loads((folder / "table.json").read_text())["peers"]) == left
        # nothing of the host's own went with it
        assert {"vtnet0", "em0", "em1"} <= set(lab.hosts.ok(host, "ifconfig", "-l").split())


def restarted(lab: Lab) -> None:
    """New agents on both hosts, which have reported themselves."""
    sizes = {}
    for host in (HERE, THERE):
        log = lab.hosts.run_dir / "log" / f"bridge-agent-{host}.log"
        sizes[log] = log.stat().st_size
        os.kill(pid_of(f"bridge-agent-{host}"), signal.SIGTERM)
    for log, size in sizes.items():
        until(f"{log.name} to begin anew", lambda log=log, at=size: "iteration:0 completed" in log.read_text()[at:])  # type: ignore[misc]


def configure(path: Path, wanted: dict[str, dict[str, str]]) -> None:
    """Change options of a configuration file."""
    parser = RawConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(path)
    for section, options in wanted.items():
        for name, value in options.items():
            parser.set(section, name, value)
    with path.open("w") as file:
        parser.write(file)


def test_an_operators_bridge_and_a_multicast_group(lab: Lab, groups: dict[str, str]) -> None:
    """Other settings and new agents: tunnels are made anew, a bridge that is there is joined and left."""
    group = "239.1.1.7"
    making = "ifconfig bridge create name lab0\nifconfig lab0 addm em1 up\nifconfig em1 up\n"
    for host in (HERE, THERE):
        lab.hosts.ok(host, "sh", "-e", stdin=making)
        ours = {"bridge_mappings": "physnet2:lab0", "physical_interface_mappings": "physnet1:em0"}
        ours["tunnel_group"] = group
        theirs = {"adopted_bridges": "lab0", "tunnel_group": group, "tunnel_device": "vtnet0"}
        path = lab.hosts.run_dir / "etc" / f"neutron-{host}" / "neutron.conf"
        configure(path, {"freebsd_bridge": ours, "beastack": theirs})
    restarted(lab)

    def reported() -> bool:
        agents = [a for a in lab.api.network.agents() if a.agent_type == "FreeBSD bridge agent"]
        return all(a.configuration.get("bridge_mappings") == {"physnet2": "lab0"} for a in agents)

    until("the agents' new settings at the server", reported, 40)
    lab.network(
        "lab", "10.80.0.0/24", "fd00:80::/64", provider_network_type="flat", provider_physical_network="physnet2"
    )
    lab.add("lab", {"lab-one": (HERE, groups["open"]), "lab-two": (THERE, groups["open"])})
    lab.active("lab-one", "lab-two")
    for one, two in (("lab-one", "lab-two"), ("red-one", "red-two")):
        cells: dict[str, Any] = {
            f"{how}{family}": (how, lab.stations[two].address(family), PORT, None)
            for how in ("tcp", "udp")
            for family in FAMILIES
        }
        assert set(lab.probe(one, cells, 15).values()) == {two}
    for host, name in ((HERE, "lab-one"), (THERE, "lab-two")):
        found = interfaces(lab.hosts, host)
        assert f"group {group}:4789" in found[f"vxl{lab.networks['red'].id[:11]}"]
        assert f"member: {lab.stations[name].tap} " in found["lab0"]
        assert f"brq{lab.networks['lab'].id[:11]}" not in found
    lab.remove("lab-one", "lab-two")
    for host in (HERE, THERE):
        theirs_now = interfaces(lab.hosts, host)["lab0"]
        assert re.findall(r"member: (\S+)", theirs_now) == ["em1"]
