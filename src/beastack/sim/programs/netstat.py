"""Owns netstat(1) -rn: the routing tables of a network stack, as text and as libxo's JSON."""

import json
from dataclasses import dataclass

from beastack.sim.engine.vnet import Vnet
from beastack.sim.net.errors import Failed, not_simulated
from beastack.sim.net.interface import Kind
from beastack.sim.programs.base import Reply, Request

_PRETTY = {"U": "up", "G": "gateway", "H": "host", "S": "static"}


@dataclass(frozen=True)
class Entry:
    """One line of the table."""

    key: tuple[bytes, int]
    destination: str
    gateway: str
    flags: str
    interface: str


def entries(vnet: Vnet, version: int) -> list[Entry]:
    """Connected networks, own addresses (by the loopback), static routes; in the order of the radix tree."""
    found: dict[tuple[bytes, int], Entry] = {}
    loopback = vnet.loopback()
    for interface in vnet.interfaces:
        for own in interface.inet if version == 4 else interface.inet6:
            network, full = own.network, own.network.max_prefixlen
            scope = f"%{interface.name}" if own.address.is_link_local else ""
            host = (own.address.packed, full)
            flags = "UH" if interface.kind is Kind.LOOPBACK and version == 4 else "UHS"
            found[host] = Entry(host, f"{own.address}{scope}", f"link#{loopback.index}", flags, "lo0")
            if (
                own.prefix < full
                and interface.administratively_up
                and not (interface.kind is Kind.LOOPBACK and version == 4)
            ):
                key = (network.network_address.packed, own.prefix)
                text = f"{network.network_address}{scope}/{own.prefix}"
                found.setdefault(key, Entry(key, text, f"link#{interface.index}", "U", interface.name))
    for route in vnet.routes:
        if route.network.version != version:
            continue
        key = (route.network.network_address.packed, route.network.prefixlen)
        host_route = route.network.prefixlen == route.network.max_prefixlen
        text = "default" if route.network.prefixlen == 0 else str(route.network)
        if host_route:
            text = str(route.network.network_address)
        flags = "U" + ("G" if route.gateway else "") + ("H" if host_route else "") + "S"
        gateway = str(route.gateway) if route.gateway else f"link#{route.interface.index}"
        if route.gateway is not None and route.gateway.is_link_local:
            gateway += f"%{route.interface.name}"
        found[key] = Entry(key, text, gateway, flags, route.interface.name)
    return [found[key] for key in sorted(found)]


def run(request: Request) -> Reply:
    rest, letters, libxo, vnet = list(request.argv), "", "", request.vnet
    versions = [4, 6]
    while rest:
        word = rest.pop(0)
        if word.startswith("--libxo"):
            libxo = word.partition("=")[2] if "=" in word else (rest.pop(0) if rest else "")
            continue
        if not word.startswith("-"):
            raise not_simulated("netstat", word)
        cluster = word[1:]
        while cluster:
            letter, cluster = cluster[0], cluster[1:]
            if letter in "fj":
                value, cluster = cluster or (rest.pop(0) if rest else ""), ""
                if letter == "j":
                    jail = request.state.find_jail(value)
                    if jail is None:
                        raise Failed(f'netstat: jail "{value}" not found')
                    vnet = jail.vnet or vnet
                elif value in ("inet", "inet6"):
                    versions = [6 if value == "inet6" else 4]
                else:
                    raise Failed(f"netstat: {value}: unknown address family")
            elif letter in "46":
                versions = [int(letter)]
            elif letter in "rnW":
                letters += letter
            else:
                raise not_simulated("netstat", f"-{letter}")
    if "r" not in letters or "n" not in letters:
        raise not_simulated("netstat", "anything but -rn")
    if libxo not in ("", "text", "json"):
        raise not_simulated("netstat", f"--libxo {libxo}")
    tables = [(version, entries(vnet, version)) for version in versions]
    if libxo == "json":
        return Reply(_json([table for table in tables if table[1]]))
    out = "Routing tables\n"
    for version, found in tables:
        if not found and len(versions) > 1:
            continue
        title, first, second = ("Internet", 18, 18) if version == 4 else ("Internet6", 33, 29)
        out += f"\n{title}:\n{'Destination':<{first}} {'Gateway':<{second}} {'Flags':<8} {'Netif':>10} Expire\n"
        for entry in found:
            out += f"{entry.destination:<{first}} {entry.gateway:<{second}} {entry.flags:<8} {entry.interface:>10}\n"
    return Reply(out)


def _json(tables: list[tuple[int, list[Entry]]]) -> str:
    families = []
    for version, found in tables:
        rows = []
        for number, entry in enumerate(found, 1):
            pretty = ",".join(json.dumps(_PRETTY[letter]) for letter in entry.flags)
            rows.append(
                f'{{"destination":"{entry.destination}","gateway":"{entry.gateway}","flags":"{entry.flags}", '
                f'"flags_pretty": [{pretty}],"weight":1,"nhop-kidx":{number},"interface-name":"{entry.interface}"}}'
            )
        name = "Internet" if version == 4 else "Internet6"
        families.append(f'{{"address-family":"{name}", "rt-entry": [{", ".join(rows)}]}}')
    body = f'{{"route-information": {{"route-table": {{"rt-family": [{", ".join(families)}]}}}}}}'
    return f'{{"statistics": {body}}}\n'
