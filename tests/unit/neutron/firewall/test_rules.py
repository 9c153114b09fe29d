"""Security groups as pf rules: golden texts, and what really passes through the simulation's pf."""

import ipaddress
import struct
from typing import Any

import pytest
from tests.unit.freebsd.simulated import SimulatedHost

from beastack.freebsd import pf, pf_host
from beastack.freebsd.pf_rules import render
from beastack.neutron.firewall.port import Plan, pairs, plan
from beastack.neutron.firewall.translate import Unsupported, table, translate

TAP = "tap12345678-90"
SG = "11111111-2222-3333-4444-555555555555"
MAC, PEER = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
LLA = "fe80::f816:3eff:fe00:1"


def sg_rule(**values: Any) -> dict[str, Any]:
    return {"security_group_id": SG, "direction": "ingress", "ethertype": "IPv4", "stateful": True, **values}


def port(**values: Any) -> dict[str, Any]:
    return {
        "device": TAP, "mac_address": MAC, "fixed_ips": ["10.0.0.5"], "allowed_address_pairs": [],
        "security_groups": [SG], "security_group_rules": provider("10.0.0.5"), "port_security_enabled": True, **values,
    }  # fmt: skip


def provider(*addresses: str) -> list[dict[str, Any]]:
    """As neutron's server adds them (securitygroups_rpc_base, _apply_provider_rule)."""
    found: list[dict[str, Any]] = []
    if any(":" in a for a in addresses):
        found.append(
            {"direction": "ingress", "ethertype": "IPv6", "protocol": "ipv6-icmp", "source_port_range_min": 134}
        )
    for family, low, high, last in ((4, 67, 68, "255.255.255.255/32"), (6, 547, 546, "fe80::/64")):
        mine = [f"{a}/{32 if family == 4 else 128}" for a in addresses if (":" in a) == (family == 6)]
        found += [
            {"direction": "ingress", "ethertype": f"IPv{family}", "protocol": "udp", "port_range_min": high,
             "port_range_max": high, "source_port_range_min": low, "source_port_range_max": low, "dest_ip_prefix": d}
            for d in [*mine, last]
        ]  # fmt: skip
    return found


EGRESS = [sg_rule(direction="egress"), sg_rule(direction="egress", ethertype="IPv6")]
DEFAULT = [*EGRESS, sg_rule(remote_group_id=SG), sg_rule(remote_group_id=SG, ethertype="IPv6")]


