"""Owns arp(8) and ndp(8): the kernel's neighbour table of the caller's network stack, in FreeBSD's words."""

import errno
import ipaddress
import json
import socket
from dataclasses import dataclass

from beastack.sim.engine.vnet import Vnet
from beastack.sim.net.errors import Failed, not_simulated
from beastack.sim.net.interface import Interface, Kind, mac_text, parse_mac
from beastack.sim.programs.base import Reply, Request

LIFETIME = 1200
ND_LIFETIME = 86400


@dataclass(frozen=True)
class _Row:
    address: str
    mac: str
    interface: str
    permanent: bool
    expires: int


def _by_index(vnet: Vnet) -> dict[int, Interface]:
    return {interface.stack.index: interface for interface in vnet.interfaces if interface.stack is not None}


def _rows(vnet: Vnet) -> list[_Row]:
    rows = []
    for interface in vnet.interfaces:
        if interface.mac is not None and interface.administratively_up:
            rows += [_Row(str(own.address), mac_text(interface.mac), interface.name, True, 0) for own in interface.inet]
    names = _by_index(vnet)
    for entry in vnet.netlink.neighbours(socket.AF_INET):
        found = names.get(entry.index)
        if found is None or found.kind is Kind.LOOPBACK:
            continue
        left = max(0, int(LIFETIME - entry.age)) if entry.mac else 0
        rows.append(_Row(str(entry.address), mac_text(entry.mac), found.name, entry.permanent, left))
    return sorted(rows, key=_bucket)


def _bucket(row: _Row) -> int:
    """The kernel keeps its entries in 32 lists, by the address's bytes (IN_LLTBL_HASH)."""
    one, two, three, four = ipaddress.IPv4Address(row.address).packed
    return (one ^ two ^ three ^ four) & 31


def run(request: Request) -> Reply:
    rest, letters, libxo, only = list(request.argv), "", "", None
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word.startswith("--libxo"):
            libxo = word.partition("=")[2] if "=" in word else (rest.pop(0) if rest else "")
            continue
        cluster = word[1:]
        while cluster:
            letter, cluster = cluster[0], cluster[1:]
            if letter == "i":
                only, cluster = cluster or (rest.pop(0) if rest else ""), ""
            elif letter in "adnsS":
                letters += letter
            else:
                raise not_simulated("arp", f"-{letter}")
    if libxo not in ("", "text", "json"):
        raise not_simulated("arp", f"--libxo {libxo}")
    vnet = request.vnet
    if "d" in letters:
        return _delete(vnet, None if "a" in letters else rest, only)
    if "s" in letters or "S" in letters:
        return _set(vnet, rest)
    rows = [row for row in _rows(vnet) if only in (None, row.interface)]
    if "a" not in letters:
        if len(rest) != 1:
            raise Failed("usage: arp [-n] [-i interface] hostname")
        rows = [row for row in rows if row.address == rest[0]]
        if not rows:
            return Reply(f"{rest[0]} ({rest[0]}) -- no entry\n", "", 1)
    if libxo == "json":
        return Reply(_json(rows))
    return Reply("".join(_line(row) for row in rows))


def _line(row: _Row) -> str:
    if not row.mac:
        return f"? ({row.address}) at (incomplete) on {row.interface} expired [ethernet]\n"
    when = "permanent" if row.permanent else f"expires in {row.expires} seconds"
    return f"? ({row.address}) at {row.mac} on {row.interface} {when} [ethernet]\n"


def _json(rows: list[_Row]) -> str:
    texts = []
    for row in rows:
        fields = {"hostname": "?", "ip-address": row.address}
        text = ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in fields.items())
        text += f',"mac-address":"{row.mac}"' if row.mac else ',"incomplete":true'
        text += f',"interface":"{row.interface}",'
        text += '"permanent":true' if row.permanent else f'"expires":{row.expires}'
        texts.append("{" + text + ',"type":"ethernet"}')
    return f'{{"__version": "1", "arp": {{"arp-cache": [{", ".join(texts)}]}}}}\n'


