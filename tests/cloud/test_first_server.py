"""The first server: its address, what reaches it, what it cannot forge, and what it outlives. Real frames."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import NAME, beastack, services, status, until
from .guest import Guest
from .wire import ARP, IPV4, Wire, cable, dhcp_discover, send

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]
PORT = 2222


@pytest.fixture(scope="module")
def server(demo: Any) -> Any:
    found = next(iter(demo.compute.servers(name="^first$")))
    assert found.status == "ACTIVE"
    return found


@pytest.fixture(scope="module")
def port(demo: Any, server: Any) -> Any:
    return next(iter(demo.network.ports(device_id=server.id)))


@pytest.fixture(scope="module")
def address(port: Any) -> str:
    return str(port.fixed_ips[0]["ip_address"])


@pytest.fixture(scope="module")
def gateway(address: str) -> str:
    return address.rpartition(".")[0] + ".1"


@pytest.fixture
def wire(gateway: str) -> Iterator[Wire]:
    with Wire(cable(f"bsp{gateway.split('.')[2]}")) as collected:
        yield collected


def pings(address: str) -> bool:
    argv = ["ping", "-n", "-c", "1", "-W", "1", address]
    return subprocess.run(argv, capture_output=True, timeout=5, check=False).returncode == 0


def connects(address: str, number: int = PORT, limit: float = 2) -> bool:
    try:
        with socket.create_connection((address, number), timeout=limit):
            return True
    except OSError:
        return False


def test_the_guest_has_the_address_that_neutron_chose(guest: Guest, port: Any, address: str) -> None:
    assert f"inet {address}/24" in guest.check("ip -4 addr show dev eth0")
    assert guest.check("cat /sys/class/net/eth0/address") == port.mac_address
    assert port.status == "ACTIVE"
    assert pings(address)


def test_the_guest_knows_itself_from_the_metadata_service(guest: Guest, server: Any) -> None:
    text = guest.check("wget -q -O - http://169.254.169.254/openstack/latest/meta_data.json")
    assert server.id in text
    keys = guest.check("cat /root/.ssh/authorized_keys")
    assert (Path(status()["run_dir"]) / "credentials" / "id_ed25519.pub").read_text().split()[1] in keys


def test_a_forged_header_does_not_make_the_guest_another(guest: Guest, server: Any) -> None:
    forged = "--header 'X-Forwarded-For: 198.18.0.1' --header 'X-Instance-ID: 00000000-0000-0000-0000-000000000000'"
    url = "http://169.254.169.254/latest/meta-data/instance-id"
    assert guest.check(f"wget -q -O - {forged} {url}") == guest.check(f"wget -q -O - {url}")


def test_a_person_reaches_the_guest_by_ssh(address: str) -> None:
    key = Path(status()["run_dir"]) / "credentials" / "id_ed25519"
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=10"]
    argv = ["ssh", "-i", str(key), *options, f"root@{address}", "hostname"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "first"), done.stderr


def test_what_the_security_group_does_not_allow_does_not_arrive(guest: Guest, demo: Any, address: str) -> None:
    guest.check(f"(while true; do nc -l -p {PORT} -e true; done) >/dev/null 2>&1 & echo $! > /run/listener")
    try:
        assert not connects(address)
        group = demo.network.find_security_group("ping-and-ssh")
        rule = demo.network.create_security_group_rule(
            security_group_id=group.id,
            direction="ingress",
            ether_type="IPv4",
            protocol="tcp",
            port_range_min=PORT,
            port_range_max=PORT,
        )
        try:
            until("the rule to open the port", lambda: connects(address), 30)
        finally:
            demo.network.delete_security_group_rule(rule)
        until("the port to be closed again", lambda: not connects(address), 30)
        assert pings(address)
    finally:
        guest.ends("/run/listener", "nc")


def test_a_disallowed_datagram_does_not_arrive(guest: Guest, address: str) -> None:
    """The guest's own counters: nothing is answered or counted for a port that is not allowed, ICMP is."""

    def received() -> int:
        line = guest.check("grep -E '^Udp: [0-9]' /proc/net/snmp").split()
        return int(line[1]) + int(line[2])  # InDatagrams + NoPorts

    before = received()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(5):
            sender.sendto(b"not allowed", (address, 9999))
    assert pings(address)
    assert received() == before


