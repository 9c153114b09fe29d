"""What a port may send and get, said plainly: Neutron's documented semantics, slow and obvious.

Sources: the Networking API (security group rules, allowed address pairs, port security), and the base rules of
upstream's own drivers (neutron/agent/firewall.py, linux/iptables_firewall.py, linux/openvswitch_firewall). Nothing here
is shared with the code that is tested. Where Beastack is stricter on purpose, the function says ``Stricter``.
"""

import ipaddress
from dataclasses import dataclass
from typing import Any

ICMP, TCP, UDP, ICMP6, SCTP = 1, 6, 17, 58, 132
NUMBERS = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "icmp": 1, "icmpv6": 58, "igmp": 2, "ipip": 4,
    "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43,
    "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
}  # fmt: skip
REQUESTS = {4: (8, 13, 15, 17), 6: (128,)}
REPLIES = {4: {0: 8, 14: 13, 16: 15, 18: 17}, 6: {129: 128}}
BROADCAST, EVERYONE = "255.255.255.255", ipaddress.ip_network("ff02::/16")
NOWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Packet:
    """One IP packet as it is meant; ``frames.py`` makes bytes of it."""

    way: str  # egress: from the guest; ingress: to it
    mac: str
    source: str
    target: str
    proto: int
    sport: int = 0
    dport: int = 0
    kind: int = -1
    code: int = 0
    ident: int = 0
    syn: bool = True
    options: bool = False
    neighbour: str = ""  # whom neighbour discovery is about
    about: "Packet | None" = None  # what an ICMP error quotes
    pieces: bool = False  # sent in two fragments

    @property
    def family(self) -> int:
        return 6 if ":" in self.source else 4

    @property
    def is_icmp(self) -> bool:
        return self.proto == (ICMP if self.family == 4 else ICMP6)


def lla(mac: str) -> str:
    """RFC 4291, appendix A."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 2
    words = [octets[0] << 8 | octets[1], octets[2] << 8 | 0xFF, 0xFE00 | octets[3], octets[4] << 8 | octets[5]]
    return str(ipaddress.ip_address("fe80::" + ":".join(f"{word:x}" for word in words)))


def inside(address: str, networks: list[str]) -> bool:
    found = ipaddress.ip_address(address)
    return any(found in network for network in map(ipaddress.ip_network, networks) if network.version == found.version)


def ends(packet: Packet) -> frozenset[tuple[str, int]]:
    """Who talks to whom, whichever way: a query's ends are its identifier and its type."""
    if packet.is_icmp:
        kind = REPLIES[packet.family].get(packet.kind)
        if kind is not None:
            return frozenset({(packet.source, -1 - kind), (packet.target, packet.ident)})
        return frozenset({(packet.source, packet.ident), (packet.target, -1 - packet.kind)})
    return frozenset({(packet.source, packet.sport), (packet.target, packet.dport)})


