"""Routers: SNAT, floating IPs, port forwarding, IPv6, metadata, and that no restart interrupts them. Real frames.

Guests are jails at Neutron ports (``stand_in``): what a router does does not depend on who asks, and QEMU is slow here.
"""

import ipaddress
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .conftest import NAME, beastack, services, until
from .stand_in import StandIn, entering, on_host
from .tenant import Tenant, borrowed, four, six
from .wire import IPV4, Wire, cable

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]
METADATA = "169.254.169.254"


@pytest.fixture(scope="module")
def tenant(api: Any, demo: Any) -> Iterator[Tenant]:
    with borrowed(api, demo) as made:
        yield made


@dataclass
class Town:
    """``one`` and ``two`` are on one network, ``three`` on another; a router joins them and leads outside."""

    router: Any
    one: StandIn
    two: StandIn
    three: StandIn
    outside: str
    bridge: str

    @property
    def jail(self) -> str:
        return f"qrouter-{self.router.id}"

    @property
    def address(self) -> str:
        return str(self.router.external_gateway_info["external_fixed_ips"][0]["ip_address"])


@pytest.fixture(scope="module")
def town(tenant: Tenant) -> Town:
    first, subnets = tenant.network("routers-1", four("10.1.0.0/24"), six("fd00:1::/64", "slaac"))
    second, more = tenant.network("routers-2", four("10.2.0.0/24"), six("fd00:2::/64", "dhcpv6-stateful"))
    router = tenant.router("routers", *subnets, *more)
    guests = [tenant.guest(n, net) for n, net in (("one", first), ("two", first), ("three", second))]
    for guest in guests:
        guest.wired()
    (subnet,) = tenant.api.network.subnets(network_id=tenant.external.id)
    bridge = next(
        line.split()[1].rstrip(":")
        for line in subprocess.run(
            ["ip", "-o", "addr"], capture_output=True, text=True, timeout=10, check=True
        ).stdout.splitlines()
        if f" {subnet.gateway_ip}/" in line
    )
    return Town(router, *guests, subnet.gateway_ip, bridge)


def answered(address: str) -> bool:
    argv = ["ping", "-n", "-c", "1", "-W", "1", address]
    return subprocess.run(argv, capture_output=True, timeout=10, check=False).returncode == 0


def heard(address: str, port: int) -> str:
    """What a TCP server says first."""
    try:
        with socket.create_connection((address, port), timeout=5) as connection:
            connection.settimeout(5)
            return connection.recv(100).decode()
    except OSError:
        return ""


def associated(tenant: Tenant, guest: StandIn) -> Any:
    made = tenant.floating(port_id=guest.port.id)
    until("the floating IP to be ACTIVE", lambda: tenant.api.network.get_ip(made).status == "ACTIVE", 30)
    return made


def senders(wire: Wire) -> set[str]:
    return {frame.sender for frame in wire.seen(lambda f: f.kind == IPV4)}


def test_guests_leave_with_the_routers_address(town: Town) -> None:
    with Wire(cable(town.bridge)) as wire:
        town.one.reaches(town.outside)
        town.three.reaches(town.outside)
    assert town.address in senders(wire)
    assert not {s for s in senders(wire) if s.startswith("10.")}
    town.one.reaches(town.three.address)


def test_a_floating_ip_in_and_out_and_from_inside(tenant: Tenant, town: Town) -> None:
    fip = associated(tenant, town.one)
    address = fip.floating_ip_address
    until("the floating IP to answer", lambda: answered(address), 30)
    with Wire(cable(town.bridge)) as wire:
        town.one.reaches(town.outside)
        town.two.reaches(town.outside)
    assert {address, town.address} <= senders(wire)
    # hairpin: from its own network, from another one, and from itself
    for guest in (town.two, town.three, town.one):
        guest.reaches(address)
        # nobody is told of a shorter way, which would lead past the router's translations
        assert [guest.pings(address) for _ in range(3)] == [True] * 3
    town.one.answers(22, "by the floating IP\n")
    assert heard(address, 22) == "by the floating IP\n"
    assert f"{address}:22" in on_host("jexec", town.jail, "pfctl", "-s", "states").stdout
    tenant.api.network.update_ip(fip, port_id=None)
    until("the floating IP to be DOWN", lambda: tenant.api.network.get_ip(fip).status == "DOWN", 30)
    states = lambda: on_host("jexec", town.jail, "pfctl", "-s", "states").stdout  # noqa: E731
    until("the states of an address that is gone to end", lambda: address not in states(), 10)
    assert not answered(address)


