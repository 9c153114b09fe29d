"""Owns what a FreeBSD network interface is: its kind, flags, addresses and relations, without any I/O."""

import ipaddress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beastack.sim.engine.captures import Capture
    from beastack.sim.engine.stack import Stack
    from beastack.sim.engine.taps import Holder
    from beastack.sim.engine.vnet import Vnet
    from beastack.sim.net.bridge import Bridge
    from beastack.sim.net.vlan import Vlan
    from beastack.sim.net.vxlan import Vxlan

UP, BROADCAST, LOOPBACK, POINTOPOINT, RUNNING = 0x1, 0x2, 0x8, 0x10, 0x40
NOARP, PROMISC, ALLMULTI, SIMPLEX, MULTICAST = 0x80, 0x100, 0x200, 0x800, 0x8000
PPROMISC, MONITOR, LOWER_UP = 0x20000, 0x40000, 0x1000000

ND6_PERFORMNUD, ND6_IFDISABLED, ND6_AUTO_LINKLOCAL, ND6_NO_DAD = 0x1, 0x8, 0x20, 0x100

TXCSUM, TXCSUM_IPV6 = 0x2, 0x400000


class Kind(Enum):
    """The drivers that are simulated; the value is the name that `ifconfig … create` takes."""

    LOOPBACK = "lo"
    VTNET = "vtnet"
    EM = "em"
    EPAIR = "epair"
    TAP = "tap"
    BRIDGE = "bridge"
    VXLAN = "vxlan"
    VLAN = "vlan"
    GIF = "gif"
    GRE = "gre"


@dataclass(frozen=True)
class Traits:
    """What every interface of one kind shows."""

    options: int
    media: str | None
    groups: tuple[str, ...]
    path_cost: int = 2000
    nd6: int = ND6_PERFORMNUD | ND6_IFDISABLED | ND6_AUTO_LINKLOCAL


TRAITS = {
    Kind.LOOPBACK: Traits(0x680003, None, ("lo",), nd6=ND6_PERFORMNUD | ND6_AUTO_LINKLOCAL),
    Kind.VTNET: Traits(0x80028, "Ethernet autoselect (10Gbase-T <full-duplex>)", ()),
    Kind.EM: Traits(0x9B, "Ethernet autoselect (1000baseT <full-duplex>)", (), 20000),
    Kind.EPAIR: Traits(0x60001B, "Ethernet 10Gbase-T (10Gbase-T <full-duplex>)", ("epair",)),
    Kind.TAP: Traits(0x4080000, "Ethernet 1000baseT <full-duplex>", ("tap",), 2000000),
    Kind.BRIDGE: Traits(0x10, None, ("bridge",), nd6=ND6_PERFORMNUD | ND6_IFDISABLED),
    Kind.VXLAN: Traits(0x80020, "Ethernet autoselect (autoselect <full-duplex>)", ("vxlan",), 55),
    # a child's medium is its parent's
    Kind.VLAN: Traits(0, None, ("vlan",)),
    Kind.GIF: Traits(0x80000, None, ("gif",), 55),
    Kind.GRE: Traits(0x80000, None, ("gre",), 55),
}
POINT_TO_POINT = (Kind.GIF, Kind.GRE)
# Those that are not for 1500 bytes
MTUS = {Kind.LOOPBACK: 16384, Kind.VXLAN: 1450, Kind.GIF: 1280, Kind.GRE: 1476}