def text(rule: dict[str, Any]) -> str:
    """A rule's text without its label and interface."""
    return render(translate(rule, TAP), "X").partition(" label")[0].removesuffix(" allow-opts")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (sg_rule(), "pass out quick on X inet all flags S/SA keep state (if-bound)"),
        (
            sg_rule(direction="egress", ethertype="IPv6"),
            "pass in quick on X inet6 all flags S/SA keep state (if-bound)",
        ),
        (
            sg_rule(protocol="tcp", port_range_min=22, port_range_max=22, source_ip_prefix="0.0.0.0/0"),
            "pass out quick on X inet proto 6 from any to any port 22:22 flags S/SA keep state (if-bound)",
        ),
        (
            sg_rule(protocol="udp", port_range_min=1000, port_range_max=2000, source_ip_prefix="192.0.2.0/24"),
            "pass out quick on X inet proto 17 from 192.0.2.0/24 to any port 1000:2000 keep state (if-bound)",
        ),
        (
            sg_rule(direction="egress", protocol="132", port_range_min=5, dest_ip_prefix="192.0.2.7/32"),
            "pass in quick on X inet proto 132 from any to 192.0.2.7 port 5:5 keep state (if-bound)",
        ),
        (
            sg_rule(protocol="tcp", stateful=False, port_range_min=80, port_range_max=80),
            "pass out quick on X inet proto 6 from any to any port 80:80 flags any no state",
        ),
        (sg_rule(protocol="icmp"), "pass out quick on X inet proto 1 all keep state (if-bound)"),
        (
            sg_rule(protocol="icmp", port_range_min=8, port_range_max=0),
            "pass out quick on X inet proto 1 all icmp-type 8 code 0 keep state (if-bound)",
        ),
        (
            sg_rule(protocol="icmp", port_range_min=0),
            "pass out quick on X inet proto 1 all icmp-type 0 keep state (if-bound)",
        ),
        (
            sg_rule(protocol="ipv6-icmp", ethertype="IPv6", port_range_min=128, source_ip_prefix="2001:db8::/32"),
            "pass out quick on X inet6 proto 58 from 2001:db8::/32 to any icmp6-type 128 keep state (if-bound)",
        ),
        (sg_rule(protocol="icmp", ethertype="IPv6"), "pass out quick on X inet6 proto 58 all keep state (if-bound)"),
        (sg_rule(protocol="0"), "pass out quick on X inet all flags S/SA keep state (if-bound)"),
        (sg_rule(protocol="ip"), "pass out quick on X inet all flags S/SA keep state (if-bound)"),
        (sg_rule(protocol="vrrp"), "pass out quick on X inet proto 112 all keep state (if-bound)"),
        (sg_rule(protocol="47"), "pass out quick on X inet proto 47 all keep state (if-bound)"),
        (
            sg_rule(remote_group_id="g"),
            f"pass out quick on X inet from <{table(4, 'g')}> to any flags S/SA keep state (if-bound)",
        ),
        (
            sg_rule(direction="egress", remote_address_group_id="g", ethertype="IPv6", protocol="tcp"),
            f"pass in quick on X inet6 proto 6 from any to <{table(6, 'g')}> flags S/SA keep state (if-bound)",
        ),
    ],
)
def test_golden(rule: dict[str, Any], expected: str) -> None:
    assert text(rule) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": "foo"},
        {"protocol": "256"},
        {"protocol": "-1"},
        {"protocol": "gre", "port_range_min": 1, "port_range_max": 2},
        {"protocol": "udplite", "port_range_min": 1, "port_range_max": 2},
        {"port_range_min": 1, "port_range_max": 2},
        {"protocol": "tcp", "port_range_max": 2},
        {"protocol": "tcp", "port_range_min": 9, "port_range_max": 2},
        {"protocol": "tcp", "port_range_min": 9, "port_range_max": 70000},
        {"protocol": "tcp", "port_range_min": "x", "port_range_max": 7},
        {"protocol": "icmp", "port_range_min": 300},
        {"protocol": "icmp", "port_range_max": 3},
        {"protocol": "ipv6-icmp"},
        {"ethertype": "IPv5"},
        {"ethertype": None},
        {"direction": "both"},
        {"source_ip_prefix": "2001:db8::/32"},
        {"source_ip_prefix": "not an address"},
        {"source_ip_prefix": "10.0.0.1 to any"},
        {"remote_group_id": "g", "remote_address_group_id": "h"},
        {"remote_group_id": "g", "source_ip_prefix": "10.0.0.0/8"},
        {"new_attribute": "narrower"},
    ],
)
def test_what_is_not_understood_allows_nothing(change: dict[str, Any]) -> None:
    rule = sg_rule(**change)
    with pytest.raises(Unsupported):
        translate(rule, TAP)
    made = plan(port(), {SG: [rule]})
    assert made.reports
    assert made.rules == plan(port(), {SG: []}).rules


def test_labels_say_group_and_rule() -> None:
    one, two = sg_rule(protocol="tcp"), sg_rule(protocol="udp")
    name = translate(one, TAP).label
    assert name.startswith(f"{TAP}/{SG}/")
    assert len(name) <= 63
    assert name == translate(dict(reversed(list(one.items()))), TAP).label != translate(two, TAP).label
    # in other words
    assert name == translate({**one, "protocol": "6", "source_ip_prefix": "0.0.0.0/0"}, TAP).label


def test_tables_fit_pf() -> None:
    assert len(table(6, SG)) <= 31
    assert table(6, SG) != table(4, SG) != table(4, "x")