def test_forwarded_ports(tenant: Tenant, town: Town) -> None:
    fip = tenant.floating()
    for number, guest in ((2201, town.one), (2203, town.three)):
        tenant.api.network.create_port_forwarding(
            floatingip_id=fip.id,
            internal_port_id=guest.port.id,
            internal_ip_address=guest.address,
            internal_port=22,
            external_port=number,
            protocol="tcp",
        )
        guest.answers(22, f"guest {number}\n")
    address = fip.floating_ip_address
    rules = lambda: on_host("jexec", town.jail, "pfctl", "-s", "nat").stdout  # noqa: E731
    until("the forwarded ports", lambda: all(f"port {n}:{n}" in rules() for n in (2201, 2203)), 30)
    assert heard(address, 2201) == "guest 2201\n"
    # from inside as well
    assert town.two.asks(address, 2203) == "guest 2203\n"
    assert heard(address, 2202) == ""
    for one in list(tenant.api.network.port_forwardings(fip.id)):
        tenant.api.network.delete_port_forwarding(one.id, fip.id)
    until("the ports to be closed", lambda: address not in rules(), 30)


# Solicits routers (RFC 4861, 4.1) and prints the first advertisement, hexadecimal.
SOLICIT = """
import socket, struct, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
s.settimeout(2)
scope = socket.if_nametoindex(sys.argv[1])
for _ in range(10):
    s.sendto(struct.pack("!BBHI", 133, 0, 0, 0), ("ff02::2", 0, 0, scope))
    try:
        while True:
            data = s.recv(2000)
            if data[0] == 134:
                sys.exit(print(data.hex()))
    except TimeoutError:
        pass
sys.exit("nobody advertises")
"""
MANAGED, OTHER, AUTONOMOUS = 0x80, 0x40, 0x40


def advertised(guest: StandIn) -> tuple[int, dict[str, int]]:
    """Flags of the router's advertisement, and of each prefix in it (RFC 4861, 4.2 and 4.6.2)."""
    data = bytes.fromhex(guest.inside("/usr/bin/python3", "-c", SOLICIT, guest.nic, limit=60).stdout)
    prefixes, at = {}, 16
    while at < len(data):
        kind, length = data[at], data[at + 1] * 8
        if kind == 3:
            prefixes[f"{ipaddress.IPv6Address(data[at + 16 : at + 32])}/{data[at + 2]}"] = data[at + 3]
        at += length
    return data[5], prefixes


def test_ipv6_is_routed_and_advertised(tenant: Tenant, town: Town) -> None:
    flags, prefixes = advertised(town.one)
    assert not flags & (MANAGED | OTHER) and prefixes["fd00:1::/64"] & AUTONOMOUS
    flags, prefixes = advertised(town.three)
    assert flags & MANAGED and not prefixes["fd00:2::/64"] & AUTONOMOUS
    for guest in (town.one, town.three):
        (subnet,) = tenant.api.network.subnets(network_id=guest.port.network_id, ip_version=6)
        guest.inside("route", "-6", "add", "default", subnet.gateway_ip)
    town.one.reaches(town.three.address6)


def test_extra_routes(tenant: Tenant, town: Town) -> None:
    behind = "10.77.0.1"
    tenant.api.network.update_port(town.two.port, allowed_address_pairs=[{"ip_address": behind}])
    town.two.inside("ifconfig", "lo0", "inet", f"{behind}/32", "alias")
    routes = [{"destination": "10.77.0.0/24", "nexthop": town.two.address}]
    tenant.api.network.update_router(town.router, routes=routes)
    town.three.reaches(behind)
    tenant.api.network.update_router(town.router, routes=[])
    until("the route to go", lambda: "10.77.0" not in on_host("jexec", town.jail, "netstat", "-rn").stdout, 30)


def request(path: str, *headers: str) -> str:
    return "".join(f"{line}\r\n" for line in (f"GET {path} HTTP/1.0", *headers, ""))


