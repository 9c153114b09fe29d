"""Open vSwitch as a simulated host runs it: Debian's switch over BPF, with real frames.

Frames go from a tap, held as bhyve holds it, through br-int to a station, a jail behind an epair. What the host's own
stack gets is counted at a socket of the host's.
"""

import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from beastack.freebsd import netgraph
from beastack.freebsd.bpf_guard import drop_all
from tests.host.targets import running

from .conftest import OCTET, PROVIDER, Host, until

pytestmark = pytest.mark.root

GUEST = "58:9c:fc:aa:00:01"
STATION = """
ifconfig epair create name tapb
jail -c name=b path=/ host.hostname=b vnet persist
ifconfig epair0b vnet b
jexec b ifconfig epair0b inet 10.5.0.2/24 up
ifconfig tapb up
ovs-vsctl --timeout=20 add-port br-int tapb
"""
# the guest's cable: frames in and out as lines of hexadecimal digits
HOLD = """
import json, os, socket, sys, threading
engine = socket.socket(socket.AF_UNIX)
engine.connect(os.environ["BEASTACK_SIM"] + "/engine.sock")
engine.sendall(json.dumps(dict(prog="@tap-open", argv=[sys.argv[1]], pid=os.getpid())).encode() + b"\\n")
paths = json.loads(json.loads(engine.makefile().read())["out"])
cable = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
cable.bind(paths["guest"])
def back():
    while True:
        print(cable.recv(65536).hex(), flush=True)
threading.Thread(target=back, daemon=True).start()
print("open", flush=True)
for line in sys.stdin:
    cable.sendto(bytes.fromhex(line), paths["engine"])
"""
# what reaches the host's own stack: one line for each datagram
HEAR = """
import socket, sys
hear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
hear.bind(("0.0.0.0", 7777))
print("listening", file=sys.stderr, flush=True)
while True:
    print(hear.recv(2048).decode(), flush=True)
"""


@pytest.fixture
def switched(ovs_host: Host) -> Host:
    ovs_host.ok("ovs-vsctl --timeout=20 add-br br-int -- set bridge br-int datapath_type=netdev")
    return ovs_host