def test_an_unknown_group_is_reported() -> None:
    assert "its rules are unknown" in plan(port(), {}).reports[0]


def test_pairs_of_both_forms() -> None:
    details = {"mac_address": MAC, "fixed_ips": [{"ip_address": "10.0.0.5", "subnet_id": "s"}]}
    assert pairs(details) == pairs(port()) == [(MAC, "10.0.0.5")]
    assert pairs({"mac_address": MAC}) == [(MAC, "")]
    extra = port(allowed_address_pairs=[{"mac_address": PEER, "ip_address": "10.1.0.0/16"}])
    assert pairs(extra)[1] == (PEER, "10.1.0.0/16")


# what passes


def checksum_free_ip(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    s, t = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if s.version == 4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
        ethertype = b"\x08\x00"
    else:
        head = b"\x60\0\0\0" + struct.pack("!HBB", len(payload), protocol, 255)
        ethertype = b"\x86\xdd"
    return bytes(6) + bytes(6) + ethertype + head + s.packed + t.packed + payload


def tcp(source: str, target: str, port_: int, flags: int = 2, from_: int = 40000) -> bytes:
    return checksum_free_ip(source, target, 6, struct.pack("!HHIIBBHHH", from_, port_, 1, 0, 0x50, flags, 1000, 0, 0))


def udp(source: str, target: str, from_: int, to: int) -> bytes:
    return checksum_free_ip(source, target, 17, struct.pack("!HHHH", from_, to, 8, 0))


def icmp6(source: str, target: str, kind: int) -> bytes:
    return checksum_free_ip(source, target, 58, bytes([kind, 0, 0, 0]) + bytes(20))


class Wall:
    """A port's rules in a simulated pf."""

    def __init__(self, made: Plan, members: dict[str, list[str]] | None = None) -> None:
        self.host = SimulatedHost()
        pf_host.prepare(self.host)
        for name, values in {**made.tables, **(members or {})}.items():
            pf.replace_table(self.host, name, values)
        pf.load_rules(self.host, TAP, made.rules)
        self.now = 0.0

    def sends(self, frame: bytes) -> bool:
        self.now += 0.01
        return bool(self.host.pf.filter(TAP, "in", frame, self.now))

    def receives(self, frame: bytes) -> bool:
        self.now += 0.01
        return bool(self.host.pf.filter(TAP, "out", frame, self.now))


def test_the_default_group() -> None:
    made = plan(port(), {SG: DEFAULT})
    assert made.groups == {SG}
    wall = Wall(made, {table(4, SG): ["10.0.0.5", "10.0.0.6"], table(6, SG): []})
    assert wall.sends(tcp("10.0.0.5", "192.0.2.1", 80))
    assert wall.receives(tcp("192.0.2.1", "10.0.0.5", 40000, flags=0x12, from_=80))
    assert not wall.receives(tcp("192.0.2.2", "10.0.0.5", 22))
    assert wall.receives(tcp("10.0.0.6", "10.0.0.5", 22))
    assert not wall.sends(tcp("10.0.0.7", "192.0.2.1", 80))
    # DHCP, both ways; and never as a server
    assert wall.sends(udp("0.0.0.0", "255.255.255.255", 68, 67))
    assert wall.receives(udp("10.0.0.2", "255.255.255.255", 67, 68))
    assert wall.receives(udp("10.0.0.2", "10.0.0.5", 67, 68))
    assert not wall.receives(udp("10.0.0.2", "10.0.0.9", 67, 68))
    assert not wall.sends(udp("10.0.0.5", "255.255.255.255", 67, 68))
    assert not wall.sends(udp("0.0.0.0", "255.255.255.255", 5, 5))


def test_ipv6() -> None:
    fixed = ["2001:db8::5"]
    made = plan(port(fixed_ips=fixed, security_group_rules=provider(*fixed)), {SG: EGRESS})
    assert made.tables == {table(6, f"port:{TAP}"): {"2001:db8::5", LLA}}
    wall = Wall(made)
    for source in (*fixed, LLA):
        assert wall.sends(icmp6(source, "ff02::2", 133))
        assert wall.sends(icmp6(source, "ff02::1:ff00:1", 135))
        assert wall.sends(icmp6(source, "ff02::1", 136))
        assert not wall.sends(icmp6(source, "ff02::1", 134))
        assert wall.sends(udp(source, "ff02::1:2", 546, 547))
        assert not wall.sends(udp(source, "fe80::1", 547, 546))
    assert wall.sends(icmp6("::", "ff02::1:ff00:1", 135))
    assert not wall.sends(icmp6("::", "ff02::1", 136))
    assert not wall.sends(icmp6("2001:db8::6", "ff02::1", 136))
    for kind in (134, 135, 136):
        assert wall.receives(icmp6("fe80::1", "ff02::1", kind))
    assert not wall.receives(icmp6("fe80::1", fixed[0], 128))
    assert wall.receives(udp("fe80::1", LLA, 547, 546))
    assert wall.sends(tcp(fixed[0], "2001:db8::9", 80))
    assert not wall.sends(tcp("2001:db8::6", "2001:db8::9", 80))
    # no IPv4 address: none but DHCP's question
    assert not wall.sends(tcp("10.0.0.5", "192.0.2.1", 80))


def test_no_group_means_nothing_but_the_base() -> None:
    wall = Wall(plan(port(security_groups=[]), {}))
    assert not wall.sends(tcp("10.0.0.5", "192.0.2.1", 80))
    assert not wall.receives(tcp("192.0.2.1", "10.0.0.5", 80))
    assert wall.sends(udp("10.0.0.5", "10.0.0.2", 68, 67))


def test_stateless_needs_both_directions() -> None:
    wall = Wall(plan(port(), {SG: [sg_rule(direction="egress", stateful=False)]}))
    assert wall.sends(tcp("10.0.0.5", "192.0.2.1", 80))
    assert not wall.receives(tcp("192.0.2.1", "10.0.0.5", 40000, flags=0x12, from_=80))


def test_address_pairs() -> None:
    wanted = [{"mac_address": MAC, "ip_address": "10.9.0.0/16"}, {"mac_address": MAC, "ip_address": "10.0.0.77"}]
    wall = Wall(plan(port(allowed_address_pairs=wanted), {SG: EGRESS}))
    for source in ("10.0.0.5", "10.0.0.77", "10.9.200.1"):
        assert wall.sends(tcp(source, "192.0.2.1", 80))
    assert not wall.sends(tcp("10.10.0.1", "192.0.2.1", 80))
    everything = [{"mac_address": MAC, "ip_address": "0.0.0.0/0"}]
    wall = Wall(plan(port(allowed_address_pairs=everything), {SG: EGRESS}))
    assert wall.sends(tcp("10.10.0.1", "192.0.2.1", 80))
    assert not wall.receives(tcp("192.0.2.1", "10.0.0.5", 22))


def test_without_port_security_everything_passes() -> None:
    made = plan(port(port_security_enabled=False), {})
    assert [render(r, "X") for r in made.rules] == [
        f'pass quick on X all flags any no state allow-opts label "{TAP}/open"'
    ]
    wall = Wall(made)
    assert wall.sends(icmp6("fe80::99", "ff02::1", 134))
    assert wall.receives(tcp("192.0.2.2", "10.0.0.5", 22))


def test_rules_in_another_order_are_the_same_rules() -> None:
    assert plan(port(), {SG: DEFAULT}).rules == plan(port(), {SG: DEFAULT[::-1]}).rules


def test_a_tap_without_an_anchor_passes_nothing() -> None:
    """The main ruleset's last line, by interface group; the simulation knows groups by the names of interfaces."""
    assert pf_host.CLOSE_LINE == "block drop quick on beastack all"
    assert pf_host.main_ruleset([]).splitlines()[-2:] == [pf_host.ANCHOR_LINE, pf_host.CLOSE_LINE]