@dataclass(frozen=True)
class Inet:
    """One IPv4 address of an interface."""

    address: ipaddress.IPv4Address
    prefix: int
    broadcast: ipaddress.IPv4Address | None

    @property
    def network(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network((self.address, self.prefix), strict=False)


@dataclass(frozen=True)
class Inet6:
    """One IPv6 address of an interface; `tentative_until` is the end of duplicate address detection."""

    address: ipaddress.IPv6Address
    prefix: int
    automatic: bool = False
    tentative_until: float = 0.0

    @property
    def network(self) -> ipaddress.IPv6Network:
        return ipaddress.IPv6Network((self.address, self.prefix), strict=False)


@dataclass(eq=False)
class Interface:
    """One interface. `device` is the name its driver gave it; `name` is what it is called now."""

    name: str
    kind: Kind
    unit: int
    device: str
    index: int
    vnet: "Vnet"
    home: "Vnet"
    mac: bytes | None
    mtu: int = 1500
    administratively_up: bool = False
    description: str = ""
    groups: list[str] = field(default_factory=list)
    inet: list[Inet] = field(default_factory=list)
    inet6: list[Inet6] = field(default_factory=list)
    nd6: int = 0
    promiscuous: bool = False
    monitor: bool = False
    peer: "Interface | None" = None
    member_of: "Bridge | None" = None
    bridge: "Bridge | None" = None
    holder: "Holder | None" = None
    cable: int | None = None
    stack: "Stack | None" = None
    # a program reads it through BPF: `capture` is the device, made once `captured` has freed the name
    captured: bool = False
    capture: "Capture | None" = None
    # of its options, those that ifconfig turned off
    turned_off: int = 0
    vxlan: "Vxlan | None" = None
    vlan: "Vlan | None" = None
    children: "list[Interface]" = field(default_factory=list)
    hardware_mac: bytes | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def link_up(self) -> bool:
        """The carrier: a tap has one while a program holds it open, a bridge while it is up."""
        if self.kind is Kind.TAP:
            return self.holder is not None
        if self.kind in (Kind.BRIDGE, Kind.LOOPBACK):
            return self.administratively_up
        if self.vlan is not None:
            return self.vlan.parent is not None and self.vlan.parent.link_up
        return True

    @property
    def running(self) -> bool:
        """The driver runs; of a tunnel, its socket is open."""
        if self.vxlan is not None:
            return self.administratively_up and self.vxlan.running
        if self.kind in POINT_TO_POINT:
            return self.administratively_up and "tunnel" in self.extra
        if self.vlan is not None:
            return self.vlan.parent is not None
        return self.link_up

    @property
    def linux_name(self) -> str:
        """What its IP stack's device is called; its own name is the capture's, which programs look for."""
        return f"ip{self.index}" if self.captured else self.name

    @property
    def media(self) -> str | None:
        """What `media:` says; a vlan's is its parent's."""
        if self.vlan is not None:
            return self.vlan.parent.media if self.vlan.parent is not None else None
        return TRAITS[self.kind].media

    @property
    def up(self) -> bool:
        """Frames pass: administratively up, and its driver runs."""
        return self.administratively_up and self.running

    @property
    def flags(self) -> int:
        if self.kind is Kind.LOOPBACK:
            flags = LOOPBACK | MULTICAST
        elif self.kind in POINT_TO_POINT:
            flags = POINTOPOINT | MULTICAST
        else:
            flags = BROADCAST | SIMPLEX | MULTICAST
        if self.administratively_up:
            flags |= UP
        if self.running:
            flags |= RUNNING
        if self.link_up:
            flags |= LOWER_UP
        if self.member_of is not None or self.promiscuous:
            flags |= PROMISC
        if self.promiscuous:
            flags |= PPROMISC
        if self.monitor:
            flags |= MONITOR
        return flags

    @property
    def options(self) -> int:
        options = TRAITS[self.kind].options & ~self.turned_off
        if self.member_of is not None and any(
            not TRAITS[member.interface.kind].options & TXCSUM for member in self.member_of.members
        ):
            # a bridge turns off what one of its members cannot do
            options &= ~(TXCSUM | TXCSUM_IPV6)
            if self.kind is Kind.EPAIR:
                options = 0x200019 & ~self.turned_off
        return options

    @property
    def ipv6_enabled(self) -> bool:
        return not self.nd6 & ND6_IFDISABLED

    def addresses(self) -> "list[Inet | Inet6]":
        return [*self.inet, *self.inet6]

    def link_local(self) -> ipaddress.IPv6Address:
        mac = self.mac or bytes(6)
        return ipaddress.IPv6Address(
            b"\xfe\x80" + bytes(6) + bytes((mac[0] ^ 2, mac[1], mac[2], 0xFF, 0xFE, mac[3], mac[4], mac[5]))
        )


def mac_text(mac: bytes) -> str:
    return mac.hex(":")


def parse_mac(text: str) -> bytes | None:
    """Six colon-separated groups of one or two hexadecimal digits, or None."""
    parts = text.split(":")
    try:
        values = [int(part, 16) for part in parts if 0 < len(part) <= 2 and part.isalnum()]
    except ValueError:
        return None
    return bytes(values) if len(values) == len(parts) == 6 else None
