"""Random ports, groups, members and packets; everything follows from one seed."""

import random
from dataclasses import replace
from typing import Any

from tests.unit.neutron.firewall.reference import (
    ICMP,
    ICMP6,
    NUMBERS,
    REPLIES,
    REQUESTS,
    SCTP,
    TCP,
    UDP,
    Model,
    Packet,
    inside,
    lla,
)
from tests.unit.neutron.firewall.test_rules import provider

TAP = "tap12345678-90"
MAC, SECOND, FOREIGN = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02", "fa:16:3e:66:66:66"
OWN = {4: ["10.0.0.5", "10.0.0.6"], 6: ["2001:db8::5", "2001:db8::6"]}
PAIRED = {4: ["10.9.0.0/16", "10.0.0.77", "0.0.0.0/0", "10.0.0.7/32"], 6: ["2001:db8:9::/48", "2001:db8::77", "::/0"]}
SPEAKS = {
    4: ["10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.77", "10.9.3.4", "10.200.0.1", "0.0.0.0"],
    6: ["2001:db8::5", "2001:db8::6", "2001:db8::77", "2001:db8:9::1", "2001:db8:5::1", "::", lla(MAC), lla(SECOND)],
}
REMOTES = {
    4: ["10.0.0.20", "10.0.0.21", "10.1.2.3", "192.0.2.1", "192.0.2.9", "203.0.113.5"],
    6: ["2001:db8::20", "2001:db8::21", "2001:db8:1::3", "2001:db8:2::1", "fe80::99", "2001:db8:ffff::5"],
}
PREFIXES = {
    4: ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/24", "192.0.2.0/29", "192.0.2.9/32", "10.1.2.3/32"],
    6: ["::/0", "2001:db8::/32", "2001:db8::/64", "2001:db8:2::1/128", "fe80::/10"],
}
GROUPS = [
    "11111111-2222-3333-4444-555555555555",
    "22222222-2222-3333-4444-555555555555",
    "33333333-0000-3333-4444-5555",
]
REMOTE = ["remote-group", "address-group", "empty-group"]
PORTS = [22, 53, 67, 68, 80, 443, 546, 547, 1000, 1001, 2000, 40000]
# of IPv6's extension headers there is no packet: the guard drops them and pf looks behind them
NOT_SIX = {0, 43, 44, 51, 60}


