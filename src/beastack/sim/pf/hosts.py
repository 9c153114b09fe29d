"""Owns addresses, ports and protocols in rules and tables: `from 10.0.0.0/8 port { 22, 80:90 }` (pf.conf(5))."""

import ipaddress
from collections.abc import Callable
from typing import TypeVar

from beastack.sim.pf import names
from beastack.sim.pf.lexer import Cursor
from beastack.sim.pf.model import Addr, Port

T = TypeVar("T")


def listed(cursor: Cursor, one: Callable[[Cursor], T]) -> list[T]:
    """One item or `{ item, item … }`; the commas are optional."""
    if not cursor.accept("{"):
        return [one(cursor)]
    found = []
    while not cursor.accept("}"):
        found.append(one(cursor))
        cursor.accept(",")
    if not found:
        cursor.fail()
    return found


def _ip(text: str) -> tuple[int, int] | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (4 if address.version == 4 else 6), int(address)


def network(text: str, prefix: str | None) -> Addr | None:
    """An address with or without its prefix length; host bits are cleared, as pfctl does."""
    found = _ip(text)
    if found is None:
        return None
    af, value = found
    width = 32 if af == 4 else 128
    if prefix is None:
        bits = width
    elif prefix.isdigit() and int(prefix) <= width:
        bits = int(prefix)
    else:
        return None
    mask = ((1 << bits) - 1) << (width - bits)
    return Addr("net", af, value & mask, bits)


def table_member(text: str) -> Addr | None:
    """A table's member as given on a command line or in a file: `[!]address[/prefix]`."""
    neg = text.startswith("!")
    address, slash, prefix = text.removeprefix("!").strip().partition("/")
    found = network(address, prefix if slash else None)
    if found is not None:
        found.neg = neg
    return found


def host(cursor: Cursor) -> Addr:
    if cursor.accept("!"):
        negated = host(cursor)
        negated.neg = not negated.neg
        return negated
    if cursor.accept("<"):
        name = cursor.word()
        cursor.expect(">")
        if len(name) > 31:
            cursor.fail(f"table name '{name}' too long")
        return Addr("table", name=name)
    if cursor.accept("("):
        name = cursor.word()
        cursor.expect(")")
        return Addr("dyn", name=name)
    if cursor.accept("any"):
        return Addr()
    if cursor.peek() in ("no-route", "urpf-failed", "self"):
        cursor.fail(f"{cursor.peek()} is not simulated")
    text = cursor.word()
    if text.count(".") < 3 and text.replace(".", "").isdigit() and cursor.peek() == "/":
        text += ".0" * (3 - text.count("."))  # 10/8
    prefix = cursor.word() if cursor.accept("/") else None
    found = network(text, prefix)
    if found is None:
        cursor.fail(f"no IP address found for {text}" + (f"/{prefix}" if prefix is not None else ""))
    if prefix is None and cursor.accept("-"):
        last = _ip(cursor.word())
        if last is None or last[0] != found.af or last[1] < found.low:
            cursor.fail()
        return Addr("range", found.af, found.low, 0, last[1])
    if found.prefix == 0 and found.low == 0:
        return Addr("any", found.af)
    return found


def _port_number(cursor: Cursor, text: str) -> int:
    if text.isdigit():
        number = int(text)
        if number > 65535:
            cursor.fail(f"illegal port value {number}")
        return number
    found = names.service_port(text)
    if found is None:
        cursor.fail(f"unknown port {text}")
    return found


def port(cursor: Cursor) -> Port:
    op = cursor.accept("=", "!=", "<", "<=", ">", ">=") or "="
    text = cursor.word()
    low, colon, high = text.partition(":")
    if colon:
        if op != "=":
            cursor.fail()
        return Port(":", _port_number(cursor, low), _port_number(cursor, high))
    number = _port_number(cursor, text)
    between = cursor.accept("><", "<>") if op == "=" else ""
    if between:
        return Port(between, number, _port_number(cursor, cursor.word()))
    return Port(op, number)


def protocol(cursor: Cursor) -> int:
    text = cursor.word()
    if text.isdigit():
        number = int(text)
        if number > 255:
            cursor.fail("protocol outside range")
    else:
        named = names.protocol_number(text)
        if named is None:
            cursor.fail(f"unknown protocol {text}")
        number = named
    if number == 0:
        cursor.fail("protocol 0 cannot be used")
    return number


def icmp_type(cursor: Cursor, family: int) -> tuple[int, int]:
    """`echoreq`, `8`, `unreach code port-unr`: type and code, -1 for any code."""
    text = cursor.word()
    kind = int(text) if text.isdigit() else names.icmp_number(text, family)
    label = "icmp6" if family == 6 else "icmp"
    if kind is None:
        cursor.fail(f"unknown {label}-type {text}")
    if kind > 255:
        cursor.fail(f"illegal {label}-type {kind}")
    if not cursor.accept("code"):
        return kind, -1
    text = cursor.word()
    code = int(text) if text.isdigit() else names.icmp_code_number(kind, text, family)
    if code is None:
        cursor.fail(f"unknown {label}-code {text}")
    if code > 255:
        cursor.fail(f"illegal {label}-code {code}")
    return kind, code


def tcp_flags(cursor: Cursor) -> tuple[int, int]:
    if cursor.accept("any"):
        return 0, 0

    def mask(text: str) -> int:
        found = 0
        for letter in text:
            position = names.TCP_FLAGS.find(letter)
            if position < 0:
                cursor.fail(f"bad flags {text}")
            found |= 1 << position
        return found

    wanted = 0 if cursor.peek() == "/" else mask(cursor.word())
    considered = mask(cursor.word()) if cursor.accept("/") else 0xFF
    return wanted, considered
