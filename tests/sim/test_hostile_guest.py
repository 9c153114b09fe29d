"""A hostile guest with raw frames on a simulated host, against the rules and guards that the drivers make.

Guests are vnet jails behind real bridge members; what arrives at the victim's card is what counts. Each forged frame is
first seen to arrive where nothing filters, where the bridge carries it at all; then none of them may, while every
honest frame of every allowed pair does.
"""

import itertools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from beastack.freebsd import netgraph, pf, pf_host
from beastack.freebsd.bpf_guard import guards
from beastack.freebsd.host import Host
from beastack.neutron.firewall.port import open_port, pairs, plan
from beastack.neutron.firewall.translate import table
from tests.host.lab import Guest, Lab, clear_filters, until
from tests.host.targets import open_target
from tests.unit.neutron.firewall.frames import frames, ip, payload, raw
from tests.unit.neutron.firewall.reference import ICMP6, UDP, Packet, lla
from tests.unit.neutron.firewall.test_rules import provider

SG, FRIENDS = "11111111-2222-3333-4444-555555555555", "friends"
MAC, SECOND, THIRD, FOREIGN = (f"fa:16:3e:00:00:{n}" for n in ("01", "11", "03", "66"))
VICTIM4, VICTIM6, THIRD4, THIRD6 = "10.5.0.2", "2001:db8:5::2", "10.5.0.3", "2001:db8:5::3"
EVERYONE = "ff:ff:ff:ff:ff:ff"
# whom the port may speak as: its own addresses, an address more, a network, another MAC
ALLOWED = [
    (MAC, "10.5.0.1", "2001:db8:5::1"),
    (MAC, "10.5.0.77", "2001:db8:5::77"),
    (MAC, "10.6.0.9", "2001:db8:6::9"),
    (SECOND, "10.5.0.78", "2001:db8:5::78"),
]
PAIRS = [("10.5.0.77", MAC), ("2001:db8:5::77", MAC), ("10.6.0.0/24", MAC), ("2001:db8:6::/48", MAC),
         ("10.5.0.78", SECOND), ("2001:db8:5::78", SECOND)]  # fmt: skip
SEND = """
import socket, sys
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((sys.argv[1], 0))
for line in sys.stdin:
    out.send(bytes.fromhex(line))
"""
LISTEN = """
import re, socket, sys
seen = open(sys.argv[2], "w", buffering=1)
card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
card.bind((sys.argv[1], 0))
print("listening", file=seen)
while True:
    for number in re.findall(rb"<(\\d+)>", card.recv(65536)):
        print(number.decode(), file=seen)
"""
_NUMBERS = itertools.count(1000)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with open_target("sim:") as target:
        pf_host.prepare(target.host)
        yield target.host


@dataclass
class Scene:
    """The hostile guest, its victim, and one whose name is abused, on one bridge."""

    lab: Lab
    one: Guest
    two: Guest
    three: Guest

    def send(self, guest: Guest, named: dict[str, bytes]) -> dict[str, str]:
        """Each frame with a number behind it; number -> name."""
        numbers = {str(next(_NUMBERS)): name for name in named}
        marked = [frame + f"<{number}>".encode() for number, frame in zip(numbers, named.values(), strict=True)]
        lines = "".join(frame.hex() + "\n" for frame in marked)
        guest.host.run(["python3", "-c", SEND, guest.nic], input=lines)
        return numbers

    def listen(self, guest: Guest) -> str:
        path = f"{self.lab.folder}/{guest.jail}.{next(_NUMBERS)}"
        guest.host.run(["daemon", "-f", "-p", f"{path}.pid", "python3", "-c", LISTEN, guest.nic, path])
        until(lambda: "listening" in self.lab.host.run(["cat", path], check=False).out, "a listener")
        return path

    def seen(self, path: str) -> set[str]:
        return set(self.lab.host.run(["cat", path]).out.split()[1:])

    def port(self, guest: Guest, **more: Any) -> dict[str, Any]:
        own = [guest.address]
        return {
            "device": guest.port, "mac_address": guest.mac, "fixed_ips": own, "allowed_address_pairs": [],
            "port_security_enabled": True, "security_groups": [SG], "security_group_rules": provider(*own), **more,
        }  # fmt: skip

    def filter(self, guest: Guest, rules: list[dict[str, Any]], **more: Any) -> None:
        """What the agent does for a port."""
        port = self.port(guest, **more)
        made = plan(port, {SG: [{"stateful": True, **rule} for rule in rules]})
        assert not made.reports
        for name, members in made.tables.items():
            pf.replace_table(self.lab.host, name, sorted(members))
        pf.load_rules(self.lab.host, guest.port, made.rules)
        netgraph.set_guard(self.lab.host, guest.port, *guards(pairs(port)))

    def open(self, guest: Guest) -> None:
        netgraph.clear_guard(self.lab.host, guest.port)
        pf.load_rules(self.lab.host, guest.port, open_port(guest.port).rules)


