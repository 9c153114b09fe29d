"""Owns how ifconfig(8) prints an interface. Pure: the model and a clock in, text out."""

import ipaddress
from dataclasses import dataclass

from beastack.sim.net import bridge as bridges
from beastack.sim.net.interface import TRAITS, Inet, Inet6, Interface, Kind, mac_text
from beastack.sim.net.vxlan import Address, Vxlan

_FLAGS = {
    0x1: "UP",
    0x2: "BROADCAST",
    0x8: "LOOPBACK",
    0x10: "POINTOPOINT",
    0x40: "RUNNING",
    0x80: "NOARP",
    0x100: "PROMISC",
    0x200: "ALLMULTI",
    0x800: "SIMPLEX",
    0x8000: "MULTICAST",
    0x20000: "PPROMISC",
    0x40000: "MONITOR",
    0x1000000: "LOWER_UP",
}
_OPTIONS = {
    0x1: "RXCSUM",
    0x2: "TXCSUM",
    0x8: "VLAN_MTU",
    0x10: "VLAN_HWTAGGING",
    0x20: "JUMBO_MTU",
    0x80: "VLAN_HWCSUM",
    0x80000: "LINKSTATE",
    0x200000: "RXCSUM_IPV6",
    0x400000: "TXCSUM_IPV6",
    0x4000000: "MEXTPG",
}
_ND6 = {0x1: "PERFORMNUD", 0x2: "ACCEPT_RTADV", 0x8: "IFDISABLED", 0x20: "AUTO_LINKLOCAL", 0x100: "NO_DAD"}
# if_bridge names its flags in this order, which is not that of the bits
_MEMBER = {
    bridges.LEARNING: "LEARNING",
    bridges.DISCOVER: "DISCOVER",
    bridges.STP: "STP",
    bridges.STICKY: "STICKY",
    bridges.PRIVATE: "PRIVATE",
    bridges.EDGE: "EDGE",
    bridges.AUTOEDGE: "AUTOEDGE",
    bridges.PTP: "PTP",
    bridges.AUTOPTP: "AUTOPTP",
}
_ENTRY = {bridges.STATIC: "STATIC", bridges.STICKY_ENTRY: "STICKY"}


@dataclass(frozen=True)
class Format:
    """`-f`: how addresses are written."""

    inet: str = "hex"
    inet6: str = "numeric"


def _names(value: int, table: dict[int, str]) -> str:
    return ",".join(name for bit, name in table.items() if value & bit)


def _bits(value: int, table: dict[int, str]) -> str:
    return f"{value:x}<{_names(value, table)}>"


def show(interface: Interface, now: float, family: str | None = None, form: Format | None = None) -> str:
    """The whole block of one interface; `family` (inet, inet6, ether) leaves out the others' lines."""
    form = form or Format()
    lines = [
        f"{interface.name}: flags={_bits(interface.flags, _FLAGS)} metric 0 mtu {interface.mtu}",
    ]
    if interface.description:
        lines.append(f"\tdescription: {interface.description}")
    lines.append(f"\toptions={_bits(interface.options, _OPTIONS) if interface.options else '0'}")
    if interface.mac is not None and family in (None, "ether", "link"):
        lines.append(f"\tether {mac_text(interface.mac)}")
        if interface.hardware_mac not in (None, interface.mac):
            lines.append(f"\thwaddr {mac_text(interface.hardware_mac or b'')}")
    if family in (None, "inet"):
        lines += [_inet(own, interface, form) for own in interface.inet]
    if family in (None, "inet6"):
        lines += [_inet6(own, interface, now) for own in interface.inet6]
    if interface.bridge is not None:
        lines += _bridge(interface.bridge)
    groups = [group for group in interface.groups if group != "all"]
    if groups:
        lines.append(f"\tgroups: {' '.join(groups)}")
    if interface.vxlan is not None and interface.vxlan.vni >= 0:
        lines.append(_vxlan(interface.vxlan))
    if interface.vlan is not None:
        vlan = interface.vlan
        parent = vlan.parent.name if vlan.parent is not None else "<none>"
        lines.append(f"\tvlan: {vlan.tag} vlanproto: {vlan.protocol} vlanpcp: {vlan.pcp} parent interface: {parent}")
    if "tunnel" in interface.extra:
        local, remote = interface.extra["tunnel"]
        lines.append(f"\ttunnel inet{'6' if local.version == 6 else ''} {local} --> {remote}")
    if interface.media is not None:
        lines.append(f"\tmedia: {interface.media}")
        lines.append(f"\tstatus: {'active' if interface.link_up else 'no carrier'}")
    if family in (None, "inet6"):
        lines.append(f"\tnd6 options={_bits(interface.nd6, _ND6)}")
    if interface.holder is not None:
        lines.append(f"\tOpened by PID {interface.holder.pid}")
    return "\n".join(lines) + "\n"


