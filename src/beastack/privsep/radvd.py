"""radvd(8)'s configuration for a router, as neutron renders it (neutron/agent/linux/ra.py), from checked values.

One difference: no route to fe80::a9fe:a9fe, the metadata address of IPv6, is advertised. It is on the link and needs
none.
"""

from dataclasses import dataclass

from beastack.privsep import checks
from beastack.privsep.checks import Refused

MOST_PREFIXES = 256
MOST_SERVERS = 3
# RFC 8200: what an IPv6 link carries at least, bytes
LEAST_MTU = 1280
# RFC 4861, 6.2.1: seconds
LEAST_INTERVAL, MOST_INTERVAL = 3, 1800


@dataclass(frozen=True)
class Prefix:
    """A network on the link; ``autonomous``: hosts make themselves addresses in it (SLAAC)."""

    network: str
    autonomous: bool


@dataclass(frozen=True)
class Advert:
    """What is said on one interface. ``managed``: addresses come by DHCPv6; ``other``: the rest does; MTU in bytes."""

    interface: str
    mtu: int
    managed: bool
    other: bool
    dns_servers: tuple[str, ...]
    prefixes: tuple[Prefix, ...]

    @classmethod
    def check(cls, value: object, interface: str) -> "Advert":
        """From a dictionary of these names; raises Refused."""
        names = {"interface", "mtu", "managed", "other", "dns_servers", "prefixes"}
        if not isinstance(value, dict) or set(value) != names:
            raise Refused(f"advertisement: {', '.join(sorted(names))} are wanted")
        servers = checks.items(value["dns_servers"], MOST_SERVERS, "DNS servers")
        prefixes = checks.items(value["prefixes"], MOST_PREFIXES, "prefixes")
        return cls(
            interface,
            checks.mtu(value["mtu"]),
            checks.flag(value["managed"], "managed"),
            checks.flag(value["other"], "other"),
            tuple(_six(checks.ip(s)) for s in servers),
            tuple(_prefix(p) for p in prefixes),
        )

    def text(self, least: int, most: int) -> str:
        """The interface's part; unsolicited advertisements come every ``least`` to ``most`` seconds."""
        lines = ["AdvSendAdvert on;", f"MinRtrAdvInterval {least};", f"MaxRtrAdvInterval {most};"]
        if self.mtu >= LEAST_MTU:
            lines.append(f"AdvLinkMTU {self.mtu};")
        lines += ["AdvManagedFlag on;"] * self.managed + ["AdvOtherConfigFlag on;"] * self.other
        if self.dns_servers:
            lines.append(f"RDNSS {' '.join(self.dns_servers)} {{}};")
        for prefix in self.prefixes:
            autonomous = "on" if prefix.autonomous else "off"
            lines.append(f"prefix {prefix.network} {{ AdvOnLink on; AdvAutonomous {autonomous}; }};")
        return "".join([f"interface {self.interface} {{\n", *(f"    {line}\n" for line in lines), "};\n"])


def _six(address: str) -> str:
    if ":" not in address:
        raise Refused(f"{address} is no IPv6 address")
    return address


def _prefix(value: object) -> Prefix:
    if not isinstance(value, dict) or set(value) != {"network", "autonomous"}:
        raise Refused("prefix: network and autonomous are wanted")
    return Prefix(_six(checks.network(value["network"])), checks.flag(value["autonomous"], "autonomous"))


def intervals(least: object, most: object) -> tuple[int, int]:
    """Seconds between unsolicited advertisements; raises Refused for what RFC 4861 does not allow."""
    high = checks.number(most, 4, MOST_INTERVAL, "MaxRtrAdvInterval")
    return checks.number(least, LEAST_INTERVAL, max(LEAST_INTERVAL, high * 3 // 4), "MinRtrAdvInterval"), high


def config(adverts: list[Advert], least: int, most: int) -> str:
    """The file."""
    return "".join(a.text(least, most) for a in adverts)
