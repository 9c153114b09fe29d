"""`beastack-vxlan-fdb`: static entries of a vxlan(4)'s forwarding table, which no program of the base system can set.

    beastack-vxlan-fdb INTERFACE add MAC ADDRESS [PORT]
    beastack-vxlan-fdb INTERFACE del MAC
    beastack-vxlan-fdb INTERFACE set MAC ADDRESS|- ...

``set`` makes it so whatever was there (port 4789; "-": no entry), for many at once: a process for each would cost more
than all the rest.

The layouts are those of sys/net/if_vxlan.h and sys/net/if.h (struct ifvxlancmd, struct ifdrv) on machines with 64-bit
little-endian pointers; their sizes, offsets and the request's number were printed by a C program on FreeBSD 15.1
(shared/freebsd/15.1/07-vxlan.txt) and are checked in the tests. Errors are told in the words of that program. Standard
library only. In a simulated host a program of the same name stands before this one.
"""

import ctypes
import fcntl
import ipaddress
import os
import re
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

NAME_BYTES = 16
# char ifd_name[16]; unsigned long ifd_cmd; size_t ifd_len; void *ifd_data
IFDRV = struct.Struct("<16sQQQ")
# flags, vni, timeout, max; port, port_min, port_max; mac; ttl; (3 bytes of padding) sockaddr; ifname
IFVXLANCMD = struct.Struct("<4I3H6sB3x28s16s")
MAC_AT, SOCKADDR_AT = 22, 32
# _IOW('i', 123, struct ifdrv)
SIOCSDRVSPEC = 0x80000000 | IFDRV.size << 16 | ord("i") << 8 | 123
ENTRY_ADD, ENTRY_REM = 13, 14
# FreeBSD's, whatever this is tested on
AF_INET, AF_INET6 = 2, 28
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
USAGE = """usage: beastack-vxlan-fdb interface add mac address [port]
       beastack-vxlan-fdb interface del mac
       beastack-vxlan-fdb interface set mac address|- ..."""


class BadEntry(ValueError):
    """What was given cannot be an entry; the text says which value."""


def sockaddr(address: str, port: int) -> bytes:
    """struct sockaddr_in or sockaddr_in6 as FreeBSD lays them out (with a length), padded to the union's 28 bytes.

    Raises BadEntry for what the kernel refuses: an unspecified or multicast address, a port out of range. Port 0 would
    mean the port of the tunnel's own destination: it is refused too, as that is where a flooder of ours may listen.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError as e:
        raise BadEntry(str(e)) from None
    if found.is_unspecified or found.is_multicast or "%" in address:
        raise BadEntry(f"{address} is no host's address")
    if not 0 < port <= 65535:
        raise BadEntry(f"port {port}")
    if found.version == 4:
        return struct.pack("<BB2s4s8x", 16, AF_INET, port.to_bytes(2, "big"), found.packed).ljust(28, b"\0")
    return struct.pack("<BB2s4x16s4x", 28, AF_INET6, port.to_bytes(2, "big"), found.packed)


def entry(mac: str, address: str | None = None, port: int = 4789) -> bytes:
    """struct ifvxlancmd for one entry; without an address, to remove it (the kernel looks at the MAC only).

    Raises BadEntry.
    """
    if _MAC.fullmatch(mac) is None or int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise BadEntry(f"{mac!r} is no station's MAC address")
    raw = bytes.fromhex(mac.replace(":", ""))
    where = sockaddr(address, port) if address is not None else bytes(28)
    return IFVXLANCMD.pack(0, 0, 0, 0, 0, 0, 0, raw, 0, where, b"")


def request(interface: str, command: int, length: int, pointer: int) -> bytes:
    """struct ifdrv. Raises BadEntry."""
    name = interface.encode()
    if not 0 < len(name) < NAME_BYTES or b"\0" in name:
        raise BadEntry(f"interface name {interface!r}")
    return IFDRV.pack(name, command, length, pointer)


def change(interface: str, command: int, data: bytes) -> None:
    """Run the ioctl. Raises OSError: EEXIST (add), ENOENT (del), ENXIO (no such interface), EPERM."""
    buffer = ctypes.create_string_buffer(data, len(data))
    argument = request(interface, command, len(data), ctypes.addressof(buffer))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        fcntl.ioctl(door, SIOCSDRVSPEC, argument)


def replace(interface: str, add: bytes | None, remove: bytes) -> None:
    """Make ``add`` the station's entry, or leave it none. Raises OSError: ENXIO, EPERM."""
    try:
        if add is not None:
            change(interface, ENTRY_ADD, add)
            return
    except FileExistsError:
        # the table cannot be read: there is no telling whether it is for this host
        pass
    with suppress(FileNotFoundError):
        change(interface, ENTRY_REM, remove)
    if add is not None:
        change(interface, ENTRY_ADD, add)


def _read(words: Sequence[str]) -> tuple[str, Callable[[], None]]:
    """The interface, and what is to be done. Raises BadEntry."""
    match list(words):
        case [interface, "set", *pairs] if pairs and len(pairs) % 2 == 0:
            steps = [
                (None if address == "-" else entry(mac, address), entry(mac))
                for mac, address in zip(pairs[::2], pairs[1::2], strict=True)
            ]

            def each() -> None:
                for add, remove in steps:
                    replace(interface, add, remove)

            return interface, each
        case [interface, "add", mac, address, *rest] if len(rest) <= 1:
            port = rest[0] if rest else "4789"
            if not (port.isascii() and port.isdecimal() and len(port) <= 5):
                raise BadEntry(f"port {port!r}")
            return interface, partial(change, interface, ENTRY_ADD, entry(mac, address, int(port)))
        case [interface, "del", mac]:
            return interface, partial(change, interface, ENTRY_REM, entry(mac))
    raise BadEntry(USAGE)


def main(words: Sequence[str] | None = None) -> int:
    """The program; exit status 0, 1 when the kernel refused, 64 for bad arguments, 69 where this is no FreeBSD."""
    try:
        interface, work = _read(sys.argv[1:] if words is None else words)
        request(interface, 0, 0, 0)
    except BadEntry as e:
        print(f"beastack-vxlan-fdb: {e}", file=sys.stderr)
        return 64
    if not sys.platform.startswith("freebsd") or struct.calcsize("P") != 8 or sys.byteorder != "little":
        print("beastack-vxlan-fdb: needs FreeBSD on a 64-bit little-endian machine", file=sys.stderr)
        return 69
    try:
        work()
    except OSError as e:
        print(f"vxlan-fdb: SIOCSDRVSPEC: {os.strerror(e.errno or 0)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
