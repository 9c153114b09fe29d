"""The program that stands between a guest and the bridge: it passes frames that only this port may send.

Seen from the guest's side (ng_ether's ``lower`` hook, shared/freebsd/15.1/06): the source MAC is an allowed one; in
ARP requests and replies the sender is the frame's own MAC with an allowed address, and a probe (from 0.0.0.0) asks for
an allowed one; IPv4 comes from an allowed address, or from 0.0.0.0 as a DHCP request; IPv6 from an allowed or the MAC's
own link-local address, or from :: to ask whether an allowed one is taken and to report listening; an advertised
neighbour is an allowed address. Every other ethertype is dropped, VLAN tags and LLC among them.

Nobody here is a DHCP server or a router: what goes to a DHCP client's port is dropped whatever port it comes from, as
clients look at their own port alone, and so are router advertisements. Probes and the questions of duplicate address
detection are held to allowed addresses because a neighbour that hears one for its own new address gives it up.

What could hide ICMPv6 or a UDP header is dropped: ICMPv6 in fragments, routing and destination options, hop-by-hop
options but for those of multicast listener reports. A load behind a frame's end drops the frame (bpf(4)).

What a frame says is looked at once for all MACs; then its address is looked for among those of its MAC, so that a port
may have some twenty pairs, each with a MAC of its own, in the 512 instructions of one program. Neighbour advertisements
are held to their target here, and to their source, as every packet, by pf. As one address of a frame counts, what is
allowed may be shared out over several programs, of which one must pass the frame (``guards``).
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from beastack.freebsd.bpf import (
    AND,
    DROP,
    LD_H,
    LD_IMM,
    LD_MEM,
    LD_W,
    LD_W_X,
    MAX_INSTRUCTIONS,
    PASS,
    ST,
    Assembler,
    BadProgram,
    Instruction,
)
from beastack.freebsd.bpf_protocols import SOURCE, arp, ip4, ip6

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_ARP, _IP4, _IP6 = 0x0806, 0x0800, 0x86DD
# Words of BPF's memory: the IPv4 address that is looked for, and which of the port's MACs sends.
_ADDRESS, _WHO = 0, 1
# A conditional jump reaches over so many addresses of 10 instructions each.
_NEAR = 20
# Each is one command when a guard is set, and one look more at a frame that none before it has passed.
MAX_PROGRAMS = 64


class BadGuard(Exception):
    """No guard can be made of these pairs; the text says why."""


def link_local(mac: str) -> str:
    """The link-local address that a MAC's owner gives itself (RFC 4291, modified EUI-64)."""
    raw = bytes.fromhex(mac.replace(":", ""))
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:]))


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[Network]]:
    """Allowed networks by MAC; a pair's address may be "" (the MAC alone). Raises BadGuard."""
    found: dict[str, list[Network]] = {}
    for mac, address in pairs:
        if not isinstance(mac, str) or _MAC.fullmatch(mac) is None or int(mac[:2], 16) & 1:
            raise BadGuard(f"MAC address {mac!r}")
        networks = found.setdefault(mac, [ipaddress.ip_network(link_local(mac))])
        if address == "":
            continue
        try:
            network = ipaddress.ip_network(address, strict=False)
        except (ValueError, TypeError) as e:
            raise BadGuard(f"address {address!r}: {e}") from None
        if "%" in address:
            raise BadGuard(f"address {address!r} carries a zone")
        if network not in networks:
            networks.append(network)
    if not found:
        raise BadGuard("a guard without an allowed MAC address would close the port")
    return found


def guard(pairs: Iterable[tuple[str, str]]) -> list[Instruction]:
    """The program for these (MAC, address or network) pairs; raises BadGuard when it would be too long."""
    return _assemble(grouped(pairs), MAX_INSTRUCTIONS)


def guards(pairs: Iterable[tuple[str, str]], most: int = MAX_INSTRUCTIONS) -> list[list[Instruction]]:
    """Programs of at most ``most`` instructions for any number of pairs: a frame may pass when one of them passes it.

    Raises BadGuard for what is no pair, and for more than MAX_PROGRAMS programs.
    """
    allowed = grouped(pairs)
    try:
        return [_assemble(allowed, most)]
    except BadGuard:
        made = list(_shared_out(allowed, most))
    if len(made) > MAX_PROGRAMS:
        raise BadGuard(f"too many allowed addresses for one port: {len(made)} programs")
    return made


