"""Owns ifconfig(8)'s parameters for bridges: members, their flags and limits, the forwarding table."""

import time
from collections.abc import Callable

from beastack.sim.net import bridge as bridges
from beastack.sim.net import vlan as vlans
from beastack.sim.net.bridge import Bridge, Member
from beastack.sim.net.errors import Failed
from beastack.sim.net.interface import Interface, Kind, parse_mac
from beastack.sim.programs.ifconfig.parameters import Context, Handler
from beastack.sim.programs.ifconfig.render import addresses

_NOT_MEMBER = "No such file or directory (Interface is not a bridge member)"


def _bridge(context: Context, command: str) -> Bridge:
    bridge = context.interface.bridge
    if bridge is None:
        raise Failed(f"ifconfig: {command}: Operation not supported")
    return bridge


def _interface(context: Context, name: str, command: str) -> Interface:
    found = context.vnet.find(name)
    if found is None:
        raise Failed(f"ifconfig: {command} {name}: No such file or directory (No such interface)")
    return found


def _member(context: Context, name: str, command: str) -> Member:
    bridge = _bridge(context, command)
    found = context.vnet.find(name)
    member = bridge.member(found) if found is not None else None
    if member is None:
        raise Failed(f"ifconfig: {command} {name}: {_NOT_MEMBER}")
    return member


def _add(context: Context, values: list[str]) -> None:
    name = values[0]
    bridge = _bridge(context, "BRDGADD")
    interface = _interface(context, name, "BRDGADD")
    failure = f"ifconfig: BRDGADD {name}: "
    if interface.member_of is bridge:
        raise Failed(failure + "File exists (Interface is already a member of this bridge)")
    if interface.member_of is not None:
        raise Failed(failure + "Device busy (Interface is already a member of another bridge)")
    if interface.kind in (Kind.LOOPBACK, Kind.BRIDGE, Kind.GRE):
        raise Failed(failure + "Invalid argument (Unsupported interface type)")
    if interface.kind is Kind.VTNET:
        raise Failed(f"ifconfig: not simulated: {name} in a bridge (it is the kernel's, for management)")
    if interface.inet and context.state.sysctls.values["net.link.bridge.member_ifaddrs"] == "0":
        raise Failed(failure + "Invalid argument (Member interface may not have an IP address assigned)")
    if interface.vlan is not None and (
        interface.vlan.parent is None
        or (bridge.members and bridge.interface.mtu > vlans.largest(interface.vlan.parent))
    ):
        raise Failed(failure + "Invalid argument")
    context.state.add_member(bridge, interface)


def _delete(context: Context, values: list[str]) -> None:
    member = _member(context, values[0], "BRDGDEL")
    context.state.remove_member(_bridge(context, "BRDGDEL"), member.interface)
    context.state.changed(member.interface)


def _static(context: Context, values: list[str]) -> None:
    bridge = _bridge(context, "BRDGSADDR")
    mac = parse_mac(values[1])
    if mac is None:
        raise Failed(f"ifconfig: {values[1]}: invalid address")
    bridge.pin(_member(context, values[0], "BRDGSADDR"), mac)


def _delete_address(context: Context, values: list[str]) -> None:
    bridge = _bridge(context, "BRDGDADDR")
    mac = parse_mac(values[0])
    if mac is None:
        raise Failed(f"ifconfig: {values[0]}: invalid address")
    if not bridge.forget(mac):
        raise Failed("ifconfig: BRDGDADDR: No such file or directory")


def _addresses(context: Context, _values: list[str]) -> None:
    context.printed.append(addresses(_bridge(context, "BRDGRTS"), time.monotonic()))


def _flush(everything: bool) -> Handler:
    def flush(context: Context, _values: list[str]) -> None:
        _bridge(context, "BRDGFLUSH").flush(everything)

    return flush


def _flag(bit: int, on: bool) -> Handler:
    def change(context: Context, values: list[str]) -> None:
        member = _member(context, values[0], "BRDGGIFFLGS")
        member.flags = member.flags | bit if on else member.flags & ~bit

    return change