def _inet(own: Inet, interface: Interface, form: Format) -> str:
    mask = ipaddress.IPv4Network((0, own.prefix)).netmask
    match form.inet:
        case "cidr":
            text = f"\tinet {own.address}/{own.prefix}"
        case "dotted":
            text = f"\tinet {own.address} netmask {mask}"
        case _:
            text = f"\tinet {own.address} netmask 0x{int(mask):08x}"
    if own.broadcast is not None and interface.kind is not Kind.LOOPBACK:
        text += f" broadcast {own.broadcast}"
    return text


def _inet6(own: Inet6, interface: Interface, now: float) -> str:
    scope = f"%{interface.name}" if own.address.is_link_local else ""
    text = f"\tinet6 {own.address}{scope} prefixlen {own.prefix}"
    if own.tentative_until > now:
        text += " tentative"
    if own.address.is_link_local:
        text += f" scopeid 0x{interface.index:x}"
    return text


def _vxlan(vxlan: Vxlan) -> str:
    def end(address: Address | None, port: int) -> str:
        shown = address or ipaddress.IPv4Address(0)
        return f"[{shown}]:{port}" if shown.version == 6 else f"{shown}:{port}"

    kind = "group" if vxlan.remote is not None and vxlan.remote.is_multicast else "remote"
    local, remote = end(vxlan.local, vxlan.local_port), end(vxlan.remote, vxlan.remote_port)
    return f"\tvxlan vni {vxlan.vni} local {local} {kind} {remote}"


def _bridge(bridge: bridges.Bridge) -> list[str]:
    # the spanning tree's view of the root starts with the bridge's first time up
    root = 32768 if bridge.was_up else 0
    lines = [
        "\tid 00:00:00:00:00:00 priority 32768 hellotime 2 fwddelay 15",
        f"\tmaxage 20 holdcnt 6 proto rstp maxaddr {bridge.max_addresses} timeout {bridge.timeout}",
        f"\troot id 00:00:00:00:00:00 priority {root} ifcost 0 port 0",
        f"\tbridge flags={'1<VLANFILTER>' if bridge.filters_vlans else '0<>'}",
    ]
    for member in bridge.members:
        limit = f"ifmaxaddr {member.limit} " if member.limit else ""
        cost = TRAITS[member.interface.kind].path_cost
        lines.append(f"\tmember: {member.interface.name} flags={_bits(member.flags, _MEMBER)}")
        lines.append(
            f"\t        {limit}port {member.interface.index} priority 128 path cost {cost} vlan protocol 802.1q"
            + (f" untagged {member.untagged}" if member.untagged else "")
            + (f" tagged {tag_list(member.tagged)}" if member.tagged else "")
        )
    return lines


def tag_list(tags: frozenset[int]) -> str:
    """`10,20-22`."""
    parts: list[list[int]] = []
    for tag in sorted(tags):
        if parts and parts[-1][-1] == tag - 1:
            parts[-1][1:] = [tag]
        else:
            parts.append([tag])
    return ",".join("-".join(map(str, part)) for part in parts)


def addresses(bridge: bridges.Bridge, now: float) -> str:
    """`ifconfig BRIDGE addr`: the forwarding table."""
    bridge.expire(now)
    lines = []
    # the newest entry stands first in the kernel's list (07)
    for entry in reversed(bridge.table.values()):
        left = int(entry.expires - now) if entry.expires else 0
        where = f"Vlan{entry.vlan} {entry.member.interface.name}"
        lines.append(f"{mac_text(entry.mac)} {where} {left} flags={_bits(entry.flags, _ENTRY)}")
    return "".join(f"{line}\n" for line in lines)