def test_a_forged_mac_does_not_leave_the_port(guest: Guest, wire: Wire, port: Any, address: str, gateway: str) -> None:
    forged = "02:00:00:00:66:66"
    assert guest.run(f"ping -c 1 -W 2 {gateway}").rc == 0
    guest.check(f"ip link set eth0 down; ip link set eth0 address {forged}; ip link set eth0 up")
    try:
        assert guest.run(f"arping -c 2 -w 3 -I eth0 {gateway}; ping -c 2 -W 1 {gateway}").rc != 0
    finally:
        guest.check(f"ip link set eth0 down; ip link set eth0 address {port.mac_address}; ip link set eth0 up")
        guest.check(f"ip route replace default via {gateway}")
    until("the guest's own address to work again", lambda: pings(address), 30)
    assert wire.seen(lambda f: f.source == port.mac_address), "the wire shows what is allowed"
    assert not wire.seen(lambda f: f.source == forged)


def test_forged_arp_does_not_leave_the_port(guest: Guest, wire: Wire, port: Any, address: str, gateway: str) -> None:
    taken = address.rpartition(".")[0] + ".77"
    guest.run(f"arping -U -c 2 -w 2 -I eth0 -s {gateway} {gateway}")
    guest.run(f"arping -A -c 2 -w 2 -I eth0 -s {gateway} {gateway}")
    guest.check(f"ip addr add {taken}/24 dev eth0")
    try:
        assert guest.run(f"arping -D -c 1 -w 1 -I eth0 {taken}; ping -c 2 -W 1 -I {taken} {gateway}").rc != 0
    finally:
        guest.check(f"ip addr del {taken}/24 dev eth0")
    assert guest.run(f"arping -c 1 -w 2 -I eth0 -s {address} {gateway}").rc == 0
    ours = wire.seen(lambda f: f.source == port.mac_address)
    assert [f for f in ours if f.kind == ARP and f.sender == address], "the wire shows what is allowed"
    assert not [f for f in ours if f.kind in (ARP, IPV4) and f.sender not in (address, "0.0.0.0")]


def test_the_guest_is_no_dhcp_server(
    guest: Guest, demo: Any, wire: Wire, port: Any, address: str, gateway: str
) -> None:
    """A guest that runs a DHCP server is asked, with its security group's leave, and answers; nobody hears it."""
    prefix = address.rpartition(".")[0]
    for line in (f"start {prefix}.240", f"end {prefix}.250", "interface eth0", "lease_file /run/leases"):
        guest.check(f"echo '{line}' >> /run/udhcpd.conf; touch /run/leases")
    guest.check("udhcpd -f /run/udhcpd.conf > /run/udhcpd.log 2>&1 & echo $! > /run/rogue.pid")
    group = demo.network.find_security_group("ping-and-ssh")
    rule = demo.network.create_security_group_rule(
        security_group_id=group.id,
        direction="ingress",
        ether_type="IPv4",
        protocol="udp",
        port_range_min=67,
        port_range_max=67,
    )
    try:

        def answered() -> bool:
            send(f"bsp{gateway.split('.')[2]}", dhcp_discover("02:00:00:00:00:07"))
            return "OFFER" in guest.run("cat /run/udhcpd.log").out

        until("the guest's DHCP server to answer", answered, 30)
    finally:
        demo.network.delete_security_group_rule(rule)
        guest.ends("/run/rogue.pid")
    assert guest.run(f"arping -c 1 -w 2 -I eth0 -s {address} {gateway}").rc == 0
    assert wire.seen(lambda f: f.source == port.mac_address), "the wire shows what is allowed"
    assert not wire.seen(lambda f: f.source == port.mac_address and f.udp == 67)