class World:
    """What the server might say, and what might be sent; ``model`` is the reference that is asked along."""

    def __init__(self, seed: int) -> None:
        self.rnd = random.Random(seed)  # noqa: S311 - tests
        self.stateful = self.rnd.random() < 0.8
        self.groups = {group: [self.rule(group) for _ in range(self.rnd.randrange(7))] for group in GROUPS}
        self.members = {name: self.some_members() for name in REMOTE[:2]} | {REMOTE[2]: []}
        self.port: dict[str, Any] = {
            "device": TAP,
            "mac_address": MAC,
            "port_security_enabled": self.rnd.random() > 0.03,
        }
        self.addresses()
        self.join()

    def addresses(self) -> None:
        rnd = self.rnd
        fixed = [OWN[family][0] for family in (4, 6) if rnd.random() < 0.9]
        fixed += [OWN[family][1] for family in (4, 6) if rnd.random() < 0.2]
        pairs = []
        for _ in range(rnd.choice([0, 0, 0, 1, 2, 3])):
            pair = {"ip_address": rnd.choice(PAIRED[rnd.choice([4, 6])])}
            if rnd.random() < 0.5:
                pair["mac_address"] = rnd.choice([MAC, SECOND])
            pairs.append(pair)
        self.port |= {"fixed_ips": fixed, "allowed_address_pairs": pairs, "security_group_rules": provider(*fixed)}

    def join(self) -> None:
        self.port["security_groups"] = self.rnd.sample(GROUPS, self.rnd.choice([0, 1, 1, 2, 3]))

    def some_members(self) -> list[str]:
        family = self.rnd.choice([4, 6])
        return self.rnd.sample([*REMOTES[4], *REMOTES[6], PREFIXES[family][2]], self.rnd.randrange(5))

    def rule(self, group: str) -> dict[str, Any]:
        rnd = self.rnd
        family = rnd.choice([4, 6])
        way = rnd.choice(["ingress", "egress"])
        made: dict[str, Any] = {"direction": way, "ethertype": f"IPv{family}", "stateful": self.stateful}
        kind = rnd.choice(["any", "tcp", "tcp", "udp", "udp", "icmp", "icmp", "sctp", "name", "number"])
        if kind in ("tcp", "udp", "sctp"):
            made["protocol"] = rnd.choice([kind, str(NUMBERS[kind])])
            if rnd.random() < 0.8:
                low = rnd.choice(PORTS)
                made |= {"port_range_min": low, "port_range_max": rnd.choice([low, low, low + 5, 65535])}
        elif kind == "icmp":
            made["protocol"] = rnd.choice(["icmp", "1"] if family == 4 else ["icmp", "ipv6-icmp", "icmpv6", "58", "1"])
            if rnd.random() < 0.7:
                made["port_range_min"] = rnd.choice([*REQUESTS[family], 3, 1, 0])
                if rnd.random() < 0.5:
                    made["port_range_max"] = rnd.choice([0, 0, 1, 4])
        elif kind == "name":
            made["protocol"] = rnd.choice(sorted(set(NUMBERS) - {"ipv6-icmp", "icmpv6"}))
        elif kind == "number":
            made["protocol"] = str(rnd.choice([0, 2, 47, 50, 89, 112, 132, 253, rnd.randrange(59, 256)]))
        elif rnd.random() < 0.5:
            made["protocol"] = rnd.choice([None, "any", "0", "ip"])
        if rnd.random() < 0.02:
            made |= {"protocol": rnd.choice(["dccp", "udplite"]), "port_range_min": 80, "port_range_max": 80}
        whom = rnd.random()
        if whom < 0.4:
            made["source_ip_prefix" if way == "ingress" else "dest_ip_prefix"] = rnd.choice(PREFIXES[family])
        elif whom < 0.7:
            made["remote_group_id"] = rnd.choice([REMOTE[0], REMOTE[2]])
        elif whom < 0.8:
            made["remote_address_group_id"] = REMOTE[1]
        return made

    def change(self) -> str:
        """Something is others now; says what."""
        rnd = self.rnd
        group = rnd.choice(GROUPS)
        match rnd.choice(["rule more", "rule less", "rule less", "members", "members", "groups", "addresses"]):
            case "rule more":
                self.groups[group] = [*self.groups[group], self.rule(group)]
                return f"a rule more in {group}"
            case "rule less":
                self.groups[group] = self.groups[group][1:]
                return f"a rule less in {group}"
            case "members":
                name = rnd.choice(REMOTE[:2])
                self.members[name] = self.some_members()
                return f"other members of {name}"
            case "groups":
                self.join()
                return "the port is in other groups"
            case _:
                self.addresses()
                return "the port has other addresses"

    # packets

    def packet(self, earlier: list[Packet]) -> Packet:
        rnd = self.rnd
        if earlier and rnd.random() < 0.35:
            chosen = rnd.choice(earlier)
            if not {chosen.source, chosen.target} & {"0.0.0.0", "::", "255.255.255.255", "ff02::1"}:
                return self.decided(self.answer(chosen))
        rule = self.aim()
        family = int(rule["ethertype"][-1]) if rule else rnd.choice([4, 6])
        way = rule["direction"] if rule else rnd.choice(["ingress", "egress"])
        own = rnd.choice(self.port["fixed_ips"] or [OWN[family][0]])
        if rnd.random() < 0.35 or (":" in own) != (family == 6):
            own = rnd.choice(SPEAKS[family])
        remote = rnd.choice(REMOTES[family])
        mac = rnd.choice([MAC] * 8 + [SECOND, FOREIGN]) if way == "egress" else FOREIGN
        if own in ("0.0.0.0", "::") and way == "ingress":
            own = OWN[family][0]
        if rnd.random() < 0.1:
            return self.infrastructure(way, mac, own, remote)
        if own in ("0.0.0.0", "::"):
            remote = rnd.choice(["255.255.255.255", remote]) if family == 4 else rnd.choice(["ff02::1", remote])
        source, target = (own, remote) if way == "egress" else (remote, own)
        proto = self.protocol(family, rule.get("protocol"))
        made = Packet(way, mac, source, target, proto, ident=rnd.randrange(300, 60000))
        if proto in (TCP, UDP, SCTP):
            made = replace(made, sport=rnd.choice(PORTS), dport=self.near(rule), syn=rnd.random() < 0.8)
        elif made.is_icmp:
            kinds = [*REQUESTS[family], *REQUESTS[family], 3 if family == 4 else 1, 1, 200]
            kinds.append(min(255, rule.get("port_range_min") or 0))
            made = replace(made, kind=rnd.choice(kinds), code=rnd.choice([0, 0, 0, 1, 4]))
            if made.kind in REQUESTS[family]:
                made = replace(made, code=0)
        server = proto == UDP and made.dport in (67, 68, 546, 547)
        if rnd.random() < 0.08 and own not in ("0.0.0.0", "::") and not server and made.kind in (-1, *REQUESTS[family]):
            made = replace(made, pieces=True)
        elif rnd.random() < 0.05 and family == 4 and not server:
            made = replace(made, options=True)
        return self.decided(made)

    def decided(self, packet: Packet) -> Packet:
        """The packet; or, to an address that is not the port's, one that begins no connection.

        It passes as all do, for a group's rules do not look at the port's side; but nobody would answer, and what
        becomes of such a state does not matter.
        """
        if packet.way == "egress" or self.is_own(packet.target):
            return packet
        proto, kind = (ICMP, 3) if packet.family == 4 else (ICMP6, 1)
        return Packet(packet.way, packet.mac, packet.source, packet.target, proto, kind=kind)

    def is_own(self, address: str) -> bool:
        """Whether the port may speak as this address."""
        allowed = Model(self.port, {}, {}).allowed().values()
        return any(inside(address, networks) for networks in allowed)

    def aim(self) -> dict[str, Any]:
        """A rule that the packet is to be near, mostly one of the port's; or none."""
        near = self.port["security_groups"] if self.rnd.random() < 0.9 else GROUPS
        rules = [rule for group in near for rule in self.groups[group]]
        return self.rnd.choice(rules) if rules and self.rnd.random() < 0.7 else {}

    def protocol(self, family: int, wanted: str | None) -> int:
        named = {rule.get("protocol") for rules in self.groups.values() for rule in rules}
        if wanted not in (None, "any", "0", "ip") and self.rnd.random() < 0.9:
            named = {wanted}
        numbers = [NUMBERS.get(name) or int(name) for name in named if name and (name in NUMBERS or name.isdigit())]
        common = [] if named == {wanted} and numbers else [TCP, TCP, UDP, UDP, ICMP, SCTP, 47]
        chosen = self.rnd.choice([*common, *sorted(numbers)])
        if chosen in (ICMP, ICMP6):
            return ICMP if family == 4 else ICMP6
        return TCP if chosen == 0 or (family == 6 and chosen in NOT_SIX) else chosen

    def near(self, rule: dict[str, Any]) -> int:
        """A port, mostly at the edge of those that the rule names."""
        if not rule.get("port_range_max") or self.rnd.random() < 0.1:
            return self.rnd.choice(PORTS)
        edge = int(self.rnd.choice([rule["port_range_min"], rule["port_range_max"]])) + self.rnd.choice([-1, 0, 0, 1])
        return min(65535, max(1, edge))

    def infrastructure(self, way: str, mac: str, own: str, remote: str) -> Packet:
        """DHCP, neighbours, routers, listeners: honest and not."""
        rnd, six = self.rnd, ":" in own
        source, target = (own, remote) if way == "egress" else (remote, own)
        if own in ("0.0.0.0", "::") or rnd.random() < 0.3:
            target = rnd.choice(["ff02::1", "ff02::1:ff00:5"]) if six else "255.255.255.255"
        if not six or rnd.random() < 0.3:
            server, client = (547, 546) if six else (67, 68)
            ports = rnd.choice([(client, server), (client, server), (server, client), (1000, client), (client, 1000)])
            made = Packet(way, mac, source, target, UDP, *ports)
            return made if ports == (67, 68) and target == "255.255.255.255" else self.decided(made)
        kind = rnd.choice([130, 131, 132, 133, 134, 135, 136, 136, 143])
        whom = rnd.choice(SPEAKS[6]) if kind in (135, 136) else ""
        return Packet(way, mac, source, target, ICMP6, kind=kind, neighbour=whom)

    def answer(self, packet: Packet) -> Packet:
        """What comes back, an error about it, or more of the same."""
        rnd = self.rnd
        back = "ingress" if packet.way == "egress" else "egress"
        if rnd.random() < 0.2:
            return replace(packet, syn=False, pieces=False)
        mac = MAC if back == "egress" else FOREIGN
        if rnd.random() < 0.2:
            about = replace(packet, pieces=False, options=False)
            proto = ICMP if packet.family == 4 else ICMP6
            kind, code = ((3, 3) if packet.family == 4 else (1, 4)) if rnd.random() < 0.7 else (11, 0)
            if packet.family == 6 and kind == 11:
                kind = 3
            return Packet(back, mac, packet.target, packet.source, proto, kind=kind, code=code, about=about)
        made = replace(
            packet, way=back, mac=mac, source=packet.target, target=packet.source, sport=packet.dport,
            dport=packet.sport, syn=rnd.random() < 0.2, pieces=False, options=False,
        )  # fmt: skip
        if packet.is_icmp:
            replies = {request: reply for reply, request in REPLIES[packet.family].items()}
            made = replace(made, kind=replies.get(packet.kind, packet.kind))
        elif rnd.random() < 0.15 and packet.proto in (TCP, UDP, SCTP):
            made = replace(made, sport=rnd.choice(PORTS))
        return made
