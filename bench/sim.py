"""How fast a simulated host moves frames and answers its programs.

    .venv/bin/python -m bench.sim [--seconds 3] [--rounds 3]

Two vnet jails on one bridge of one simulated host, pf in force on both ports, as the firewall driver loads it: bulk
TCP, and round trips; the same after 100 more ports with anchors of 20 rules; and how long a program takes, from its
start to its end, entering the host included. Then the same between two hosts, whose bridges a vxlan(4) joins: there
every segment is a datagram of its own, and each passes the engine twice on either host. Root.
"""

import argparse
import os
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tests.host.lab import Guest, Lab, sweep
from tests.host.targets import SimHost, sim, simulated

from beastack.freebsd import ifnet, pf, pf_host, vxlan
from beastack.freebsd.pf_rules import ICMP, TCP, Rule

from .machine import described, table

PORT = 5001
# inside the tunnel: 50 bytes less than outside
MTU = 1450
GOALS = {"bulk": "2 Gbit/s", "round trip": "0.5 ms", "ifconfig": "30 ms"}
EGRESS = Rule("pass", "egress", "in", 4, stateful=True)
INGRESS = [Rule("pass", f"tcp{n}", "out", 4, TCP, f"10.{n}.0.0/16", stateful=True) for n in range(18)]
PING = Rule("pass", "ping", "out", 4, ICMP, stateful=True)

RECEIVE = """
import socket, sys, time
s = socket.create_server((sys.argv[1], int(sys.argv[2])))
s.settimeout(20)
c, _ = s.accept()
c.settimeout(20)
n, began = 0, time.monotonic()
buffer = bytearray(1 << 20)
while got := c.recv_into(buffer):
    n += got
print(n * 8 / (time.monotonic() - began) / 1e9)
"""
SEND = """
import socket, sys, time
end = time.monotonic() + 20
while True:
    try:
        c = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
        break
    except ConnectionRefusedError:
        if time.monotonic() > end:
            raise
        time.sleep(0.02)
data = bytes(1 << 20)
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    c.sendall(data)
"""


def bulk(sender: Guest, receiver: Guest, seconds: float) -> float:
    """Gbit/s of one TCP connection, as the receiver counts them."""
    said: list[str] = []

    def receive() -> None:
        argv = ["python3", "-c", RECEIVE, receiver.address, str(PORT)]
        said.append(receiver.host.run(argv, timeout=seconds + 60).out)

    thread = threading.Thread(target=receive)
    thread.start()
    sender.host.run(["python3", "-c", SEND, receiver.address, str(PORT), str(seconds)], timeout=seconds + 60)
    thread.join()
    return float(said[0])


def round_trip(sender: Guest, receiver: Guest) -> float:
    """Milliseconds, mean of 200 echo requests."""
    out = sender.host.run(["ping", "-n", "-q", "-c", "200", "-i", "0.01", receiver.address], timeout=30).out
    found = re.search(r"= [\d.]+/([\d.]+)/", out)
    assert found, out
    return float(found[1])