@contextmanager
def pinging(address: str) -> Iterator[list[int]]:
    """A ping every 100 ms meanwhile; gives [sent, received] at the end."""
    counted = [0, 0]
    argv = ["ping", "-n", "-i", "0.1", "-q", address]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield counted
        finally:
            process.send_signal(signal.SIGINT)
            out = process.communicate(timeout=10)[0]
    line = next(line for line in out.splitlines() if "packets transmitted" in line)
    counted[:] = int(line.split()[0]), int(line.split()[3])


@pytest.mark.parametrize("name", ["nova-compute-fbsd1", "bridge-agent-fbsd1", "dhcp-agent-fbsd1", "rabbitmq"])
def test_the_guest_outlives_what_is_killed(api: Any, guest: Guest, address: str, server: Any, name: str) -> None:
    def agents() -> dict[str, str]:
        return {a["kind"]: a["state"] for a in status()["agents"]}

    pid = services()[name]["pid"]
    with pinging(address) as counted:
        os.kill(pid, signal.SIGKILL)
        until(f"{name} to be back", lambda: services()[name]["pid"] not in (None, pid))
        guest.check("true")
        until("every agent to be up", lambda: set(agents().values()) == {"up"})
        # the service does its work again: the guest's address is renewed, its power state is known
        guest.check("kill -USR1 $(cat /run/udhcpc.eth0.pid)")
        assert api.compute.get_server(server).status == "ACTIVE"
    sent, received = counted
    # one at the end may still be on its way
    assert received >= sent - 1, f"{sent - received} of {sent} pings were lost while {name} was killed"


def test_the_bridge_agent_programs_ports_after_its_death(guest: Guest, demo: Any, address: str) -> None:
    """Killed, and a rule made while it is away: the rule holds when it is back."""
    guest.check(f"(while true; do nc -l -p {PORT} -e true; done) >/dev/null 2>&1 & echo $! > /run/listener")
    group = demo.network.find_security_group("ping-and-ssh")
    os.kill(services()["bridge-agent-fbsd1"]["pid"], signal.SIGKILL)
    rule = demo.network.create_security_group_rule(
        security_group_id=group.id,
        direction="ingress",
        ether_type="IPv4",
        protocol="tcp",
        port_range_min=PORT,
        port_range_max=PORT,
    )
    try:
        until("the rule to open the port", lambda: connects(address), 60)
    finally:
        demo.network.delete_security_group_rule(rule)
        guest.ends("/run/listener", "nc")
    until("the port to be closed again", lambda: not connects(address), 60)


def test_stop_and_start(demo: Any, server: Any, address: str) -> None:
    demo.compute.stop_server(server)
    demo.compute.wait_for_server(server, status="SHUTOFF", wait=90)
    assert not pings(address)
    demo.compute.start_server(server)
    demo.compute.wait_for_server(server, status="ACTIVE", wait=90)
    until("the guest to answer ping again", lambda: pings(address))


def test_a_deleted_server_leaves_nothing_on_the_host_and_up_makes_a_new_one(demo: Any, server: Any, port: Any) -> None:
    tap = f"tap{port.id[:11]}"
    assert tap in beastack("host", "--name", NAME, "fbsd1", "--", "ifconfig", "-l").stdout
    demo.compute.delete_server(server)
    demo.compute.wait_for_delete(server, wait=60)

    def listed(*command: str) -> str:
        return beastack("host", "--name", NAME, "fbsd1", "--", *command).stdout

    until("the port's rules to go", lambda: tap not in listed("pfctl", "-s", "Anchors", "-a", "beastack"), 30)
    assert tap not in listed("ifconfig", "-l")
    assert tap not in listed("ngctl", "list")
    done = beastack("up", "--name", NAME)
    assert "nothing was changed" not in done.stdout
    assert "Server first has the address " in done.stdout