class Process:
    """A program in the host that is written to and read from."""

    def __init__(self, host: Host, program: str, *arguments: str) -> None:
        pid = str(json.loads((host.directory / "engine.json").read_text())["pid"])
        self.lines: list[str] = []
        self.out = host.directory / f"out{time.monotonic_ns()}"
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                ["nsenter", "-t", pid, "-m", "-n", "-u", "-p", "--", "python3", "-c", program, *arguments],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "BEASTACK_SIM": str(host.directory)},
            )
        until(lambda: self.out.read_text() != "", "the program's first word")

    def send(self, *frames: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(frame.hex() + "\n" for frame in frames))
        self.process.stdin.flush()

    def got(self) -> list[str]:
        return self.out.read_text().splitlines()[1:]

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def run(switched: Host) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(program: str, *arguments: str) -> Process:
        started.append(Process(switched, program, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.end()


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ones(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def datagram(target: str, source: str, to: str, text: bytes) -> bytes:
    """UDP to port 7777, without a checksum of its own."""
    packet = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(text), 1, 0, 64, 17, 0)
    packet += socket.inet_aton(source) + socket.inet_aton(to)
    packet = packet[:10] + struct.pack("!H", ones(packet)) + packet[12:]
    return mac(target) + mac(GUEST) + b"\x08\x00" + packet + struct.pack("!HHHH", 7777, 7777, 8 + len(text), 0) + text


def who_has(source: str, address: str) -> bytes:
    sender = mac(GUEST) + socket.inet_aton(source)
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + sender + bytes(6) + socket.inet_aton(address)
    return b"\xff" * 6 + mac(GUEST) + b"\x08\x06" + body


def ethernet(host: Host, interface: str) -> str:
    return host.ok(f"ifconfig {interface}").split("ether ")[1].split()[0]


def test_a_guest_reaches_a_station_and_the_host_only_while_no_guard_stands(
    switched: Host, run: Callable[..., Process]
) -> None:
    host, management = switched, f"100.64.{OCTET}.11"
    host.ok("ifconfig tap create name tapa up")
    host.ok(STATION)
    host.ok("ovs-vsctl --timeout=20 add-port br-int tapa")
    guest, hear = run(HOLD, "tapa"), run(HEAR)
    guest.send(who_has("10.5.0.1", "10.5.0.2"))
    until(lambda: len(guest.got()) > 0, "the station's answer")
    reply = bytes.fromhex(next(line for line in guest.got() if line[24:28] == "0806"))
    assert reply[:6] == mac(GUEST)
    assert reply[28:32] == socket.inet_aton("10.5.0.2")
    # promiscuous, the host takes what is for it whatever MAC it goes to
    guest.send(datagram("02:00:00:00:00:99", "10.5.0.1", management, b"before the guard"))
    until(lambda: "before the guard" in hear.got(), "the host's own stack, with no guard")
    host.ok("kldload -n ng_ether ng_bpf")
    netgraph.set_guard(running(host.directory), "tapa", drop_all())
    guest.send(datagram("02:00:00:00:00:99", "10.5.0.1", management, b"behind the guard"))
    guest.send(datagram(ethernet(host, "tapa"), "10.5.0.1", management, b"behind the guard"))
    guest.send(datagram("ff:ff:ff:ff:ff:ff", "0.0.0.0", "255.255.255.255", b"behind the guard"))
    # the guard stands behind BPF: the switch goes on
    before = len(guest.got())
    guest.send(who_has("10.5.0.1", "10.5.0.2"))
    until(lambda: len(guest.got()) > before, "the station's answer through the guard")
    assert "recvFrames=4 " in host.ok("ngctl msg bsg_tapa: getstats '\"in\"'")
    # what comes the same way afterwards is heard: the others were dropped, not late
    netgraph.clear_guard(running(host.directory), "tapa")
    guest.send(datagram("02:00:00:00:00:99", "10.5.0.1", management, b"after the guard"))
    until(lambda: "after the guard" in hear.got(), "the host's own stack, with the guard gone")
    assert "behind the guard" not in hear.got()


def test_the_devices_come_and_go_with_the_ports_and_the_switch(switched: Host) -> None:
    host = switched
    links = "ip -o link | cut -d: -f2"
    host.ok(STATION)
    assert " tapb\n" in host.ok(links)
    assert "PPROMISC" in host.ok("ifconfig tapb")
    # the database away for a moment: the switch goes on as it was
    host.ok("service ovsdb-server onerestart; jexec b ifconfig epair0b inet 10.5.0.3/24 alias")
    assert " tapb\n" in host.ok(links)
    host.ok("ovs-vsctl --timeout=20 del-port br-int tapb")
    until(lambda: " tapb\n" not in host.ok(links), "the device to go")
    assert "PROMISC" not in host.ok("ifconfig tapb")
    host.ok("ovs-vsctl --timeout=20 add-port br-int tapb")
    # an interface that is destroyed, and made again while its row is there
    host.ok("ifconfig tapb destroy")
    assert " tapb\n" not in host.ok(links)
    host.ok("ifconfig epair create name tapb up")
    until(lambda: host.ok("ovs-vsctl --timeout=20 get interface tapb error") == "[]\n", "the switch to open it again")
    host.ok("service ovs-vswitchd onestop")
    until(lambda: " tapb\n" not in host.ok(links), "the device to go with the switch")
    assert "PROMISC" not in host.ok("ifconfig tapb")
    host.ok("service ovs-vswitchd onestart")
    until(lambda: " tapb\n" in host.ok(links), "the device to come back with the switch")


def test_what_an_epair_leaves_to_the_card_is_not_done_for_bpf(switched: Host) -> None:
    host = switched
    host.ok(STATION)
    host.ok(STATION.replace("tapb", "tapc").replace("epair0b", "epair1b").replace("=b ", "=c ").replace(" b\n", " c\n")
            .replace("jexec b", "jexec c").replace("10.5.0.2", "10.5.0.3"))  # fmt: skip
    host.ok("jexec c ping -c 2 -t 5 10.5.0.2")
    serve = "import socket; s = socket.create_server(('10.5.0.2', 5001)); c, _ = s.accept(); c.sendall(c.recv(9))"
    ask = (
        "import socket; s = socket.create_connection(('10.5.0.2', 5001), {}); s.sendall(b'hello'); "
        "print(s.recv(9).decode())"
    )
    host.ok(f'jexec b daemon -f python3 -c "{serve}"')
    assert host.run(f'jexec c python3 -c "{ask.format(1)}"')[1] != 0
    host.ok("ifconfig tapb -txcsum -txcsum6 && ifconfig tapc -txcsum -txcsum6")
    assert "TXCSUM" not in host.ok("jexec b ifconfig epair0b")
    assert host.ok(f'jexec c python3 -c "{ask.format(5)}"') == "hello\n"


def test_the_uplink_carries_tagged_frames(switched: Host, make_host: Callable[..., Host]) -> None:
    host = switched
    host.ok(STATION)
    host.ok("ifconfig em0 up; ovs-vsctl --timeout=20 set port tapb tag=77 -- add-port br-int em0")
    other = make_host("fbsd2", f"em0={PROVIDER}")
    other.ok("ifconfig em0 up; ifconfig vlan create vlan 77 vlandev em0 name v77 inet 10.5.0.9/24 up")
    host.ok("jexec b ping -c 2 -t 5 10.5.0.9")
    other.ok("ping -c 2 -t 5 10.5.0.2")
    # a whole frame with its tag is too long for BPF, until the card's MTU has room for the tag
    whole = "ping -D -s 1472 -c 1 -t 2 10.5.0.2"
    assert other.run(whole)[1] != 0
    host.ok("ifconfig em0 mtu 1504")
    other.ok(whole)
    other.ok("ifconfig v77 vlan 78 vlandev em0")
    assert other.run("ping -c 1 -t 1 10.5.0.2")[1] != 0