def seconds_of(action: Callable[[], object], rounds: int = 20) -> float:
    """Median."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _open(host: SimHost, guest: Guest) -> None:
    pf.load_rules(host, guest.port, [EGRESS, *INGRESS, PING])


def crowd(lab: Lab, ports: int, anchors: int) -> None:
    """More interfaces on the same bridge, and anchors of 20 rules."""
    for number in range(ports):
        tap = lab.tap(100 + number)
        ifnet.attach_member(lab.host, "bscbr0", tap)
        if number < anchors:
            pf.load_rules(lab.host, tap, [EGRESS, *INGRESS, PING])


def measure(host: SimHost, seconds: float, rounds: int) -> dict[str, tuple[float, float]]:
    """What -> alone, and with 200 interfaces and 100 anchors."""
    found: dict[str, list[float]] = {}
    lab = Lab(host, "/tmp")  # noqa: S108 - nothing is put there
    try:
        _bridge, (one, two) = lab.guests(2)
        host.run(["kldload", "-n", "pf"])
        pf_host.prepare(host)
        for guest in (one, two):
            _open(host, guest)
        one.reaches(two.address)
        entering = ["nsenter", "-t", str(host.pid), "-m", "-n", "-u", "-p", "--", "/bin/true"]
        for crowded in (False, True):
            if crowded:
                crowd(lab, 200, 100)
            bulks = [bulk(one, two, seconds) for _ in range(rounds)]
            found.setdefault("bulk TCP, two jails, pf on both ports (Gbit/s)", []).append(statistics.median(bulks))
            found.setdefault("round trip, two jails, pf on both ports (ms)", []).append(round_trip(one, two))
            for words in (["ifconfig", "-l"], ["ifconfig", one.port], ["ifconfig", "-a"], ["pfctl", "-sr"]):
                taken = seconds_of(lambda words=words: host.run(words))  # type: ignore[misc]
                found.setdefault(f"`{' '.join(words)}` (ms)", []).append(taken * 1000)
            nothing = seconds_of(lambda: subprocess.run(entering, check=True, timeout=10))
            found.setdefault("entering the host alone, within each of these (ms)", []).append(nothing * 1000)
    finally:
        lab.close()
        sweep(host)
    return {name: (values[0], values[1]) for name, values in found.items()}


def between(hosts: tuple[SimHost, SimHost], seconds: float, rounds: int) -> dict[str, float]:
    """Two hosts, a guest on each, pf on both ports, and a tunnel between the bridges."""
    with ExitStack() as stack:
        guests = []
        for number, host in enumerate(hosts, 1):
            lab = Lab(host, "/tmp")  # noqa: S108 - nothing is put there
            stack.callback(sweep, host)
            stack.callback(lab.close)
            ifnet.add_address(host, "em0", f"192.168.50.{number}/24")
            ifnet.set_up(host, "em0")
            bridge = lab.bridge()
            guest = lab.guest(number, bridge)
            ifnet.set_mtu(guest.host, guest.nic, MTU)
            spec = vxlan.Spec(7, f"192.168.50.{number}", f"192.168.50.{3 - number}")
            vxlan.ensure_vxlan(host, "bscvx0", spec, "beastack:conformance:bench", 1500)
            lab.later(lambda host=host: ifnet.destroy(host, "bscvx0"))  # type: ignore[misc]
            ifnet.attach_member(host, bridge, "bscvx0")
            host.run(["kldload", "-n", "pf"])
            pf_host.prepare(host)
            _open(host, guest)
            # what is ours and has no rules of its own is blocked
            pf.load_rules(host, "bscvx0", [Rule("pass", "tunnel-in", "in", 4), Rule("pass", "tunnel-out", "out", 4)])
            guests.append(guest)
        one, two = guests
        one.reaches(two.address)
        return {
            "bulk TCP (Gbit/s)": statistics.median(bulk(one, two, seconds) for _ in range(rounds)),
            "round trip (ms)": round_trip(one, two),
        }


@contextmanager
def network() -> Iterator[str]:
    """A network for two hosts, which no other run has."""
    name = f"bsb{os.getpid() % 100000}"
    sim("net", "up", "--name", name, "--address", "198.18.250.1/24")
    try:
        yield name
    finally:
        sim("net", "down", "--name", name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with simulated("bench") as host:
        found = measure(host, given.seconds, given.rounds)
    with network() as name, simulated("bench1", [f"em0={name}"]) as a, simulated("bench2", [f"em0={name}"]) as b:
        far = between((a, b), given.seconds, given.rounds)
    print(described(), "\n")
    rows = [[name, f"{alone:.2f}", f"{crowded:.2f}"] for name, (alone, crowded) in found.items()]
    print(table(["simulated host", "2 guests", "and 200 interfaces, 100 anchors"], rows), "\n")
    print(table(["two simulated hosts, vxlan, pf on both ports", ""], [[k, f"{v:.2f}"] for k, v in far.items()]))


if __name__ == "__main__":
    main()
