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
    LD_B,
    LD_H,
    LD_H_X,
    LD_IMM,
    LD_MEM,
    LD_W,
    LD_W_X,
    LDX_IHL,
    LDX_IMM,
    MAX_INSTRUCTIONS,
    PASS,
    ST,
    TAX,
    Assembler,
    BadProgram,
    Instruction,
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_ARP, _IP4, _IP6 = 0x0806, 0x0800, 0x86DD
_UDP, _ICMP6 = 17, 58
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _OPTIONS = 0, 43, 44, 60
_LISTENER = (130, 131, 132, 143)
_UNSPECIFIED_LISTENER = (131, 143)
_RA, _NS, _NA = 134, 135, 136
# Words of BPF's memory: the IPv4 address that is looked for, and which of the port's MACs sends.
_ADDRESS, _WHO = 0, 1
# A conditional jump reaches over so many addresses of 10 instructions each.
_NEAR = 20
# From an IPv6 header's source to the target of neighbour discovery behind it.
_SOURCE, _TARGET = 22, 62
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
    for ethertype, part, last in ((_ARP, _arp, four), (_IP4, _ip4, four), (_IP6, _ip6, six)):
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
            a.op(LD_W_X, _SOURCE + 4 * at)
            if bits < 32:
                a.op(AND, mask)
            a.if_equal(int(network.network_address) >> (96 - 32 * at) & mask, no=no)
        a.ret(PASS)
        a.label(no)


def _arp(a: Assembler, four: str) -> None:
    """Its sender speaks for itself; goes on with the address that it claims."""
    a.op(LD_W, 14)
    a.need_equal(0x00010800)
    a.op(LD_H, 18)
    a.need_equal(0x0604)
    for own, sender, size in ((6, 22, LD_W), (10, 26, LD_H)):
        on = a.fresh()
        a.op(size, own)
        a.op(TAX)
        a.op(size, sender)
        a.if_equal_x(yes=on)
        a.ret(DROP)
        a.label(on)
    request, claim = a.fresh(), a.fresh()
    a.op(LD_H, 20)
    a.if_equal(1, yes=request)
    a.need_equal(2)
    a.op(LD_W, 28)
    a.goto(claim)
    a.label(request)
    a.op(LD_W, 28)
    a.if_equal(0, no=claim)
    a.op(LD_W, 38)  # a probe: who is asked for counts
    a.label(claim)
    a.goto(four)


def _ip4(a: Assembler, four: str) -> None:
    addressed, sources = a.fresh(), a.fresh()
    a.op(LD_W, 30)  # a whole header, or the end
    a.op(LD_B, 14)
    a.op(AND, 0xF0)
    a.need_equal(0x40)
    a.op(LD_W, 26)
    a.if_equal(0, no=addressed)
    # from nowhere: a DHCP request to everybody and nothing else
    a.op(LD_W, 30)
    a.need_equal(0xFFFFFFFF)
    a.op(LD_B, 23)
    a.need_equal(_UDP)
    a.op(LD_H, 20)
    a.op(AND, 0x3FFF)
    a.need_equal(0)
    a.op(LDX_IHL, 14)
    a.op(LD_H_X, 14)
    a.need_equal(68)
    a.op(LD_H_X, 16)
    a.need_equal(67)
    a.ret(PASS)
    a.label(addressed)
    # no DHCP server; the ports of a later fragment are none
    a.op(LD_B, 23)
    a.if_equal(_UDP, no=sources)
    a.op(LD_H, 20)
    a.if_bits(0x1FFF, yes=sources)
    a.op(LDX_IHL, 14)
    a.op(LD_H_X, 16)
    a.if_equal(68, no=sources)
    a.ret(DROP)
    a.label(sources)
    a.op(LD_W, 26)
    a.goto(four)


