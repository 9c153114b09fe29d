"""Owns ifconfig(8)'s parameters that change one interface: state, names, marks, MTU, link-level address, vnet."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from beastack.sim.engine.state import State
from beastack.sim.engine.vnet import Vnet
from beastack.sim.net import vlan as vlans
from beastack.sim.net.errors import Failed
from beastack.sim.net.interface import (
    ND6_AUTO_LINKLOCAL,
    ND6_IFDISABLED,
    ND6_NO_DAD,
    TRAITS,
    TXCSUM,
    TXCSUM_IPV6,
    Interface,
    Kind,
    parse_mac,
)

NAME_LIMIT = 15
_MTU_LIMITS = {Kind.BRIDGE: (576, 9216), Kind.TAP: (1, 65535), Kind.EPAIR: (1, 65535)}


@dataclass
class Context:
    """One run of ifconfig on one interface; `printed` collects what goes to standard output."""

    state: State
    vnet: Vnet
    interface: Interface
    printed: list[str] = field(default_factory=list)


Handler = Callable[[Context, list[str]], None]

RXCSUM, RXCSUM_IPV6 = 0x1, 0x200000
_CAPABILITIES = {
    "rxcsum": RXCSUM,
    "txcsum": TXCSUM,
    "vlanhwtag": 0x10,
    "tso": 0x300,
    "lro": 0x400,
    "rxcsum6": RXCSUM_IPV6,
    "txcsum6": TXCSUM_IPV6,
}


def _flag_up(context: Context, _values: list[str]) -> None:
    context.interface.administratively_up = True


def _flag_down(context: Context, _values: list[str]) -> None:
    context.interface.administratively_up = False


def _flag_monitor(context: Context, _values: list[str]) -> None:
    context.interface.monitor = True


def _no_monitor(context: Context, _values: list[str]) -> None:
    context.interface.monitor = False


def _name(context: Context, values: list[str]) -> None:
    name = values[0]
    if name == context.interface.name:
        return
    if len(name) > NAME_LIMIT:
        raise Failed("ifconfig: ioctl SIOCSIFNAME (set name): File name too long")
    if not name or not re.fullmatch(r"[^\s/:%]+", name) or name in (".", ".."):
        raise Failed("ifconfig: ioctl SIOCSIFNAME (set name): Invalid argument")
    if context.vnet.find(name) is not None:
        raise Failed("ifconfig: ioctl SIOCSIFNAME (set name): File exists")
    context.state.rename(context.interface, name)
    context.interface.extra["renamed"] = True


def _description(context: Context, values: list[str]) -> None:
    context.interface.description = values[0]


def _no_description(context: Context, _values: list[str]) -> None:
    context.interface.description = ""


def _group(context: Context, values: list[str]) -> None:
    group = values[0]
    if not group or group[-1].isdigit():
        raise Failed("ifconfig: setifgroup: group names may not end in a digit")
    if len(group) > NAME_LIMIT:
        raise Failed("ifconfig: setifgroup: group name too long")
    if group not in context.interface.groups:
        context.interface.groups.append(group)


def _no_group(context: Context, values: list[str]) -> None:
    group = values[0]
    if group and group[-1].isdigit():
        raise Failed("ifconfig: unsetifgroup: group names may not end in a digit")
    if group not in context.interface.groups:
        raise Failed("ifconfig:  SIOCDIFGROUP: No such file or directory")
    context.interface.groups.remove(group)


def _mtu(context: Context, values: list[str]) -> None:
    interface = context.interface
    low, high = _MTU_LIMITS.get(interface.kind, (72, 65535))
    if not values[0].isdigit() or not low <= int(values[0]) <= high:
        raise Failed("ifconfig: ioctl SIOCSIFMTU (set mtu): Invalid argument")
    mtu = int(values[0])
    if interface.vlan is not None and interface.vlan.parent is not None and mtu > vlans.largest(interface.vlan.parent):
        raise Failed("ifconfig: ioctl SIOCSIFMTU (set mtu): Invalid argument")
    if interface.member_of is not None and mtu != interface.mtu:
        raise Failed("ifconfig: ioctl SIOCSIFMTU (set mtu): Operation not supported")
    interface.mtu = mtu
    context.state.follow(interface)
    if interface.bridge is not None:
        for member in interface.bridge.members:
            member.interface.mtu = mtu
            context.state.changed(member.interface)


def _ether(context: Context, values: list[str]) -> None:
    if values[0] == "random":
        raise Failed("ifconfig: not simulated: ether random")
    mac = parse_mac(values[0])
    if mac is None:
        raise Failed("ifconfig: malformed link-level address")
    if context.interface.mac is None:
        raise Failed("ifconfig: ioctl (SIOCSIFLLADDR): Invalid argument")
    if context.interface.kind is Kind.VTNET:
        raise Failed(f"ifconfig: not simulated: the address of {context.interface.name}, which the kernel owns")
    context.state.follow(context.interface, mac)
    context.interface.mac = mac
    # the automatic link-local address stays as it was made, as in FreeBSD


def _promisc(context: Context, _values: list[str]) -> None:
    context.interface.promiscuous = True


def _no_promisc(context: Context, _values: list[str]) -> None:
    context.interface.promiscuous = False


def _capability(name: str, on: bool) -> Handler:
    def change(context: Context, _values: list[str]) -> None:
        interface = context.interface
        bits = _CAPABILITIES[name]
        if not TRAITS[interface.kind].options & bits:
            return  # setifcap(): what the driver cannot do makes no difference, and nothing is asked of it
        if interface.kind not in (Kind.EPAIR, Kind.EM):
            raise Failed(f"ifconfig: not simulated: {'' if on else '-'}{name} of {interface.kind.value}")
        ends = [interface]
        if interface.peer is not None:
            # epair_ioctl(): what the sender may leave undone holds for both ends, and what comes in is always trusted
            bits &= ~(RXCSUM | RXCSUM_IPV6)
            ends.append(interface.peer)
        for one in ends:
            one.turned_off = one.turned_off & ~bits if on else one.turned_off | bits

    return change


def _metric(_context: Context, values: list[str]) -> None:
    if values[0] != "0":
        raise Failed("ifconfig: not simulated: metric other than 0")


def _to_jail(context: Context, values: list[str]) -> None:
    jail = context.state.find_jail(values[0])
    if jail is None:
        raise Failed(f'ifconfig: jail "{values[0]}" not found')
    name = context.interface.name
    if jail.vnet is None or context.interface.kind in (Kind.LOOPBACK, Kind.VTNET):
        raise Failed(f"ifconfig: SIOCSIFVNET ({jail.jid}, {name}): Operation not permitted")
    if jail.vnet.find(name) is not None:
        raise Failed(f"ifconfig: SIOCSIFVNET ({jail.jid}, {name}): File exists")
    context.state.move(context.interface, jail.vnet)


def _nd6(bit: int, on: bool) -> Handler:
    def change(context: Context, _values: list[str]) -> None:
        interface = context.interface
        interface.nd6 = interface.nd6 | bit if on else interface.nd6 & ~bit

    return change


def reclaim(state: State, vnet: Vnet, name: str, jail_name: str) -> None:
    """`ifconfig X -vnet JAIL`: X is looked for in the jail, not here."""
    jail = state.find_jail(jail_name)
    if jail is None:
        raise Failed(f'ifconfig: jail "{jail_name}" not found')
    interface = jail.vnet.find(name) if jail.vnet is not None else None
    if interface is None or interface.kind is Kind.LOOPBACK:
        raise Failed(f"ifconfig: SIOCSIFRVNET({jail.jid}, {name}): Device not configured")
    if vnet.find(name) is not None:
        raise Failed(f"ifconfig: SIOCSIFRVNET({jail.jid}, {name}): File exists")
    state.move(interface, vnet)


# parameter -> how many values follow it, and what it does
PARAMETERS: dict[str, tuple[int, Handler]] = {
    "up": (0, _flag_up),
    "down": (0, _flag_down),
    "monitor": (0, _flag_monitor),
    "-monitor": (0, _no_monitor),
    "name": (1, _name),
    "description": (1, _description),
    "descr": (1, _description),
    "-description": (0, _no_description),
    "-descr": (0, _no_description),
    "group": (1, _group),
    "-group": (1, _no_group),
    "mtu": (1, _mtu),
    "ether": (1, _ether),
    "lladdr": (1, _ether),
    "link": (1, _ether),
    "promisc": (0, _promisc),
    "-promisc": (0, _no_promisc),
    "metric": (1, _metric),
    "vnet": (1, _to_jail),
    "ifdisabled": (0, _nd6(ND6_IFDISABLED, True)),
    "-ifdisabled": (0, _nd6(ND6_IFDISABLED, False)),
    "auto_linklocal": (0, _nd6(ND6_AUTO_LINKLOCAL, True)),
    "-auto_linklocal": (0, _nd6(ND6_AUTO_LINKLOCAL, False)),
    **{name: (0, _capability(name, True)) for name in _CAPABILITIES},
    **{f"-{name}": (0, _capability(name, False)) for name in _CAPABILITIES},
    "no_dad": (0, _nd6(ND6_NO_DAD, True)),
    "-no_dad": (0, _nd6(ND6_NO_DAD, False)),
}
