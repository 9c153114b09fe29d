"""Single lines of ifconfig(8): vlan(4), vxlan(4), the outer addresses of a tunnel, and sets of VLANs.

The forms are those of shared/freebsd/15.1 (02, 07) and, for tunnels and IPv6, of ifconfig's own source
(ifvxlan.c, af_inet6.c). Every reader raises ValueError for what it does not know; ``ifnet_read`` names the command.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_VLAN = 4094
MAX_VNI = (1 << 24) - 1
_VLAN = re.compile(r"\tvlan: (\d{1,5}) vlanproto: (\S+) vlanpcp: \d+ parent interface: (\S+)")
_VXLAN = re.compile(r"\tvxlan vni (\d{1,9}) local (\S+):(\d{1,5}) (group|remote) (\S+):(\d{1,5})")
_TUNNEL = re.compile(r"\ttunnel inet6? (\S+) --> (\S+)")


@dataclass(frozen=True)
class Vlan:
    """A vlan(4) child: its tag and parent, which is None when the parent is gone."""

    tag: int
    parent: str | None


@dataclass(frozen=True)
class Vxlan:
    """A vxlan(4) tunnel. ``remote`` is where unknown and broadcast frames go: a host, or a multicast group."""

    vni: int
    local: str
    local_port: int
    remote: str
    remote_port: int

    @property
    def multicast(self) -> bool:
        """Whether unknown frames go to a multicast group."""
        return ipaddress.ip_address(self.remote).is_multicast


@dataclass(frozen=True)
class Tunnel:
    """The outer addresses of a gif(4)."""

    local: str
    remote: str


def check_vlan(tag: int) -> int:
    """The tag itself when it can be one (1 to 4094), else ValueError (02: the kernel's "Invalid argument")."""
    if not 1 <= tag <= MAX_VLAN:
        raise ValueError(f"VLAN {tag} is not between 1 and {MAX_VLAN}")
    return tag


def read_vlan(line: str) -> Vlan:
    """`vlan: 100 vlanproto: 802.1q vlanpcp: 0 parent interface: epair0b`; a detached child has tag 0 and `<none>`.

    Raises ValueError.
    """
    match = _VLAN.fullmatch(line)
    if match is None or match[2] != "802.1q":
        raise ValueError("not a vlan line")
    if match[3] == "<none>":
        return Vlan(int(match[1]), None)
    return Vlan(check_vlan(int(match[1])), match[3])


def _address(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return str(ipaddress.ip_address(bare))


def _port(text: str) -> int:
    port = int(text)
    if port > 65535:
        raise ValueError(f"port {port}")
    return port


def read_vxlan(line: str) -> Vxlan:
    """`vxlan vni 100 local 192.168.50.1:4789 group 239.1.1.1:4789`, IPv6 addresses in square brackets.

    Raises ValueError.
    """
    match = _VXLAN.fullmatch(line)
    if match is None or int(match[1]) > MAX_VNI:
        raise ValueError("not a vxlan line")
    found = Vxlan(int(match[1]), _address(match[2]), _port(match[3]), _address(match[5]), _port(match[6]))
    if found.multicast != (match[4] == "group"):
        raise ValueError(f"{match[4]} {found.remote}")
    return found


def read_tunnel(line: str) -> Tunnel:
    """`tunnel inet 192.168.50.1 --> 192.168.50.2`. Raises ValueError."""
    match = _TUNNEL.fullmatch(line)
    if match is None:
        raise ValueError("not a tunnel line")
    return Tunnel(_address(match[1].partition("%")[0]), _address(match[2].partition("%")[0]))


def read_vlan_set(text: str) -> frozenset[int]:
    """`10,20-22` as numbers. Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part)
        if match is None:
            raise ValueError(f"{part!r} is no VLAN")
        low, high = check_vlan(int(match[1])), check_vlan(int(match[2] or match[1]))
        if low > high:
            raise ValueError(f"{part!r} runs backwards")
        found.update(range(low, high + 1))
    return frozenset(found)


def show_vlan_set(vlans: Iterable[int]) -> str:
    """Numbers as ifconfig takes and shows them: `10,20-22`; "" for none."""
    parts: list[list[int]] = []
    for tag in sorted({check_vlan(tag) for tag in vlans}):
        if parts and tag == parts[-1][1] + 1:
            parts[-1][1] = tag
        else:
            parts.append([tag, tag])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)
