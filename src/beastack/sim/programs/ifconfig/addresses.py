"""Owns ifconfig(8)'s parameters for IPv4 and IPv6 addresses."""

import ipaddress
import time

from beastack.sim.engine.state import TENTATIVE
from beastack.sim.net.errors import Failed
from beastack.sim.net.interface import ND6_IFDISABLED, ND6_NO_DAD, Inet, Inet6, Interface, Kind, parse_mac
from beastack.sim.programs.ifconfig.parameters import Context

_ADD = ("alias", "add")
_REMOVE = ("-alias", "delete", "remove")


def inet(context: Context, arguments: list[str]) -> list[str]:
    """`ADDRESS[/LENGTH] [netmask M] [broadcast B] [alias|-alias]`; returns the arguments that are not its own."""
    text, rest = arguments[0], arguments[1:]
    address, prefix = _parse4(text)
    broadcast: ipaddress.IPv4Address | None = None
    action, others = "set", []
    while rest:
        word, rest = rest[0], rest[1:]
        if word == "netmask" and rest:
            prefix, rest = _netmask(rest[0]), rest[1:]
        elif word == "broadcast" and rest:
            broadcast, rest = _address4(rest[0]), rest[1:]
        elif word in _ADD:
            action = "add"
        elif word in _REMOVE:
            action = "remove"
        else:
            others = [word, *rest]
            break
    if action == "remove":
        _remove4(context, address)
    else:
        _add4(context, address, prefix, broadcast, replace=action == "set")
    return others


def _address4(text: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError as error:
        raise Failed(f"ifconfig: {text}: bad value") from error


def _parse4(text: str) -> tuple[ipaddress.IPv4Address, int | None]:
    plain, slash, length = text.partition("/")
    address = _address4(plain)
    if not slash:
        return address, None
    if not length.isdigit() or int(length) > 32:
        raise Failed(f"ifconfig: {text}: bad value (width invalid)")
    return address, int(length)


def _netmask(text: str) -> int:
    try:
        if text.startswith("0x"):
            text = str(ipaddress.IPv4Address(int(text, 16)))
        return ipaddress.IPv4Network(f"0.0.0.0/{text}").prefixlen
    except ValueError as error:
        raise Failed(f"ifconfig: {text}: bad value") from error


def _classful(address: ipaddress.IPv4Address) -> int:
    first = address.packed[0]
    return 8 if first < 128 else 16 if first < 192 else 24


def _add4(
    context: Context,
    address: ipaddress.IPv4Address,
    prefix: int | None,
    broadcast: ipaddress.IPv4Address | None,
    replace: bool,
) -> None:
    interface = context.interface
    length = _classful(address) if prefix is None else prefix
    if interface.member_of is not None and context.state.sysctls.values["net.link.bridge.member_ifaddrs"] == "0":
        raise Failed("ifconfig: ioctl (SIOCAIFADDR): Invalid argument")
    if any(own.address == address for other in context.vnet.interfaces if other is not interface for own in other.inet):
        raise Failed("ifconfig: ioctl (SIOCAIFADDR): File exists")
    if replace and interface.inet:
        # without `alias` the first address is replaced
        interface.inet.pop(0)
    interface.inet = [own for own in interface.inet if own.address != address]
    network = ipaddress.IPv4Network((address, length), strict=False)
    default = None if interface.kind is Kind.LOOPBACK else network.broadcast_address
    interface.inet.append(Inet(address, length, broadcast or default))
    interface.administratively_up = True
    context.state.changed(interface)
    _announce(context, address)


def _announce(context: Context, address: ipaddress.IPv4Address) -> None:
    """FreeBSD asks for its own new address by ARP, so that others learn of it."""
    interface = context.interface
    if interface.mac is None or interface.kind is Kind.VTNET or not interface.up:
        return
    frame = b"\xff" * 6 + interface.mac + bytes.fromhex("080600010800060400 01".replace(" ", ""))
    frame += interface.mac + address.packed + bytes(6) + address.packed
    context.state.wire.from_stack(interface, frame.ljust(60, b"\0"))


def _remove4(context: Context, address: ipaddress.IPv4Address) -> None:
    interface = context.interface
    gone = next((own for own in interface.inet if own.address == address), None)
    if gone is None:
        raise Failed("ifconfig: ioctl (SIOCDIFADDR): Can't assign requested address")
    interface.inet.remove(gone)
    _drop_routes(context, interface)
    context.state.changed(interface)


def _drop_routes(context: Context, interface: Interface) -> None:
    """Routes whose gateway was reached through a removed address go with it."""
    kept = []
    for route in context.vnet.routes:
        own = interface.addresses()
        reachable = route.gateway is None or any(
            route.gateway.version == one.address.version and route.gateway in one.network for one in own
        )
        if route.interface is not interface or reachable or (route.gateway and route.gateway.is_link_local):
            kept.append(route)
    context.vnet.routes = kept


def inet6(context: Context, arguments: list[str]) -> list[str]:
    """`[ADDRESS[/LENGTH]] [prefixlen N] [alias|-alias] [eui64] [no_dad]`; returns what is not its own."""
    if not arguments or ":" not in arguments[0] or parse_mac(arguments[0]) is not None:
        return arguments  # `inet6 -ifdisabled` and the like: the words that follow are parameters
    text, rest = arguments[0], arguments[1:]
    plain, _slash, length = text.partition("/")
    try:
        address = ipaddress.IPv6Address(plain.partition("%")[0])
        prefix = int(length or 64)
    except ValueError as error:
        raise Failed(f"ifconfig: {text}: bad value") from error
    action, others, dad = "add", [], True
    while rest:
        word, rest = rest[0], rest[1:]
        if word == "prefixlen" and rest and rest[0].isdigit():
            prefix, rest = int(rest[0]), rest[1:]
        elif word in _ADD:
            action = "add"
        elif word in _REMOVE:
            action = "remove"
        elif word == "no_dad":
            dad = False
        else:
            others = [word, *rest]
            break
    if not 0 <= prefix <= 128:
        raise Failed(f"ifconfig: {prefix}: bad value")
    if action == "remove":
        _remove6(context, address)
    else:
        _add6(context, address, prefix, dad)
    return others


def _add6(context: Context, address: ipaddress.IPv6Address, prefix: int, dad: bool) -> None:
    interface = context.interface
    if not context.vnet.has_ipv6:
        raise Failed("ifconfig: not simulated: this Linux kernel has no IPv6")
    wait = dad and not interface.nd6 & ND6_NO_DAD and interface.kind is not Kind.LOOPBACK
    own = Inet6(address, prefix, False, time.monotonic() + TENTATIVE if wait else 0.0)
    if all(known.address != address for known in interface.inet6):
        interface.inet6.append(own)
    interface.nd6 &= ~ND6_IFDISABLED
    interface.administratively_up = True
    context.state.changed(interface)


def _remove6(context: Context, address: ipaddress.IPv6Address) -> None:
    interface = context.interface
    gone = next((own for own in interface.inet6 if own.address == address), None)
    if gone is None:
        raise Failed("ifconfig: ioctl (SIOCDIFADDR): Can't assign requested address")
    interface.inet6.remove(gone)
    _drop_routes(context, interface)
    context.state.changed(interface)
