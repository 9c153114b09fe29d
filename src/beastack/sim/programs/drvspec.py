"""Owns what SIOCSDRVSPEC does on FreeBSD, for interfaces that no ioctl can reach here.

`drvspec INTERFACE COMMAND HEX`: HEX is the argument as a program on FreeBSD would hand it over (struct ifd_data).
`beastack-vxlan-fdb` stands for the program of that name, whose ioctl no Linux kernel has: the same words, the same
answers; that both lay out the same argument is checked by the tests.
"""

import errno
import ipaddress
import re

from beastack.sim.net.errors import Failed
from beastack.sim.net.vxlan import FTABLE_ADD, FTABLE_REMOVE, PORT, Peer, argument
from beastack.sim.programs.base import Reply, Request

_WORDS = {
    errno.ENXIO: "Device not configured",
    errno.EPERM: "Operation not permitted",
    errno.EEXIST: "File exists",
    errno.ENOENT: "No such file or directory",
    errno.EINVAL: "Invalid argument",
    errno.ENOSPC: "No space left on device",
    errno.EAFNOSUPPORT: "Address family not supported by protocol family",
}


def run(request: Request) -> Reply:
    try:
        name, command, text = request.argv
        number, data = int(command), bytes.fromhex(text)
    except ValueError:
        raise Failed("usage: drvspec interface command hexadecimal", 64) from None
    return _tell("drvspec", _set(request, name, number, data))


def fdb(request: Request) -> Reply:
    try:
        if request.argv[1:2] == ["set"]:
            return _tell("vxlan-fdb", _replace(request, request.argv[0], request.argv[2:]))
        name, number, data = _words(request.argv)
    except ValueError as error:
        raise Failed(f"beastack-vxlan-fdb: {error}", 64) from None
    return _tell("vxlan-fdb", _set(request, name, number, data))


def _replace(request: Request, name: str, words: list[str]) -> int:
    """`set MAC ADDRESS|- …`: whatever there was; nothing is done when a word is wrong."""
    if not words or len(words) % 2:
        raise ValueError("usage: beastack-vxlan-fdb interface set mac address|- ...")
    steps = []
    for mac, address in zip(words[::2], words[1::2], strict=True):
        steps.append(_words([name, "del", mac]))
        if address != "-":
            steps.append(_words([name, "add", mac, address]))
    for _, number, data in steps:
        reason = _set(request, name, number, data)
        if reason not in (0, errno.ENOENT if number == FTABLE_REMOVE else 0):
            return reason
    return 0


def _words(argv: list[str]) -> tuple[str, int, bytes]:
    match argv:
        case [name, "add", mac, address, *rest] if len(rest) <= 1:
            port = rest[0] if rest else str(PORT)
            if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) <= 65535:
                raise ValueError(f"port {port!r}")
            peer = ipaddress.ip_address(address)
            if peer.is_unspecified or peer.is_multicast:
                raise ValueError(f"{address} is no host's address")
            return name, FTABLE_ADD, argument(_mac(mac), Peer(peer, int(port)))
        case [name, "del", mac]:
            return name, FTABLE_REMOVE, argument(_mac(mac), None)
    raise ValueError("usage: beastack-vxlan-fdb interface add mac address [port] | del mac")


def _mac(text: str) -> bytes:
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", text):
        raise ValueError(f"{text!r} is no station's MAC address")
    return bytes.fromhex(text.replace(":", ""))


def _set(request: Request, name: str, number: int, data: bytes) -> int:
    interface = request.vnet.find(name)
    if interface is None:
        return errno.ENXIO
    if request.jail is not None and interface.home is not request.vnet:
        return errno.EPERM
    return errno.EINVAL if interface.vxlan is None else interface.vxlan.command(number, data)


def _tell(program: str, reason: int) -> Reply:
    if reason:
        raise Failed(f"{program}: SIOCSDRVSPEC: {_WORDS[reason]}")
    return Reply()
