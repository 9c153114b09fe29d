"""Owns route(8): add, delete, get and flush of static routes, IPv4 and IPv6."""

import errno
import ipaddress
from dataclasses import dataclass

from beastack.sim.engine.vnet import Address, Network, Route, Vnet
from beastack.sim.net.errors import Failed, not_simulated
from beastack.sim.net.interface import Interface
from beastack.sim.programs.base import Reply, Request


@dataclass
class _Wanted:
    network: Network
    text: str
    kind: str
    gateway: str | None


def run(request: Request) -> Reply:
    rest, quiet, vnet = list(request.argv), False, request.vnet
    while rest and rest[0].startswith("-"):
        letters = rest.pop(0)[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            match letter:
                case "n" | "v":
                    continue  # names are never looked up here
                case "q":
                    quiet = True
                case "4" | "6":
                    rest.insert(1, f"-inet{'6' if letter == '6' else ''}")
                case "j":
                    name, letters = letters or (rest.pop(0) if rest else ""), ""
                    jail = request.state.find_jail(name)
                    if jail is None:
                        raise Failed(f'route: jail "{name}" not found')
                    vnet = jail.vnet or vnet
                case _:
                    raise not_simulated("route", f"-{letter}")
    if not rest:
        raise Failed("usage: route [-46dnqtv] [-j jail] command [[modifiers] args]")
    command, words = rest[0], rest[1:]
    if request.jail is not None and request.jail.vnet is None and command not in ("get", "show"):
        raise Failed("route: message indicates error: Operation not permitted")
    match command:
        case "add":
            return _add(request, vnet, words, quiet)
        case "delete" | "del":
            return _delete(vnet, words, quiet)
        case "get" | "show":
            return _get(vnet, words)
        case "flush":
            for route in list(vnet.routes):
                _forget(vnet, route)
            return Reply()
    raise not_simulated("route", command)


def _parse(words: list[str]) -> tuple[_Wanted, str | None]:
    """Modifiers, destination, gateway, netmask; the second result is the interface of `-interface`."""
    family, kind, interface = 4, "", None
    plain: list[str] = []
    rest = list(words)
    prefix: int | None = None
    while rest:
        word = rest.pop(0)
        match word:
            case "-net" | "-host":
                kind = word[1:]
            case "-inet" | "-4":
                family = 4
            case "-inet6" | "-6":
                family = 6
            case "-interface" | "-iface":
                interface = rest[0] if rest else ""
            case "-netmask" | "-prefixlen" if rest:
                mask = rest.pop(0)
                prefix = int(mask) if mask.isdigit() else ipaddress.IPv4Network(f"0.0.0.0/{mask}").prefixlen
            case _ if word.startswith("-"):
                raise not_simulated("route", word)
            case _:
                plain.append(word)
    if not plain or len(plain) > 3:
        raise Failed("route: destination parameter required")
    text, gateway = plain[0], (plain[1] if len(plain) > 1 else None)
    try:
        if len(plain) == 3:
            prefix = ipaddress.IPv4Network(f"0.0.0.0/{plain[2]}").prefixlen
        network = _network(text, family, prefix)
    except ValueError as error:
        raise Failed(f"route: bad address: {text}") from error
    if not kind:
        kind = "net" if text == "default" or network.prefixlen < network.max_prefixlen else "host"
    shown = "default" if text == "default" else str(network.network_address)
    return _Wanted(network, shown, kind, gateway), interface


def _network(text: str, family: int, prefix: int | None) -> Network:
    if text == "default":
        return ipaddress.ip_network("::/0" if family == 6 else "0.0.0.0/0")
    if prefix is not None and "/" not in text:
        text = f"{text}/{prefix}"
    return ipaddress.ip_network(text.partition("%")[0] if "/" not in text else text, strict=False)


def _gateway(text: str | None) -> tuple[Address, str | None]:
    if text is None:
        raise Failed("route: gateway parameter required")
    plain, _percent, scope = text.partition("%")
    try:
        return ipaddress.ip_address(plain), scope or None
    except ValueError as error:
        raise Failed(f"route: bad address: {text}") from error


def _add(request: Request, vnet: Vnet, words: list[str], quiet: bool) -> Reply:
    wanted, onto = _parse(words)
    line = f"add {wanted.kind} {wanted.text}: gateway {wanted.gateway}"
    if onto is not None:
        interface, gateway = vnet.find(onto), None
        if interface is None:
            raise Failed(f"route: bad address: {onto}")
        request.state.changed(interface)
    else:
        address, scope = _gateway(wanted.gateway)
        gateway = address
        interface = vnet.find(scope) if scope else vnet.connected(address)
        if interface is None:
            return _refused(line, "Invalid argument", "Invalid argument", quiet)
    connected = {own.network for one in vnet.interfaces for own in one.addresses() if own.prefix < 128}
    if any(route.network == wanted.network for route in vnet.routes) or wanted.network in connected:
        return _refused(line, "File exists", "route already in table", quiet)
    route = Route(wanted.network, gateway, interface)
    _install(vnet, route)
    vnet.routes.append(route)
    return Reply("" if quiet else line + "\n")


def _refused(line: str, words: str, short: str, quiet: bool) -> Reply:
    out = "" if quiet else f"{line} fib 0: {short}\n"
    # this is said with -q too (09)
    return Reply(out, f"route: message indicates error: {words}\n", 1)


def _install(vnet: Vnet, route: Route) -> None:
    stack = route.interface.stack
    if stack is None or not stack.up:
        return
    try:
        vnet.netlink.route_add(route.network, route.gateway, stack.index)
    except OSError as error:
        raise Failed(f"route: message indicates error: {error.strerror}") from error


def _forget(vnet: Vnet, route: Route) -> None:
    vnet.routes.remove(route)
    stack = route.interface.stack
    if stack is None or not stack.up:
        return
    try:
        vnet.netlink.route_remove(route.network, route.gateway, stack.index)
    except OSError as error:
        # ESRCH: Linux had dropped it with the address that it needed
        if error.errno != errno.ESRCH:
            raise Failed(f"route: message indicates error: {error.strerror}") from error


def _delete(vnet: Vnet, words: list[str], quiet: bool) -> Reply:
    wanted, _onto = _parse(words)
    route = next((one for one in vnet.routes if one.network == wanted.network), None)
    line = f"delete {wanted.kind} {wanted.text}"
    if wanted.gateway is not None:
        line += f": gateway {wanted.gateway}"
    if route is None:
        out = "" if quiet else f"{line} fib 0: not in table\n"
        return Reply(out, "" if quiet else "route: route has not been found\n", 1)
    _forget(vnet, route)
    return Reply("" if quiet else line + "\n")


def _get(vnet: Vnet, words: list[str]) -> Reply:
    wanted, _onto = _parse(words)
    address = wanted.network.network_address
    route = vnet.lookup(address)
    interface: Interface | None
    if wanted.text == "default":
        interface = route.interface if route else None
        destination: Network | None = wanted.network
        flags = "UP,GATEWAY,DONE,STATIC"
        gateway = route.gateway if route else None
    else:
        interface, gateway, flags = vnet.connected(address), None, "UP,DONE,PINNED"
        owns = [own for one in vnet.interfaces for own in one.addresses()]
        networks = [own.network for own in owns if own.network.version == address.version and address in own.network]
        destination = max(networks, key=lambda network: network.prefixlen, default=None)
        if any(own.address == address for own in owns):
            interface, flags = vnet.loopback(), "UP,HOST,DONE,STATIC,PINNED"
            destination = ipaddress.ip_network(address)
        elif interface is None and route is not None:
            interface, gateway, destination = route.interface, route.gateway, route.network
            flags = "UP,GATEWAY,DONE,STATIC" if gateway else "UP,DONE,STATIC"
    if interface is None or destination is None:
        raise Failed("route: route has not been found")
    shown = "::" if wanted.text == "default" and address.version == 6 else str(address)
    lines = [f"   route to: {shown}", f"destination: {destination.network_address}"]
    if "HOST" not in flags:
        lines.append(f"       mask: {destination.netmask}")
    if gateway is not None:
        lines.append(f"    gateway: {gateway}")
    lines += [
        "        fib: 0",
        f"  interface: {interface.name}",
        f"      flags: <{flags}>",
        " recvpipe  sendpipe  ssthresh  rtt,msec    mtu        weight    expire",
        f"       0         0         0         0  {interface.mtu:8d}         1         0 ",
    ]
    return Reply("\n".join(lines) + "\n")