def test_metadata_and_headers_that_a_guest_forges(tenant: Tenant, town: Town, demo: Any, api: Any) -> None:
    server = next(iter(demo.compute.servers(name="^first$")))
    # this guest stands in the server's place
    api.network.update_port(town.one.port, device_id=server.id)
    path = "/openstack/latest/meta_data.json"
    until("metadata through the router", lambda: server.id in town.one.asks(METADATA, 80, request(path)), 60)
    first = next(iter(demo.network.ports(device_id=server.id, network_id=tenant.external.id)))
    for forged in (
        (f"X-Forwarded-For: {town.one.address}",),
        (f"X-Forwarded-For: {first.fixed_ips[0]['ip_address']}", f"X-Neutron-Network-ID: {tenant.external.id}"),
        (f"X-Instance-ID: {server.id}", f"X-Tenant-ID: {server.project_id}"),
    ):
        answer = town.two.asks(METADATA, 80, request(path, *forged))
        assert answer.startswith("HTTP/1."), f"no answer at all to {forged}: {answer!r}"
        assert server.id not in answer, forged
        # nor do they keep a guest from its own
        assert server.id in town.one.asks(METADATA, 80, request(path, *forged)) or "X-Instance-ID" in forged[0]


def test_restarts_lose_no_packet(town: Town) -> None:
    # what the privileged side started reads its configuration there: dnsmasq, haproxy, radvd
    programs = lambda: on_host("pgrep", "-f", "ns-metadata-proxy", check=False).stdout.split()  # noqa: E731
    log = Path(f"/var/lib/beastack/{NAME}/log/l3-agent-fbsd1.log")
    done = f"Finished a router update for {town.router.id}"
    enter, env = entering()
    argv = [*enter, "jexec", town.one.name, "ping", "-n", "-i", "0.2", town.outside]
    town.one.reaches(town.outside)
    before = programs()
    assert len(before) >= 5, "a proxy and radvd of the router, dnsmasq and a proxy of each network"
    with subprocess.Popen(
        argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as ping:
        try:
            for name in ("l3-agent-fbsd1", "dhcp-agent-fbsd1"):
                known, end = services()[name], log.stat().st_size
                os.kill(known["pid"], signal.SIGKILL)
                until(f"{name} to be started again", lambda n=name, k=known: _restarted(n, k), 60)  # type: ignore[misc]
                if name.startswith("l3"):
                    until("the new agent to have looked at the router", lambda e=end: done in _since(log, e), 60)  # type: ignore[misc]
        finally:
            os.killpg(ping.pid, signal.SIGINT)
            said = ping.communicate(timeout=20)[0]
    lost = re.search(r"(\d+) packets transmitted, (\d+) (?:packets )?received", said)
    assert lost, said
    assert int(lost[1]) > 20 and int(lost[1]) - int(lost[2]) <= 1, lost[0]
    sequence = [int(n) for n in re.findall(r"seq=(\d+)", said)]
    assert sequence == list(range(sequence[0], sequence[0] + len(sequence))), "an answer is missing"
    assert programs() == before, "what runs for routers was not left alone"


def _restarted(name: str, known: dict[str, Any]) -> bool:
    now = services()[name]
    return bool(now["state"] == "running" and now["pid"] not in (None, known["pid"]))


def _since(log: Path, offset: int) -> str:
    with log.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace")


def test_two_tenants_with_one_address_do_not_meet(api: Any, tenant: Tenant, town: Town) -> None:
    group = next(iter(api.network.security_groups(name="default", project_id=api.current_project_id)))
    other = Tenant(api, api, tenant.external, group)
    try:
        network, subnets = other.network("routers-other", four("10.1.0.0/24"))
        router = other.router("routers-other", *subnets)
        twin = other.guest("twin", network, fixed_ips=[{"ip_address": town.one.address}])
        twin.wired()
        with Wire(cable(town.bridge)) as wire:
            twin.reaches(town.outside)
        own = router.external_gateway_info["external_fixed_ips"][0]["ip_address"]
        assert own in senders(wire) and town.address not in senders(wire)
        assert not twin.pings(town.two.address)
        town.one.reaches(town.outside)
        assert f"qrouter-{router.id}" in on_host("jls", "name").stdout
    finally:
        other.close()
    name = f"qrouter-{router.id}"
    until("everything of the router to be removed", lambda: name not in on_host("jls", "name").stdout, 30)
    assert router.id not in on_host("sh", "-c", "exec ps -axww -o command", check=False).stdout
    assert not on_host("pgrep", "-f", router.id, check=False).stdout


def test_status_shows_the_agent() -> None:
    assert re.search(r"L3 agent\s+fbsd1\s+up", beastack("status", "--name", NAME).stdout)
