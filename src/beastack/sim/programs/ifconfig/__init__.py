"""Owns ifconfig(8): its options, its forms (list, show, create, destroy, change) and their order of work."""

import asyncio
import itertools
import re
import time

from beastack.sim.engine.vnet import Vnet
from beastack.sim.net.errors import Failed, not_simulated
from beastack.sim.net.interface import Interface, Kind
from beastack.sim.programs.base import Reply, Request
from beastack.sim.programs.ifconfig import addresses, members, parameters, tunnels, vlans
from beastack.sim.programs.ifconfig.parameters import Context
from beastack.sim.programs.ifconfig.render import Format, show

USAGE = """usage: ifconfig [-j jail] [-f type:format] [-g groupname] [-C] [-L] interface address_family
                [address [dest_address]] [parameters]
       ifconfig [-j jail] interface create
       ifconfig [-j jail] -a [-g groupname] [-C] [-L] [-d] [-m] [-u] [-v] [address_family]
       ifconfig [-j jail] -l [-d] [-u] [address_family]
       ifconfig [-j jail] [-g groupname] [-C] [-L] [-d] [-m] [-u] [-v]"""
FAMILIES = ("inet", "inet6", "ether", "link")
CLONERS = {kind.value: kind for kind in (Kind.EPAIR, Kind.TAP, Kind.BRIDGE, Kind.VXLAN, Kind.GIF, Kind.GRE, Kind.VLAN)}
ABSENT_CLONERS = ("lagg", "lo", "tun", "vmnet", "wg", "stf", "enc", "disc", "ipsec")