@pytest.fixture
def scene(host: Host) -> Iterator[Scene]:
    folder = host.run(["mktemp", "-d", "/tmp/bsc.XXXXXX"]).out.strip()
    lab = Lab(host, folder)
    try:
        bridge = lab.bridge()
        made = Scene(lab, *(lab.guest(number, bridge) for number in (1, 2, 3)))
        for guest in (made.one, made.two, made.three):
            made.open(guest)
        made.one.reaches(VICTIM4)
        yield made
        clear_filters(host)
    finally:
        lab.close()
        host.run(["rm", "-r", folder])


EGRESS = [{"direction": "egress", "ethertype": f"IPv{family}"} for family in (4, 6)]


def ether(mac: str, kind: str, body: bytes) -> bytes:
    return raw(EVERYONE) + raw(mac) + bytes.fromhex(kind) + body


def arp(mac: str, sender: str, target: str, kind: int = 1, speaks: str = "") -> bytes:
    body = bytes.fromhex("000108000604") + struct.pack("!H", kind) + raw(speaks or mac)
    return ether(mac, "0806", body + quad(sender) + bytes(6) + quad(target))


def quad(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


def one(packet: Packet) -> bytes:
    return frames(packet)[0]


def behind(packet: Packet, header: int, fixed: bytes) -> bytes:
    """An IPv6 packet behind one more header."""
    whole = ip(packet)
    body = fixed + whole[40:]
    head = whole[:4] + struct.pack("!HB", len(body), header) + whole[7:40]
    return ether(packet.mac, "86dd", head + body)


def honest(mac: str, four: str, six: str) -> dict[str, bytes]:
    def out(**more: Any) -> Packet:
        return Packet("egress", mac, six, VICTIM6, ICMP6, **more)

    return {
        "an ARP request": arp(mac, four, VICTIM4),
        "an ARP answer": arp(mac, four, VICTIM4, 2),
        "a probe for its address": arp(mac, "0.0.0.0", four),
        "UDP": one(Packet("egress", mac, four, VICTIM4, UDP, 4000, 53)),
        "UDP over IPv6": one(Packet("egress", mac, six, VICTIM6, UDP, 4000, 53)),
        "a DHCP request": one(Packet("egress", mac, "0.0.0.0", "255.255.255.255", UDP, 68, 67)),
        "duplicate address detection": one(replace(out(kind=135, neighbour=six), source="::", target="ff02::1:ff00:1")),
        "an advertisement of its address": one(out(kind=136, neighbour=six)),
        "a router solicitation": one(replace(out(kind=133), source=lla(mac), target="ff02::2")),
    }


def forged(mac: str, four: str, six: str) -> dict[str, bytes]:
    """What may never arrive, whichever pair it is said with."""
    other = SECOND if mac == MAC else MAC
    mine = Packet("egress", mac, four, VICTIM4, UDP, 4000, 53)
    mine6 = replace(mine, source=six, target=VICTIM6)
    advert = Packet("egress", mac, lla(mac), "ff02::1", ICMP6, kind=134)
    server = replace(mine, sport=67, dport=68, target="255.255.255.255")
    udp = one(mine)[14:]
    first = ip(server, payload(server)[:24], 0x2000)
    return {
        "a foreign MAC": one(replace(mine, mac=FOREIGN)),
        "a neighbour's MAC": one(replace(mine, mac=THIRD)),
        "another pair's MAC": one(replace(mine, mac=other)),
        "another pair's MAC over IPv6": one(replace(mine6, mac=other)),
        "a neighbour's address": one(replace(mine, source=THIRD4)),
        "a neighbour's IPv6 address": one(replace(mine6, source=THIRD6)),
        "a neighbour's link-local address": one(replace(mine6, source=lla(THIRD))),
        "ARP for a neighbour": arp(mac, THIRD4, VICTIM4),
        "an ARP answer for a neighbour": arp(mac, THIRD4, VICTIM4, 2),
        "an ARP answer with another's MAC inside": arp(mac, four, VICTIM4, 2, speaks=THIRD),
        "a probe for a neighbour's address": arp(mac, "0.0.0.0", THIRD4),
        "an advertisement of a neighbour": one(Packet("egress", mac, six, VICTIM6, ICMP6, kind=136, neighbour=THIRD6)),
        "duplicate address detection for a neighbour": one(
            Packet("egress", mac, "::", "ff02::1:ff00:3", ICMP6, kind=135, neighbour=THIRD6)
        ),
        "a DHCP answer": one(server),
        "a DHCP answer from another port": one(replace(server, sport=1067)),
        "a DHCP answer's first fragment": ether(mac, "0800", first),
        "a DHCPv6 answer": one(replace(mine6, sport=547, dport=546)),
        "a router advertisement": one(advert),
        "one from a global address": one(replace(advert, source=six)),
        "one behind hop-by-hop options": behind(advert, 0, bytes([58, 0, 5, 2, 0, 0, 1, 0])),
        "one behind destination options": behind(advert, 60, bytes([58, 0, 1, 4, 0, 0, 0, 0])),
        "one in a fragment": behind(advert, 44, bytes([58, 0, 0, 1, 0, 0, 0, 9])),
        "one in an atomic fragment": behind(advert, 44, bytes([58, 0, 0, 0, 0, 0, 0, 9])),
        "a later fragment alone": ether(mac, "0800", ip(replace(mine, ident=77), payload(mine)[24:], 3)),
        "a VLAN tag": ether(mac, "8100", b"\0\5\x08\0" + udp),
        "a priority tag around a neighbour's address": ether(
            mac, "8100", b"\xe0\0\x08\0" + one(replace(mine, source=THIRD4))[14:]
        ),
        "two VLAN tags": ether(mac, "88a8", b"\0\5\x81\0\0\6\x08\0" + udp),
        "two equal VLAN tags": ether(mac, "8100", b"\0\5\x81\0\0\6\x08\0" + udp),
        "old stacked tags": ether(mac, "9100", b"\0\5\x81\0\0\6\x08\0" + udp),
        "LLC with SNAP": ether(mac, "0024", b"\xaa\xaa\x03\0\0\0\x08\0" + udp),
        "LLDP": ether(mac, "88cc", bytes(30)),
        "a loop of MAC-in-MAC": ether(mac, "88e7", bytes(40)),
    }


# the bridge itself carries none of these while its members are filtered (pfil_onlyip), or pf takes them for no packet
NEVER = re.compile(r"tag|LLC|LLDP|MAC-in-MAC|later fragment|options|fragment")


def test_what_a_hostile_guest_forges_does_not_arrive(scene: Scene) -> None:
    bad = {f"{n}: {name}": frame for n, pair in enumerate(ALLOWED) for name, frame in forged(*pair).items()}
    good = {f"{n}: {name}": frame for n, pair in enumerate(ALLOWED) for name, frame in honest(*pair).items()}
    path = scene.listen(scene.two)
    sent = scene.send(scene.one, bad)
    wanted = {number for number, name in sent.items() if not NEVER.search(name)}
    until(lambda: wanted <= scene.seen(path), "forged frames where nothing is filtered")
    scene.filter(
        scene.one, EGRESS, fixed_ips=["10.5.0.1", "2001:db8:5::1"],
        allowed_address_pairs=[{"ip_address": address, "mac_address": mac} for address, mac in PAIRS],
    )  # fmt: skip
    path = scene.listen(scene.two)
    forged_numbers = scene.send(scene.one, bad)
    honest_numbers = scene.send(scene.one, good)
    until(lambda: honest_numbers.keys() <= scene.seen(path), f"honest frames: {set(honest_numbers.values())}")
    arrived = sorted(forged_numbers[number] for number in scene.seen(path) & forged_numbers.keys())
    assert arrived == []


def test_pf_alone_stops_forged_addresses_and_no_state_carries_them(scene: Scene) -> None:
    """Three has a connection with two; one speaks in its name, and in the name of two's answers."""
    dns = {"protocol": "udp", "port_range_min": 53, "port_range_max": 53}
    ingress = [{"direction": "ingress", "ethertype": "IPv4", **dns, "source_ip_prefix": f"{THIRD4}/32"}]
    scene.filter(scene.two, [*EGRESS, *ingress])
    scene.filter(scene.three, EGRESS)
    scene.filter(scene.one, EGRESS)
    netgraph.clear_guard(scene.lab.host, scene.one.port)
    path = scene.listen(scene.two)
    real = Packet("egress", THIRD, THIRD4, VICTIM4, UDP, 4000, 53)
    began = scene.send(scene.three, {"real": one(real)})
    until(lambda: began.keys() <= scene.seen(path), "the connection")
    bad = scene.send(scene.one, {"rides": one(replace(real, mac=MAC)), "new": one(replace(real, mac=MAC, sport=4001))})
    again = scene.send(scene.three, {"more": one(real)})
    until(lambda: again.keys() <= scene.seen(path), "more of the connection")
    assert not bad.keys() & scene.seen(path)


def test_a_live_change_ends_what_is_not_allowed_any_more(scene: Scene) -> None:
    """A member leaves the group: its connection ends at once, another member's and another rule's go on."""
    host, name = scene.lab.host, table(4, FRIENDS)
    rules = [
        {"direction": "ingress", "ethertype": "IPv4", "remote_group_id": FRIENDS},
        {"direction": "ingress", "ethertype": "IPv4", "protocol": "udp", "port_range_min": 53, "port_range_max": 53},
    ]
    pf.replace_table(host, name, [scene.one.address, THIRD4])
    scene.filter(scene.two, [*EGRESS, *rules])
    path = scene.listen(scene.two)

    def arrive(wanted: dict[str, bool]) -> None:
        """Frames by name; what must not arrive is sent before what must."""
        expected: set[str] = set()
        unwanted: set[str] = set()
        for what, passes in sorted(wanted.items(), key=lambda item: item[1]):
            guest, port = (scene.one, 99) if "member" in what else (scene.three, 99)
            guest, port = (scene.one, 53) if "rule" in what else (guest, port)
            packet = Packet("egress", guest.mac, guest.address, VICTIM4, UDP, 4000, port)
            (expected if passes else unwanted).update(scene.send(guest, {what: one(packet)}))
        until(lambda: expected <= scene.seen(path), f"{wanted}")
        assert not unwanted & scene.seen(path)

    arrive({"one, a member": True, "three": True, "one, by the other rule": True})
    assert pf.change_table(host, name, [], [scene.one.address])
    pf.end_member_states(host, [scene.two.port], [scene.one.address])
    arrive({"one, a member": False, "three": True, "one, by the other rule": True})
    # the rules themselves: what the group allowed ends, the port's other connections go on
    scene.filter(scene.two, [*EGRESS, rules[1]])
    states = host.run(["pfctl", "-i", scene.two.port, "-ss"]).out
    assert f"{THIRD4}:4000 ->" not in states
    assert f"{scene.one.address}:4000 -> {VICTIM4}:53" in states
    arrive({"three": False, "one, by the other rule": True})


def test_fragments_are_judged_as_the_packet_they_make(scene: Scene) -> None:
    udp = {"direction": "ingress", "ethertype": "IPv4", "protocol": "udp", "port_range_min": 53, "port_range_max": 53}
    scene.filter(scene.two, [*EGRESS, udp])
    path = scene.listen(scene.two)
    allowed = Packet("egress", MAC, "10.5.0.1", VICTIM4, UDP, 4000, 53, ident=7, pieces=True)
    refused = replace(allowed, dport=54, ident=8)
    overlap = ether(MAC, "0800", ip(replace(allowed, pieces=False), payload(allowed)[8:], 1))
    bad = scene.send(scene.one, dict(zip(("first", "later"), frames(refused), strict=True)))
    good = scene.send(scene.one, dict(zip(("first", "later"), frames(allowed), strict=True)))
    until(lambda: good.keys() <= scene.seen(path), "both fragments")
    bad |= scene.send(scene.one, {"one that overlaps": overlap})
    last = scene.send(scene.one, {"whole": one(replace(allowed, pieces=False))})
    until(lambda: last.keys() <= scene.seen(path), "a whole packet")
    assert not bad.keys() & scene.seen(path)
