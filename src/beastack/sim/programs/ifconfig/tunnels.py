"""Owns ifconfig(8)'s parameters for vxlan, gif and gre."""

import ipaddress
from collections.abc import Callable
from itertools import pairwise

from beastack.sim.net.errors import Failed
from beastack.sim.net.interface import Kind
from beastack.sim.net.vxlan import VNI_MAX, Address, Vxlan
from beastack.sim.programs.ifconfig.parameters import Context, Handler


def _vxlan(context: Context) -> Vxlan:
    vxlan = context.interface.vxlan
    if vxlan is None:
        raise Failed("ifconfig: VXLAN_CMD: Operation not supported")
    if vxlan.running:
        raise Failed("ifconfig: VXLAN_CMD: Device busy")
    return vxlan


def _vni(text: str) -> int:
    if not text.isdigit() or int(text) > VNI_MAX:
        raise Failed(f"ifconfig: invalid network identifier: {text}")
    return int(text)


def _host(text: str, what: str, group: bool) -> Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise Failed(f"ifconfig: error in parsing {what} address string: {text}") from error
    if address.is_multicast != group:
        raise Failed(f"ifconfig: {what} address must {'be' if group else 'not be'} multicast")
    return address


def _number(low: int, high: int, what: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdigit() or not low <= int(text) <= high:
            raise Failed(f"ifconfig: invalid {what}: {text}")
        return int(text)

    return read


def _setting(name: str, read: Callable[[str], object]) -> tuple[int, Handler]:
    def change(context: Context, values: list[str]) -> None:
        setattr(_vxlan(context), name, read(values[0]))

    return 1, change


def _learning(on: bool) -> tuple[int, Handler]:
    def change(context: Context, _values: list[str]) -> None:
        if context.interface.vxlan is None:
            raise Failed("ifconfig: VXLAN_CMD_SET_LEARN: Operation not supported")
        context.interface.vxlan.learn = on

    return 0, change


def _flushing(everything: bool) -> tuple[int, Handler]:
    def change(context: Context, _values: list[str]) -> None:
        if context.interface.vxlan is None:
            raise Failed("ifconfig: VXLAN_CMD_FLUSH: Operation not supported")
        context.interface.vxlan.flush(everything)

    return 0, change


def _tunnel(context: Context, values: list[str]) -> None:
    if context.interface.kind not in (Kind.GIF, Kind.GRE):
        raise Failed("ifconfig: SIOCSIFPHYADDR: Invalid argument")
    try:
        ends = ipaddress.ip_address(values[0]), ipaddress.ip_address(values[1])
    except ValueError as error:
        raise Failed(f"ifconfig: error in parsing address string: {error}") from error
    if ends[0].version != ends[1].version:
        raise Failed("ifconfig: source and destination address families do not match")
    context.state.tunnels.stop(context.interface)
    context.interface.extra["tunnel"] = ends


def _no_tunnel(context: Context, _values: list[str]) -> None:
    context.interface.extra.pop("tunnel", None)


def check(words: list[str]) -> None:
    """What `ifconfig vxlan create …` refuses before it makes anything."""
    for word, value in pairwise(words):
        if word == "vxlanid":
            _vni(value)


_PORTS = _number(1, 65535, "port number")
PARAMETERS: dict[str, tuple[int, Handler]] = {
    "vxlanid": _setting("vni", _vni),
    "vxlanlocal": _setting("local", lambda text: _host(text, "local", group=False)),
    "vxlanremote": _setting("remote", lambda text: _host(text, "remote", group=False)),
    "vxlangroup": _setting("remote", lambda text: _host(text, "group", group=True)),
    "vxlanlocalport": _setting("local_port", _PORTS),
    "vxlanremoteport": _setting("remote_port", _PORTS),
    "vxlandev": _setting("device", str),
    "vxlanttl": _setting("ttl", _number(0, 255, "TTL value")),
    "vxlantimeout": _setting("timeout", _number(0, 86400, "timeout value")),
    "vxlanmaxaddr": _setting("max_entries", _number(0, 1 << 31, "maxaddr value")),
    "vxlanlearn": _learning(True),
    "-vxlanlearn": _learning(False),
    "vxlanflush": _flushing(False),
    "vxlanflushall": _flushing(True),
    "tunnel": (2, _tunnel),
    "-tunnel": (0, _no_tunnel),
    "deletetunnel": (0, _no_tunnel),
}