class _Options:
    """The options before the interface's name."""

    def __init__(self, argv: list[str]) -> None:
        self.all = self.list = self.only_up = self.only_down = False
        self.jail: str | None = None
        self.group: str | None = None
        self.format = Format()
        rest = list(argv)
        while rest and rest[0].startswith("-") and len(rest[0]) > 1:
            letters = rest.pop(0)[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                if letter in "jgf":
                    value = letters or (rest.pop(0) if rest else None)
                    letters = ""
                    if value is None:
                        raise Failed(USAGE)
                    self._valued(letter, value)
                elif letter in "aludn":
                    self._plain(letter)
                elif letter in "mvCLkDhG":
                    raise not_simulated("ifconfig", f"-{letter}")
                else:
                    raise Failed(f"ifconfig: invalid option -- {letter}\n{USAGE}")
        self.rest = rest

    def _plain(self, letter: str) -> None:
        match letter:
            case "a":
                self.all = True
            case "l":
                self.list = True
            case "u":
                self.only_up = True
            case "d":
                self.only_down = True

    def _valued(self, letter: str, value: str) -> None:
        match letter:
            case "j":
                self.jail = value
            case "g":
                self.group = value
            case _:
                forms = dict(part.partition(":")[::2] for part in value.split(","))
                if set(forms) - {"inet", "inet6"} or forms.get("inet", "hex") not in ("hex", "cidr", "dotted"):
                    raise not_simulated("ifconfig", f"-f {value}")
                if forms.get("inet6", "numeric") != "numeric":
                    raise not_simulated("ifconfig", f"-f {value}")
                self.format = Format(forms.get("inet", "hex"))

    def wanted(self, interface: Interface) -> bool:
        if self.group is not None and self.group not in interface.groups and self.group != "all":
            return False
        if self.only_up and not interface.administratively_up:
            return False
        return not (self.only_down and interface.administratively_up)


async def run(request: Request) -> Reply:
    options = _Options(request.argv)
    vnet = request.vnet
    if options.jail is not None:
        jail = request.state.find_jail(options.jail)
        if jail is None:
            raise Failed(f'ifconfig: jail "{options.jail}" not found')
        vnet = jail.vnet or vnet
    rest = options.rest
    _may_use_sockets(request)
    if options.list or options.all or not rest or options.group is not None:
        return Reply(_survey(options, vnet))
    name, words = rest[0], rest[1:]
    if request.jail is not None and request.jail.vnet is None:
        _refuse_changes(name, words)
    if words and words[0] in ("create", "plumb"):
        return _create(request, vnet, name, words[1:])
    if len(words) == 2 and words[0] == "-vnet":
        parameters.reclaim(request.state, vnet, name, words[1])
        return Reply()
    interface = vnet.find(name)
    if interface is None:
        raise Failed(f"ifconfig: interface {name} does not exist")
    if not words or (len(words) == 1 and words[0] in FAMILIES):
        return Reply(show(interface, time.monotonic(), words[0] if words else None, options.format))
    if words[0] in ("destroy", "unplumb"):
        if len(words) > 1:
            raise Failed(f"ifconfig: {words[1]}: bad value")
        await _destroy(request, interface)
        return Reply()
    return _change(request, vnet, interface, words)


def _may_use_sockets(request: Request) -> None:
    """ifconfig begins with a socket: a jail that shares the host's stack without its addresses has none (09)."""
    jail = request.jail
    if (
        jail is not None
        and jail.vnet is None
        and "inherit" not in (jail.parameters.get("ip4"), jail.parameters.get("ip6"))
    ):
        raise Failed("ifconfig: socket(family 2,SOCK_DGRAM): Protocol not supported")


def _refuse_changes(name: str, words: list[str]) -> None:
    """Root in a jail that shares the host's stack may look, and change nothing (09)."""
    if not words or (len(words) == 1 and words[0] in FAMILIES):
        return
    if words[0] in ("create", "plumb"):
        raise Failed(f"ifconfig: SIOCIFCREATE2 ({name}): Operation not permitted")
    what = "(SIOCAIFADDR)" if words[0] in ("inet", "inet6") else f"({words[0]})"
    raise Failed(f"ifconfig: ioctl {what}: Operation not permitted")


def _survey(options: _Options, vnet: Vnet) -> str:
    """`-l`, `-g GROUP`, `-a` and no arguments at all."""
    family = options.rest[0] if options.rest else None
    if family is not None and family not in FAMILIES:
        raise Failed(f"ifconfig: Address family '{family}' unknown.\n{USAGE}")
    found = [interface for interface in vnet.interfaces if options.wanted(interface)]
    if options.list:
        if family == "inet":
            found = [interface for interface in found if interface.inet]
        elif family == "inet6":
            found = [interface for interface in found if interface.inet6]
        elif family is not None:
            found = [interface for interface in found if interface.mac is not None]
        # two neighbours of one name are printed as one
        return " ".join(name for name, _same in itertools.groupby(interface.name for interface in found)) + "\n"
    if options.group is not None and not options.all:
        return "".join(f"{interface.name}\n" for interface in found)
    now = time.monotonic()
    return "".join(show(interface, now, family, options.format) for interface in found)


def _create(request: Request, vnet: Vnet, name: str, words: list[str]) -> Reply:
    """`ifconfig KIND[UNIT] create [parameters]`: the new name is printed when it is not the one that was asked for."""
    if vnet.find(name) is not None:
        raise Failed(f"ifconfig: interface {name} already exists")
    child = vlans.dotted(vnet, name)
    if child is not None:
        return _create_vlan(request, vnet, name, None, [*child, *words])
    match = re.fullmatch(r"([a-z]+)([0-9]{1,5})?", name)
    if match is None or match[1] not in CLONERS:
        if (match is not None and match[1] in ABSENT_CLONERS) or "." in name:
            raise not_simulated("ifconfig", f"{name} create")
        raise Failed("ifconfig: SIOCIFCREATE2 (" + name + "): Invalid argument")
    kind, unit = CLONERS[match[1]], None if match[2] is None else int(match[2])
    if unit is not None and (
        unit > 32767 or any(one.kind is kind and one.unit == unit for one in request.state.interfaces())
    ):
        raise Failed(f"ifconfig: interface {name} already exists")
    if kind in (Kind.VXLAN, Kind.GRE) and request.vnet.jail is not None:
        raise Failed(f"ifconfig: SIOCIFCREATE2 ({name}): Invalid argument")
    if kind is Kind.VLAN:
        return _create_vlan(request, vnet, name, unit, words)
    if kind is Kind.VXLAN:
        tunnels.check(words)
    return _finish(request, vnet, name, request.state.create(kind, unit, vnet), words)


def _create_vlan(request: Request, vnet: Vnet, name: str, unit: int | None, words: list[str]) -> Reply:
    """Tag and parent are part of the making: when they are refused, nothing is made (02)."""
    own, rest = vlans.taken(vnet, name, words)
    interface = request.state.create(Kind.VLAN, unit, vnet, name if "." in name else None)
    if own:
        _change(request, vnet, interface, own)
    return _finish(request, vnet, name, interface, rest)


def _finish(request: Request, vnet: Vnet, name: str, interface: Interface, words: list[str]) -> Reply:
    try:
        reply = _change(request, vnet, interface, words) if words else Reply()
    except Failed as failure:
        # what was made stays, and its name is told all the same
        failure.out = "" if interface.name == name else f"{interface.name}\n"
        raise
    if interface.name != name:
        reply.out += f"{interface.name}\n"
    return reply


def _change(request: Request, vnet: Vnet, interface: Interface, words: list[str]) -> Reply:
    """Parameters are worked off in their order; what came before a failing one stays done."""
    context = Context(request.state, vnet, interface)
    known = {**parameters.PARAMETERS, **members.PARAMETERS, **tunnels.PARAMETERS, **vlans.PARAMETERS}
    renamed = False
    rest = list(words)
    try:
        while rest:
            word = rest.pop(0)
            if word == "inet6":
                rest = addresses.inet6(context, rest)
            elif word == "inet" and rest:
                rest = addresses.inet(context, rest)
            elif word in known:
                count, handler = known[word]
                if len(rest) < count:
                    raise Failed(f"ifconfig: '{word}' requires argument")
                values, rest = rest[:count], rest[count:]
                handler(context, values)
                if word == "addm":
                    rest = members.with_vlans(context, values[0], rest)
                renamed = renamed or word == "name"
            elif re.fullmatch(r"[0-9.]+(/[0-9]+)?", word):
                rest = addresses.inet(context, [word, *rest])
            else:
                raise Failed(f"ifconfig: {word}: bad value")
    finally:
        if interface in interface.vnet.interfaces:
            request.state.changed(interface)
    out = "".join(context.printed)
    if renamed and words != [] and "create" not in request.argv[1:2]:
        out += f"{interface.name}\n"
    return Reply(out)


async def _destroy(request: Request, interface: Interface) -> None:
    if interface.kind in (Kind.LOOPBACK, Kind.VTNET, Kind.EM):
        raise Failed("ifconfig: SIOCIFDESTROY: Invalid argument")
    while interface.holder is not None:
        # if_tuntap waits until the device is closed
        event = request.state.tap_closing.setdefault(interface, asyncio.Event())
        await event.wait()
    if interface in interface.vnet.interfaces:
        request.state.destroy(interface)