def _ip6(a: Assembler, six: str) -> None:
    sources, addressed, target = a.fresh(), a.fresh(), a.fresh()
    a.op(LD_W, 50)  # a whole header, or the end
    a.op(LD_B, 14)
    a.op(AND, 0xF0)
    a.need_equal(0x60)
    for offset in (22, 26, 30, 34):
        a.op(LD_W, offset)
        a.if_equal(0, no=addressed)
    _from_nowhere(a, target)
    a.label(addressed)
    _headers(a, sources, target)
    a.label(target)
    a.op(LD_W, _TARGET + 12)  # a whole target, or the end
    a.op(LDX_IMM, _TARGET - _SOURCE)
    a.goto(six)
    a.label(sources)
    a.op(LDX_IMM, 0)
    a.goto(six)


def _from_nowhere(a: Assembler, target: str) -> None:
    """From :: to multicast: a neighbour solicitation (duplicate address detection) or a listener report."""
    report = a.fresh()
    a.op(LD_H, 38)
    a.need_equal(0xFF02)
    a.op(LD_B, 20)
    a.if_equal(_ICMP6, no=report)
    a.op(LD_B, 54)
    a.need_equal(_NS)
    a.goto(target)
    a.label(report)
    a.need_equal(_HOP_BY_HOP)
    _listener(a, _UNSPECIFIED_LISTENER, None)


def _listener(a: Assembler, kinds: Sequence[int], inside: str | None) -> None:
    """ICMPv6 of these types behind one short hop-by-hop header passes, or goes on to ``inside``; all else drops."""
    a.op(LD_H, 54)
    a.need_equal(_ICMP6 << 8)
    a.op(LD_B, 62)
    yes = a.fresh()
    for kind in kinds:
        a.if_equal(kind, yes=yes)
    a.ret(DROP)
    a.label(yes)
    if inside is None:
        a.ret(PASS)
    else:
        a.goto(inside)


def _headers(a: Assembler, sources: str, target: str) -> None:
    """What is behind the IPv6 header: drop what no guest may send, else go to ``sources``."""
    icmp, udp, fragment, hop = (a.fresh() for _ in range(4))
    a.op(LD_B, 20)
    a.if_equal(_ICMP6, yes=icmp)
    a.if_equal(_UDP, yes=udp)
    a.if_equal(_FRAGMENT, yes=fragment)
    a.if_equal(_HOP_BY_HOP, yes=hop)
    hidden = a.fresh()
    a.if_equal(_ROUTING, yes=hidden)
    a.if_equal(_OPTIONS, yes=hidden)
    a.goto(sources)
    a.label(hidden)
    a.ret(DROP)
    a.label(hop)
    _listener(a, _LISTENER, sources)
    a.label(fragment)
    # fragments of UDP, TCP and their like; never of ICMPv6 or further headers
    inner = a.fresh()
    a.op(LD_B, 54)
    for header in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _OPTIONS, _ICMP6):
        a.if_equal(header, yes=inner)
    first = a.fresh()
    a.if_equal(_UDP, yes=first)
    a.goto(sources)
    a.label(inner)
    a.ret(DROP)
    a.label(first)
    later = a.fresh()
    a.op(LD_H, 56)
    a.if_bits(0xFFF8, yes=later)
    _no_server(a, 62, later)
    a.label(later)
    a.goto(sources)
    a.label(udp)
    client = a.fresh()
    _no_server(a, 54, client)
    a.label(client)
    a.goto(sources)
    a.label(icmp)
    kind = a.fresh()
    a.op(LD_B, 54)
    a.if_equal(_RA, no=kind)
    a.ret(DROP)
    a.label(kind)
    advertised = a.fresh()
    a.if_equal(_NA, yes=advertised)
    a.goto(sources)
    a.label(advertised)
    a.goto(target)


def _no_server(a: Assembler, offset: int, client: str) -> None:
    """Drop what goes to a DHCPv6 client."""
    a.op(LD_H, offset + 2)
    a.if_equal(546, no=client)
    a.ret(DROP)