class Model:
    """One port in its groups."""

    def __init__(
        self, port: dict[str, Any], groups: dict[str, list[dict[str, Any]]], members: dict[str, list[str]]
    ) -> None:
        self.port, self.groups, self.members = port, groups, members
        self.open: dict[tuple[int, frozenset[tuple[str, int]]], Packet] = {}

    # what may be spoken as

    def allowed(self) -> dict[str, list[str]]:
        """Addresses and networks by MAC: the port's own, its address pairs, and each MAC's link-local address."""
        mac = self.port["mac_address"]
        found: dict[str, list[str]] = {mac: list(self.port["fixed_ips"])}
        for pair in self.port["allowed_address_pairs"]:
            found.setdefault(pair.get("mac_address") or mac, []).append(pair["ip_address"])
        return {who: [*addresses, lla(who)] for who, addresses in found.items()}

    def spoofed(self, packet: Packet) -> bool:
        mine = self.allowed().get(packet.mac)
        if mine is None:
            return True
        if packet.source == "0.0.0.0":
            return not (packet.proto == UDP and (packet.sport, packet.dport) == (68, 67) and packet.target == BROADCAST)
        if packet.source == "::":
            if ipaddress.ip_address(packet.target) not in EVERYONE or not packet.is_icmp:
                return True
            return packet.kind not in (131, 143) and not (packet.kind == 135 and inside(packet.neighbour, mine))
        if packet.is_icmp and packet.family == 6 and packet.kind == 136:
            # whom it speaks of is its MAC's own; where it comes from is one of the port's
            everyone = [address for addresses in self.allowed().values() for address in addresses]
            return not inside(packet.neighbour, mine) or not inside(packet.source, everyone)
        return not inside(packet.source, mine)

    def plays_server(self, packet: Packet) -> bool:
        """DHCP answers and router advertisements. Stricter: whatever port they come from."""
        if packet.proto == UDP:
            return packet.dport == (68 if packet.family == 4 else 546)
        return packet.family == 6 and packet.is_icmp and packet.kind == 134

    def hides(self, packet: Packet) -> bool:
        """Stricter: no ICMPv6 in fragments."""
        return packet.family == 6 and packet.is_icmp and packet.pieces

    # what every port may say and hear

    def base(self, packet: Packet) -> bool:
        if packet.family == 6 and packet.pieces:
            return False
        ports = (packet.sport, packet.dport)
        if packet.family == 6 and packet.is_icmp:
            if packet.way == "egress":
                return packet.kind in (130, 131, 132, 133, 135, 136, 143)
            return packet.kind in (130, 134, 135, 136) and (packet.kind != 134 or self._has_six())
        if packet.proto != UDP:
            return False
        if packet.way == "egress":
            return ports == ((68, 67) if packet.family == 4 else (546, 547))
        own = [a for a in self.port["fixed_ips"] if (":" in a) == (packet.family == 6)]
        if packet.family == 4:
            return ports == (67, 68) and inside(packet.target, [*own, BROADCAST])
        return ports == (547, 546) and inside(packet.target, [*own, "fe80::/64"])

    def _has_six(self) -> bool:
        return any(":" in address for address in self.port["fixed_ips"])

    # groups

    def matching(self, packet: Packet) -> list[dict[str, Any]]:
        rules = [rule for group in self.port["security_groups"] for rule in self.groups[group]]
        return [rule for rule in rules if self.matches(rule, packet)]

    def matches(self, rule: dict[str, Any], packet: Packet) -> bool:
        if rule["direction"] != packet.way or rule["ethertype"] != f"IPv{packet.family}":
            return False
        wanted = rule.get("protocol")
        number = None if wanted in (None, "any", "0", "ip", "hopopt") else NUMBERS.get(wanted) or int(wanted)
        if number == ICMP and packet.family == 6:
            number = ICMP6
        low, high = rule.get("port_range_min"), rule.get("port_range_max")
        # Stricter: pf cannot tell the ports of DCCP and UDP-Lite; such a rule allows nothing
        if low is not None and number not in (TCP, UDP, SCTP, ICMP, ICMP6):
            return False
        if number is not None and number != packet.proto:
            return False
        loose = packet.family == 6 and packet.pieces
        if low is not None and packet.is_icmp:
            if loose or packet.kind != low or high not in (None, packet.code):
                return False
        elif low is not None and (loose or not low <= packet.dport <= high):
            return False
        # Stricter: IPv6 fragments are not put together, so nothing of TCP's flags is known
        if loose and packet.proto == TCP and rule["stateful"]:
            return False
        remote = packet.source if packet.way == "ingress" else packet.target
        for key in ("source_ip_prefix", "dest_ip_prefix"):
            if rule.get(key) and not inside(remote, [rule[key]]):
                return False
        for key in ("remote_group_id", "remote_address_group_id"):
            if rule.get(key) and not inside(remote, self.members[rule[key]]):
                return False
        return True

    # verdicts

    def passes(self, packet: Packet) -> bool:
        """The verdict; a connection that begins is remembered."""
        if not self.port["port_security_enabled"]:
            return True
        if packet.way == "egress" and (self.spoofed(packet) or self.plays_server(packet) or self.hides(packet)):
            return False
        return self.goes_on(packet) or self.base(packet) or self.begins(packet)

    def goes_on(self, packet: Packet) -> bool:
        """Part of a connection, or an error about one that went the other way."""
        if packet.family == 6 and packet.pieces:
            return False
        if packet.about is not None:
            quoted = packet.about
            return quoted.way != packet.way and (quoted.proto, ends(quoted)) in self.open
        return (packet.proto, ends(packet)) in self.open

    def begins(self, packet: Packet) -> bool:
        rules = self.matching(packet)
        if not rules:
            return False
        stateless = any(not rule["stateful"] for rule in rules)
        if packet.proto == TCP and not packet.syn and not stateless:
            return False
        if not stateless and self.tracked(packet):
            self.open[packet.proto, ends(packet)] = packet
        return True

    @staticmethod
    def tracked(packet: Packet) -> bool:
        if packet.family == 6 and packet.pieces:
            return False
        return not packet.is_icmp or packet.kind in REQUESTS[packet.family] or packet.kind in REPLIES[packet.family]

    def changed(self) -> None:
        """Rules, members or addresses are others now: connections that would not begin now are over."""
        before, self.open = self.open, {}
        mine = [address for addresses in self.allowed().values() for address in addresses]
        for packet in before.values():
            own = packet.source if packet.way == "egress" else packet.target
            if inside(own, mine) and any(rule["stateful"] for rule in self.matching(packet)):
                self.open[packet.proto, ends(packet)] = packet