def _shared_out(allowed: Mapping[str, Sequence[Network]], most: int) -> Iterator[list[Instruction]]:
    """Programs that are as full as they may be; raises BadGuard when one address is too much for one."""
    held: dict[str, list[Network]] = {}
    full: list[Instruction] = []
    for mac, networks in allowed.items():
        for network in networks:
            more = {**held, mac: [*held.get(mac, []), network]}
            try:
                full = _assemble(more, most)
            except BadGuard:
                if not held:
                    raise
                yield full
                more = {mac: [network]}
                full = _assemble(more, most)
            held = more
    yield full


def _assemble(allowed: Mapping[str, Sequence[Network]], most: int) -> list[Instruction]:
    a = Assembler()
    four, six = a.fresh(), a.fresh()
    _mac(a, list(allowed))
    for ethertype, part, last in ((_ARP, arp, four), (_IP4, ip4, four), (_IP6, ip6, six)):
        yes, other = a.fresh(), a.fresh()
        a.op(LD_H, 12)
        a.if_equal(ethertype, yes=yes)
        a.goto(other)
        a.label(yes)
        part(a, last)
        a.label(other)
    a.ret(DROP)
    everyone = list(allowed.values())
    a.label(four)
    a.op(ST, _ADDRESS)
    _of_its_mac(a, everyone, _pass_if_four)
    a.label(six)
    _of_its_mac(a, everyone, _pass_if_six)
    try:
        made = a.program()
    except BadProgram as e:
        raise BadGuard(f"too many allowed addresses for one port: {e}") from None
    if len(made) > most:
        raise BadGuard(f"too many allowed addresses for one port: {len(made)} instructions")
    return made


def pass_all() -> list[Instruction]:
    """The way back to the guest."""
    a = Assembler()
    a.ret(PASS)
    return a.program()


def drop_all() -> list[Instruction]:
    """Nothing of an interface's reaches the host's own stack; bpf(4) has had its copy by then."""
    a = Assembler()
    a.ret(DROP)
    return a.program()


def _mac(a: Assembler, macs: Sequence[str]) -> None:
    """Drop what is sent from another MAC; remember which one it is when there are several."""
    known = a.fresh()
    for number, mac in enumerate(macs):
        other = a.fresh()
        a.op(LD_W, 6)
        a.if_equal(int(mac[:11].replace(":", ""), 16), no=other)
        a.op(LD_H, 10)
        a.if_equal(int(mac[12:].replace(":", ""), 16), no=other)
        if len(macs) > 1:
            a.op(LD_IMM, number)
            a.op(ST, _WHO)
        a.goto(known)
        a.label(other)
    a.ret(DROP)
    a.label(known)


def _of_its_mac(
    a: Assembler, everyone: Sequence[Sequence[Network]], look: Callable[[Assembler, Sequence[Network]], None]
) -> None:
    """Pass what ``look`` finds among the networks of the frame's MAC, and drop all else."""
    if len(everyone) > 1:
        a.op(LD_MEM, _WHO)
    for number, networks in enumerate(everyone):
        other, mine = a.fresh(), a.fresh()
        if len(everyone) > 1 and len(networks) > _NEAR:
            a.if_equal(number, yes=mine)
            a.goto(other)
        elif len(everyone) > 1:
            a.if_equal(number, no=other)
        a.label(mine)
        look(a, networks)
        a.ret(DROP)
        a.label(other)
    a.ret(DROP)


def _pass_if_four(a: Assembler, networks: Sequence[Network]) -> None:
    """Pass when the remembered address is in one of ``networks``; else go on."""
    for network in networks:
        if network.version != 4:
            continue
        no = a.fresh()
        if network.prefixlen:
            a.op(LD_MEM, _ADDRESS)
            if network.prefixlen < 32:
                a.op(AND, int(network.netmask))
            a.if_equal(int(network.network_address), no=no)
        a.ret(PASS)
        a.label(no)


def _pass_if_six(a: Assembler, networks: Sequence[Network]) -> None:
    """Pass when the address at the source's place and X bytes further is in one of ``networks``; else go on."""
    for network in networks:
        if network.version != 6:
            continue
        no = a.fresh()
        for at in range(4):
            bits = min(32, max(0, network.prefixlen - 32 * at))
            if not bits:
                break
            mask = (0xFFFFFFFF << (32 - bits)) & 0xFFFFFFFF
            a.op(LD_W_X, SOURCE + 4 * at)
            if bits < 32:
                a.op(AND, mask)
            a.if_equal(int(network.network_address) >> (96 - 32 * at) & mask, no=no)
        a.ret(PASS)
        a.label(no)
