"""A router in a vnet jail: source NAT, floating IP, hairpin and the metadata redirect, with real packets (08)."""

from dataclasses import dataclass

import pytest

from beastack.freebsd import ifnet, pf_nat, route, sysctl
from beastack.freebsd.host import Host, JailHost
from beastack.freebsd.pf_nat import Translation
from beastack.freebsd.pf_rules import TCP

from .lab import PATIENCE, Guest, Lab, until
from .test_guards import Capture

EXTERNAL, FLOATING = "203.0.113.10", "203.0.113.20"
RULES = [
    Translation("nat", "bscqg", "10.1.0.0/24", target=EXTERNAL),
    Translation("nat", "bscqg", "10.2.0.0/24", target=EXTERNAL),
    Translation(
        "rdr", "bscqr1", destination="169.254.169.254", destination_ports=(80, 80), protocol=TCP, target="127.0.0.1",
        target_ports=(9697, 9697), passes=True,
    ),
    Translation("binat", "bscqg", "10.2.0.5", target=FLOATING),
]  # fmt: skip


@dataclass(frozen=True)
class Cloud:
    """A router with two tenants' guests and one machine outside."""

    router: JailHost
    one: Guest
    two: Guest
    outside: Guest


def _leg(lab: Lab, number: int, router: JailHost, nic: str, cidr: str, address: str, gateway: str | None) -> Guest:
    """A guest on a bridge of its own, and the router's leg there."""
    bridge = lab.bridge(number)
    guest = lab.guest(number, bridge, address)
    port, other = lab.plug(10 + number, router.name)
    ifnet.attach_member(lab.host, bridge, port)
    ifnet.rename(router, other, nic)
    ifnet.add_address(router, nic, cidr)
    ifnet.set_up(router, nic)
    if gateway:
        route.set_default(guest.host, gateway)
    return guest


@pytest.fixture
def cloud(host: Host, lab: Lab) -> Cloud:
    host.run(["kldload", "-n", "pf"])
    router = lab.jail("router")
    one = _leg(lab, 1, router, "bscqr1", "10.1.0.1/24", "10.1.0.5/24", "10.1.0.1")
    two = _leg(lab, 2, router, "bscqr2", "10.2.0.1/24", "10.2.0.5/24", "10.2.0.1")
    outside = _leg(lab, 3, router, "bscqg", f"{EXTERNAL}/24", "203.0.113.1/24", None)
    sysctl.ensure(router, "net.inet.ip.forwarding", 1)
    one.reaches("10.2.0.5")
    assert not one.pings(outside.address)
    text = "".join(f"{pf_nat.render(rule)}\n" for rule in RULES) + "pass all\n"
    router.run(["pfctl", "-q", "-f", "-"], input=text)
    router.run(["pfctl", "-e"])
    ifnet.add_address(router, "bscqg", f"{FLOATING}/32")
    return Cloud(router, one, two, outside)


def test_translations_are_read_back_and_are_the_jails_own(host: Host, cloud: Cloud) -> None:
    done = cloud.router.run(["pfctl", "-s", "nat"])
    assert pf_nat.parse(done.out, done.argv) == pf_nat.listed(RULES)
    assert not [line for line in host.run(["pfctl", "-s", "nat"]).out.splitlines() if "bscqg" in line]


def test_source_nat_and_a_floating_address(lab: Lab, cloud: Cloud) -> None:
    capture = Capture(lab, cloud.outside, "icmp[icmptype]=icmp-echo", "nat")
    cloud.one.reaches(cloud.outside.address)
    cloud.two.reaches(cloud.outside.address)
    sources = {EXTERNAL, FLOATING}
    until(
        lambda: {line.split(" > ")[-2].split()[-1] for line in capture.frames()} == sources, f"requests from {sources}"
    )
    cloud.outside.reaches(FLOATING)


def test_a_guest_reaches_anothers_floating_address(cloud: Cloud) -> None:
    cloud.one.reaches(FLOATING)


def test_the_metadata_address_is_redirected_to_the_router(lab: Lab, cloud: Cloud) -> None:
    answer = f"{lab.folder}/answer"
    cloud.router.run(["tee", answer], input="HTTP/1.0 200 OK\r\n\r\nmetadata\n")
    serve = f"exec nc -n -l 127.0.0.1 9697 <{answer}"
    cloud.router.run(["daemon", "-f", "-p", f"{lab.folder}/md.pid", "sh", "-c", serve])

    def asked() -> bool:
        argv = ["nc", "-n", "-w", "3", "169.254.169.254", "80"]
        done = cloud.one.host.run(argv, input="GET / HTTP/1.0\r\n\r\n", check=False, timeout=PATIENCE)
        return "metadata" in done.out

    until(asked, "the redirected request's answer")
    states = cloud.router.run(["pfctl", "-s", "states"]).out
    assert "127.0.0.1:9697 (169.254.169.254:80) <- 10.1.0.5" in states