def _number(text: str) -> int:
    if not text.isdigit():
        raise Failed(f"ifconfig: invalid value: {text}")
    return int(text)


def _limit(context: Context, values: list[str]) -> None:
    _member(context, values[0], "BRDGSIFAMAX").limit = _number(values[1])


def _max_addresses(context: Context, values: list[str]) -> None:
    _bridge(context, "BRDGSCACHE").max_addresses = _number(values[0])


def _timeout(context: Context, values: list[str]) -> None:
    _bridge(context, "BRDGSTO").timeout = _number(values[0])


def _tags(text: str) -> frozenset[int]:
    """`all`, `none`, or numbers and ranges with commas."""
    if text in ("all", "none"):
        return frozenset(range(1, vlans.TAG_MAX + 1)) if text == "all" else frozenset()
    found: set[int] = set()
    for part in text.split(","):
        low, _dash, high = part.partition("-")
        first, last = _tag(low), _tag(high or low)
        if first > last:
            raise Failed(f"ifconfig: invalid VLAN range: {part}")
        found |= set(range(first, last + 1))
    return frozenset(found)


def _tag(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= vlans.TAG_MAX:
        raise Failed(f"ifconfig: invalid VLAN identifier: {text}")
    return int(text)


def with_vlans(context: Context, name: str, rest: list[str]) -> list[str]:
    """The words `untagged TAG` and `tagged TAGS` behind `addm MEMBER`; what follows them is returned."""
    while len(rest) > 1 and rest[0] in ("untagged", "tagged"):
        member = _member(context, name, "BRDGADD")
        if rest[0] == "untagged":
            member.untagged = _tag(rest[1])
        else:
            member.tagged = _tags(rest[1])
        rest = rest[2:]
    return rest


def _untagged(context: Context, values: list[str]) -> None:
    _member(context, values[0], "BRDGSIFPVID").untagged = _tag(values[1])


def _no_untagged(context: Context, values: list[str]) -> None:
    _member(context, values[0], "BRDGSIFPVID").untagged = 0


def _tagged(change: Callable[[frozenset[int], frozenset[int]], frozenset[int]]) -> Handler:
    def apply(context: Context, values: list[str]) -> None:
        member = _member(context, values[0], "BRDGSIFVLANSET")
        member.tagged = change(member.tagged, _tags(values[1]))

    return apply


def _filtering(on: bool) -> Handler:
    def change(context: Context, _values: list[str]) -> None:
        _bridge(context, "BRDGSFLAGS").filters_vlans = on

    return change


def _flags() -> dict[str, tuple[int, Handler]]:
    bits = {
        "learn": bridges.LEARNING,
        "discover": bridges.DISCOVER,
        "sticky": bridges.STICKY,
        "private": bridges.PRIVATE,
        "edge": bridges.EDGE,
        "autoedge": bridges.AUTOEDGE,
        "ptp": bridges.PTP,
        "autoptp": bridges.AUTOPTP,
    }
    return {f"{sign}{name}": (1, _flag(bit, sign == "")) for name, bit in bits.items() for sign in ("", "-")}


PARAMETERS: dict[str, tuple[int, Handler]] = {
    "addm": (1, _add),
    "deletem": (1, _delete),
    "static": (2, _static),
    "deladdr": (1, _delete_address),
    "addr": (0, _addresses),
    "flush": (0, _flush(False)),
    "flushall": (0, _flush(True)),
    "ifmaxaddr": (2, _limit),
    "maxaddr": (1, _max_addresses),
    "vlanfilter": (0, _filtering(True)),
    "-vlanfilter": (0, _filtering(False)),
    "ifuntagged": (2, _untagged),
    "-ifuntagged": (1, _no_untagged),
    "iftagged": (2, _tagged(lambda _old, new: new)),
    "+iftagged": (2, _tagged(lambda old, new: old | new)),
    "-iftagged": (2, _tagged(lambda old, new: old - new)),
    "timeout": (1, _timeout),
    **_flags(),
}
