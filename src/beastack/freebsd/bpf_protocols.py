"""What the guard demands of ARP, IPv4 and IPv6 before a frame's address is looked for (the reasons: bpf_guard.py).

Each writes instructions that drop the frame, pass it, or go on to a label with the address to look for: an IPv4 address
in A, an IPv6 address by X, its distance in bytes from a header's source (``SOURCE``). Offsets are those of an untagged
Ethernet frame (RFC 826, RFC 791, RFC 8200, RFC 4861).
"""

from collections.abc import Sequence

from beastack.freebsd.bpf import AND, DROP, LD_B, LD_H, LD_H_X, LD_W, LDX_IHL, LDX_IMM, PASS, TAX, Assembler

_UDP, _ICMP6 = 17, 58
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _OPTIONS = 0, 43, 44, 60
_LISTENER = (130, 131, 132, 143)
_UNSPECIFIED_LISTENER = (131, 143)
_RA, _NS, _NA = 134, 135, 136
# From an IPv6 header's source to the target of neighbour discovery behind it.
SOURCE, _TARGET = 22, 62


def arp(a: Assembler, four: str) -> None:
    """Its sender speaks for itself; goes on to ``four`` with the address that it claims."""
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


def ip4(a: Assembler, four: str) -> None:
    """A DHCP request from nowhere passes, what goes to a DHCP client drops; goes on to ``four`` with the source."""
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


def ip6(a: Assembler, six: str) -> None:
    """Its headers are looked at; goes on to ``six`` with the place of the source, or of what is asked for or told."""
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
    a.op(LDX_IMM, _TARGET - SOURCE)
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