def _delete(vnet: Vnet, wanted: list[str] | None, only: str | None) -> Reply:
    names, reply = _by_index(vnet), Reply()
    if wanted is not None and len(wanted) != 1:
        raise Failed("usage: arp -d hostname")
    gone = 0
    for entry in vnet.netlink.neighbours(socket.AF_INET):
        if entry.index not in names or (wanted is not None and str(entry.address) != wanted[0]):
            continue
        if only is not None and names[entry.index].name != only:
            continue
        try:
            vnet.netlink.neighbour_remove(entry.index, entry.address)
        except OSError as error:
            if error.errno != errno.ENOENT:  # it timed out meanwhile
                raise Failed(f"arp: {entry.address}: {error.strerror}") from error
        gone += 1
        reply.out += f"{entry.address} ({entry.address}) deleted\n"
    if wanted is not None and not gone:
        return Reply("", f"arp: delete {wanted[0]}: No such file or directory\n", 1)
    return reply


def _set(vnet: Vnet, words: list[str]) -> Reply:
    if len(words) != 2:
        raise not_simulated("arp", f"-s {' '.join(words)}")
    mac = parse_mac(words[1])
    try:
        address = ipaddress.IPv4Address(words[0])
    except ValueError as error:
        raise Failed(f"arp: {words[0]}: bad value") from error
    interface = vnet.connected(address)
    if mac is None or interface is None or interface.stack is None:
        raise Failed(f"arp: cannot intuit interface index and type for {words[0]}")
    vnet.netlink.neighbour_add(interface.stack.index, address, mac)
    return Reply()


def ndp(request: Request) -> Reply:
    letters = "".join(word.lstrip("-") for word in request.argv if word.startswith("-"))
    plain = [word for word in request.argv if not word.startswith("-")]
    if letters in ("s", "d") and plain:
        return _change_ndp(request.vnet, letters, plain)
    if set(letters) - set("anc") or plain:
        raise not_simulated("ndp", " ".join(request.argv))
    vnet, names = request.vnet, _by_index(request.vnet)
    entries = vnet.netlink.neighbours(socket.AF_INET6)
    if "c" in letters:
        for entry in entries:
            if entry.index in names and not entry.permanent:
                vnet.netlink.neighbour_remove(entry.index, entry.address)
        return Reply()
    out = f"{'Neighbor':<36} {'Linklayer Address':<17} {'Netif':>6} {'Expire':<9} 1s 5s\n"
    for interface in vnet.interfaces:
        for own in interface.inet6:
            if interface.mac is not None:
                scope = f"%{interface.name}" if own.address.is_link_local else ""
                out += f"{f'{own.address}{scope}':<36} {mac_text(interface.mac):<17} {interface.name:>6} permanent R \n"
    for entry in entries:
        found = names.get(entry.index)
        if found is None or found.kind is Kind.LOOPBACK or entry.address.is_multicast:
            continue
        scope = f"%{found.name}" if entry.address.is_link_local else ""
        mac = mac_text(entry.mac) if entry.mac else "(incomplete)"
        if entry.permanent:
            out += f"{f'{entry.address}{scope}':<36} {mac:<17} {found.name:>6} permanent R \n"
            continue
        left = f"{max(0, int(ND_LIFETIME - entry.age))}s"
        out += f"{f'{entry.address}{scope}':<36} {mac:<17} {found.name:>6} {left:<9} {'S' if entry.mac else 'I'}  \n"
    return Reply(out)


def _change_ndp(vnet: Vnet, letter: str, words: list[str]) -> Reply:
    """`ndp -s ADDRESS MAC` and `ndp -d ADDRESS` (usr.sbin/ndp/ndp_netlink.c)."""
    try:
        address = ipaddress.IPv6Address(words[0])
    except ValueError as error:
        raise Failed(f"ndp: {words[0]}: Name does not resolve") from error
    if len(words) != (2 if letter == "s" else 1) or address.is_link_local:
        raise not_simulated("ndp", f"-{letter} {' '.join(words)}")
    interface = vnet.connected(address)
    if interface is None or interface.stack is None:
        # both say so, and neither fails
        return Reply("", f"ndp: delete: cannot locate {words[0]}\n")
    if letter == "s":
        mac = parse_mac(words[1])
        if mac is None:
            raise Failed("ndp: invalid link-layer address")
        vnet.netlink.neighbour_add(interface.stack.index, address, mac)
        return Reply()
    try:
        vnet.netlink.neighbour_remove(interface.stack.index, address)
    except OSError as error:
        raise Failed(f"ndp: delete {words[0]}: {error.strerror}") from error
    return Reply(f"{words[0]} ({address}) deleted\n")
