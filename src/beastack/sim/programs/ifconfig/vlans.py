"""Owns ifconfig(8)'s parameters for vlan(4) children, and how one is made with its parent."""

import re

from beastack.sim.engine.vnet import Vnet
from beastack.sim.net import vlan as vlans
from beastack.sim.net.errors import Failed
from beastack.sim.net.interface import Interface, Kind
from beastack.sim.net.vlan import PCP_MAX, PROTOCOLS, TAG_MAX
from beastack.sim.programs.ifconfig.parameters import Context, Handler

_WORDS = ("vlan", "vlandev", "vlanproto", "vlanpcp")
# struct vlanreq's tag is 16 bits wide
_TAG_FIELD = 65535
_PARENTS = (Kind.VTNET, Kind.EM, Kind.EPAIR, Kind.TAP, Kind.BRIDGE, Kind.VXLAN, Kind.VLAN)


def _number(text: str, high: int, what: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > high:
        raise Failed(f"ifconfig: invalid {what}: {text}")
    return int(text)


def _protocol(text: str) -> str:
    if text not in PROTOCOLS:
        raise Failed(f"ifconfig: invalid protocol: {text}")
    return text


def dotted(vnet: Vnet, name: str) -> list[str] | None:
    """The words that `ifconfig PARENT.TAG create` stands for; None when the name has not this form."""
    match = re.fullmatch(r"(.+)\.([1-9][0-9]{0,3})", name)
    if match is None or vnet.find(match[1]) is None:
        return None
    return ["vlan", match[2], "vlandev", match[1]]


def taken(vnet: Vnet, name: str, words: list[str]) -> tuple[list[str], list[str]]:
    """The words for the making of a child, checked, and the rest of them.

    Raises Failed in ifconfig's words before anything is made.
    """
    own: dict[str, str] = {}
    rest = list(words)
    while len(rest) > 1 and rest[0] in _WORDS:
        own[rest[0]], rest = rest[1], rest[2:]
    if "vlan" not in own and "vlandev" not in own:
        return [], words
    if "vlan" not in own:
        raise Failed("ifconfig: must specify a tag for vlan create")
    if "vlandev" not in own:
        raise Failed("ifconfig: must specify a parent device for vlan create")
    tag, protocol = _number(own["vlan"], _TAG_FIELD, "vlan tag"), _protocol(own.get("vlanproto", "802.1q"))
    parent = vnet.find(own["vlandev"])
    if parent is None:
        raise Failed(f"ifconfig: SIOCIFCREATE2 ({name}): Device not configured")
    if not 0 < tag <= TAG_MAX:
        raise Failed(f"ifconfig: SIOCIFCREATE2 ({name}): Invalid argument")
    if vlans.child_of(parent, protocol, tag) is not None:
        raise Failed(f"ifconfig: interface {name} already exists")
    if parent.kind not in _PARENTS:
        raise Failed(f"ifconfig: SIOCIFCREATE2 ({name}): Protocol not supported")
    ordered = ["vlanproto", protocol, "vlan", str(tag), "vlandev", parent.name]
    return [*ordered, *(["vlanpcp", own["vlanpcp"]] if "vlanpcp" in own else [])], rest


def _child(context: Context) -> vlans.Vlan:
    vlan = context.interface.vlan
    if vlan is None:
        raise Failed("ifconfig: SIOCSETVLAN: Invalid argument")
    return vlan


def _wanted(context: Context) -> dict[str, str]:
    """Tag and parent come as two words, and only both together mean something."""
    found: dict[str, str] = context.interface.extra.setdefault("vlan wanted", {})
    return found


def _tag(context: Context, values: list[str]) -> None:
    vlan, tag = _child(context), _number(values[0], _TAG_FIELD, "vlan tag")
    _wanted(context)["tag"] = str(tag)
    if vlan.parent is not None:
        _join(context, vlan.parent)


def _parent(context: Context, values: list[str]) -> None:
    _child(context)
    parent = context.vnet.find(values[0])
    if parent is None:
        raise Failed("ifconfig: SIOCSETVLAN: No such file or directory")
    _join(context, parent)


def _join(context: Context, parent: Interface) -> None:
    child, vlan = context.interface, _child(context)
    tag = int(_wanted(context).get("tag", vlan.tag))
    if not 0 < tag <= TAG_MAX:
        raise Failed("ifconfig: SIOCSETVLAN: Invalid argument")
    if parent.kind not in _PARENTS or parent is child:
        raise Failed("ifconfig: SIOCSETVLAN: Protocol not supported")
    if vlan.parent not in (None, parent):
        raise Failed("ifconfig: SIOCSETVLAN: Device busy")
    other = vlans.child_of(parent, vlan.protocol, tag)
    if other not in (None, child):
        raise Failed("ifconfig: SIOCSETVLAN: File exists")
    if vlan.parent is parent:
        vlan.tag = tag
    else:
        vlans.join(child, parent, tag, vlan.protocol)
    context.state.changed(parent)


def _no_parent(context: Context, _values: list[str]) -> None:
    parent = _child(context).parent
    vlans.leave(context.interface)
    if parent is not None:
        context.state.changed(parent)


def _protocol_word(context: Context, values: list[str]) -> None:
    _child(context).protocol = _protocol(values[0])


def _pcp(context: Context, values: list[str]) -> None:
    vlan = context.interface.vlan
    if vlan is None:
        raise Failed("ifconfig: SIOCSVLANPCP: Invalid argument")
    vlan.pcp = _number(values[0], PCP_MAX, "value for vlanpcp")


PARAMETERS: dict[str, tuple[int, Handler]] = {
    "vlan": (1, _tag),
    "vlandev": (1, _parent),
    "-vlandev": (1, _no_parent),
    "vlanproto": (1, _protocol_word),
    "vlanpcp": (1, _pcp),
}
