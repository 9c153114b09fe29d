"""ng_bpf(4) guards between a port and its bridge: what a guest may not say in another's name (transcripts 06, 14)."""

from collections.abc import Callable, Iterator

import pytest

from beastack.freebsd import ifnet, netgraph
from beastack.freebsd.bpf_guard import guard, guards
from beastack.freebsd.host import Host

from .lab import PATIENCE, Guest, Lab, until


@pytest.fixture
def pair(lab: Lab) -> Iterator[tuple[Guest, Guest]]:
    """Two guests that reach each other; the first one is to be guarded."""
    lab.host.run(["kldload", "-n", "ng_ether", "ng_bpf"])
    _bridge, (one, two) = lab.guests(2)
    lab.later(lambda: netgraph.clear_guard(lab.host, one.port))
    yield one, two


def guarded(host: Host, guest: Guest, *more: str) -> None:
    """Only the guest's own addresses pass."""
    netgraph.set_guard(host, guest.port, guard([(guest.mac, guest.address), *((guest.mac, one) for one in more)]))


class Capture:
    """tcpdump(1) in a guest, in the background; reading its file is what can be waited for."""

    def __init__(self, lab: Lab, guest: Guest, expression: str, name: str) -> None:
        self._lab, self._path = lab, f"{lab.folder}/{name}.txt"
        pid = f"{lab.folder}/{name}.pid"
        tcpdump = ["tcpdump", "-n", "-e", "-l", "-p", "-i", guest.nic, expression]
        guest.host.run(["daemon", "-f", "-p", pid, "-o", self._path, *tcpdump])
        until(lambda: "listening on" in self._text(), "tcpdump to listen")

    def _text(self) -> str:
        return self._lab.host.run(["cat", self._path], check=False).out

    def frames(self) -> list[str]:
        """What was seen so far."""
        return [line for line in self._text().splitlines() if " > " in line and "ethertype" in line]


@pytest.fixture
def forge(lab: Lab, pair: tuple[Guest, Guest]) -> Callable[[str, str, Callable[[], object]], None]:
    """Check that a forged frame arrives without the guard, and does not with it."""
    one, two = pair

    def check(name: str, expression: str, send: Callable[[], object]) -> None:
        open_capture = Capture(lab, two, expression, f"{name}-open")

        def seen() -> bool:
            send()
            return bool(open_capture.frames())

        until(seen, f"{name} to be seen without a guard")
        guarded(lab.host, one)
        honest = Capture(lab, two, f"icmp and ether src {one.mac} and src host {one.address}", f"{name}-honest")
        closed = Capture(lab, two, expression, f"{name}-closed")
        for _ in range(2):
            send()
        # the honest frames come after the forged ones on the same cable: when they are here, those would be
        one.reaches(two.address)
        until(lambda: bool(honest.frames()), "honest frames behind the forged ones")
        assert closed.frames() == []

    return check


def test_a_guard_is_set_listed_and_removed(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    guarded(lab.host, one)
    assert one.port in netgraph.list_guards(lab.host)
    one.reaches(two.address)
    two.reaches(one.address)
    guarded(lab.host, one, "10.5.0.100")
    one.reaches(two.address)
    netgraph.clear_guard(lab.host, one.port)
    netgraph.clear_guard(lab.host, one.port)
    assert one.port not in netgraph.list_guards(lab.host)
    one.reaches(two.address)


def test_a_half_made_guard_is_made_whole(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    step = f"mkpeer {one.port}: bpf lower in\nname {one.port}:lower {netgraph.node(one.port)}\n"
    lab.host.run(["ngctl", "-f", "-"], input=step)
    assert one.port not in netgraph.list_guards(lab.host)
    assert not one.pings(two.address)
    guarded(lab.host, one)
    one.reaches(two.address)


def test_a_forged_ethernet_address(lab: Lab, pair: tuple[Guest, Guest], forge: Callable[..., None]) -> None:
    one, two = pair

    def send() -> None:
        ifnet.set_mac(one.host, one.nic, "fa:16:3e:66:66:66")
        one.host.run(["arp", "-ad"], check=False)
        one.pings(two.address)
        ifnet.set_mac(one.host, one.nic, one.mac)
        one.host.run(["arp", "-ad"], check=False)

    forge("mac", "ether src fa:16:3e:66:66:66", send)


def test_a_forged_ip_source(pair: tuple[Guest, Guest], forge: Callable[..., None]) -> None:
    one, two = pair
    ifnet.add_address(one.host, one.nic, "10.5.0.77/32")
    forge("ip", "icmp and src host 10.5.0.77", lambda: one.pings(two.address, source="10.5.0.77"))


def test_a_forged_arp_sender(pair: tuple[Guest, Guest], forge: Callable[..., None]) -> None:
    """A new address announces itself by ARP, with that address as the sender."""
    one, _two = pair

    def send() -> None:
        ifnet.add_address(one.host, one.nic, "10.5.0.77/32")
        ifnet.remove_address(one.host, one.nic, "10.5.0.77/32")

    forge("arp", "arp and src host 10.5.0.77", send)


def test_a_guest_that_plays_dhcp_server(pair: tuple[Guest, Guest], forge: Callable[..., None]) -> None:
    one, two = pair
    argv = ["nc", "-n", "-u", "-w", "1", "-p", "67", "-s", one.address, two.address, "68"]
    forge(
        "dhcp",
        "udp and src port 67 and dst port 68",
        lambda: one.host.run(argv, input="offer", check=False, timeout=PATIENCE),
    )


def test_an_allowed_pair_more_lets_it_through(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    ifnet.add_address(one.host, one.nic, "10.5.0.77/32")
    guarded(lab.host, one)
    assert not one.pings(two.address, source="10.5.0.77")
    guarded(lab.host, one, "10.5.0.77")
    one.reaches(two.address, source="10.5.0.77")


def test_more_pairs_than_one_program_holds(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    """A chain of programs on one node: the pair that counts is in the last one."""
    one, two = pair
    others = [(f"fa:16:3e:00:01:{number:02x}", f"10.5.1.{number}") for number in range(1, 60)]
    chain = guards([*others, (one.mac, one.address)])
    assert len(chain) > 3
    netgraph.set_guard(lab.host, one.port, *chain)
    assert one.port in netgraph.list_guards(lab.host)
    one.reaches(two.address)
    netgraph.set_guard(lab.host, one.port, *guards(others))
    assert not one.pings(two.address)
    netgraph.set_guard(lab.host, one.port, *guards([(one.mac, one.address)]))
    one.reaches(two.address)
