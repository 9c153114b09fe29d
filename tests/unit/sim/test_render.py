"""ifconfig's words, line by line as FreeBSD printed them."""

import ipaddress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from beastack.sim.net import bridge as bridges
from beastack.sim.net.bridge import Bridge
from beastack.sim.net.interface import ND6_IFDISABLED, TRAITS, Inet, Inet6, Interface, Kind, parse_mac
from beastack.sim.programs.ifconfig.render import Format, addresses, show

DATA = Path(__file__).parent.parent.parent / "data" / "freebsd-15.1"


def _block(case: str, command: str, number: int = 0) -> str:
    parts = (DATA / f"{case}.txt").read_text().split(f"$ {command}\n")[number + 1]
    return parts.split("\n$ ")[0] + "\n"


def _make(name: str, kind: Kind, mac: str | None, index: int = 3) -> Interface:
    vnet: Any = SimpleNamespace(jail=None, interfaces=[])
    raw = parse_mac(mac) if mac else None
    return Interface(
        name=name, kind=kind, unit=0, device=name, index=index, vnet=vnet, home=vnet, mac=raw, hardware_mac=raw,
        groups=list(TRAITS[kind].groups), nd6=TRAITS[kind].nd6,
    )  # fmt: skip


def test_new_epair() -> None:
    assert show(_make("epair0a", Kind.EPAIR, "58:9c:fc:10:2a:81"), 0) == _block("01-interfaces", "ifconfig epair0a")


def test_new_tap() -> None:
    shown = show(_make("tap0123456789a", Kind.TAP, "58:9c:fc:10:47:cc"), 0)
    assert shown == _block("01-interfaces", "ifconfig tap0123456789a")


def test_everything_on_one_epair() -> None:
    interface = _make("nsport1", Kind.EPAIR, "58:9c:fc:10:2a:81")
    interface.mac = parse_mac("fa:16:3e:11:22:33")
    interface.mtu, interface.administratively_up = 1450, True
    interface.description = "neutron:port:1234"
    interface.groups.append("bsdstack")
    interface.nd6 &= ~ND6_IFDISABLED
    for text in ("10.1.2.4/32", "10.1.2.3/24"):
        own = ipaddress.IPv4Interface(text)
        interface.inet.append(Inet(own.ip, own.network.prefixlen, own.network.broadcast_address))
    interface.inet6.append(Inet6(ipaddress.IPv6Address("2001:db8::5"), 64))
    interface.inet6.append(Inet6(interface.link_local(), 64, True, tentative_until=1))
    assert show(interface, 0) == _block("01-interfaces", "ifconfig nsport1", 1)
    assert "inet 10.1.2.3/24 broadcast" in show(interface, 0, None, Format("cidr"))
    assert "inet6" not in show(interface, 0, "inet")


def test_bridge_with_members() -> None:
    brq = _make("brq-test", Kind.BRIDGE, "58:9c:fc:10:71:2a")
    brq.bridge = bridge = Bridge(brq)
    assert show(brq, 0) == _block("02-bridge-vlan", "ifconfig brq-test")
    for name, kind, index in (("epair0a", Kind.EPAIR, 4), ("epair1a", Kind.EPAIR, 6), ("tapvm1", Kind.TAP, 8)):
        member = _make(name, kind, "58:9c:fc:10:00:01", index)
        bridge.add(member)
        member.member_of = bridge
    brq.administratively_up = bridge.was_up = True
    assert show(brq, 0) == _block("02-bridge-vlan", "ifconfig brq-test", 1)
    tap, epair1, epair0 = bridge.members
    tap.flags &= ~(bridges.LEARNING | bridges.DISCOVER)
    epair1.flags |= bridges.PRIVATE | bridges.STICKY
    epair0.limit = 1
    bridge.pin(epair0, bytes.fromhex("fa163e000001"))
    assert show(brq, 0) == _block("02-bridge-vlan", "ifconfig brq-test", 2)
    assert addresses(bridge, 0) == _block("02-bridge-vlan", "ifconfig brq-test addr")
    # a tap in the bridge cannot offload, so no member does
    assert "options=200019<RXCSUM,VLAN_MTU,VLAN_HWTAGGING,RXCSUM_IPV6>" in show(epair0.interface, 0)


def test_mac_addresses() -> None:
    assert parse_mac("fa:16:3e:0:0:1") == bytes.fromhex("fa163e000001")
    for bad in ("zz:16:3e:11:22:33", "fa:16:3e:11:22", "fa:16:3e:11:22:333", "", "fa-16-3e-11-22-33"):
        assert parse_mac(bad) is None, bad
