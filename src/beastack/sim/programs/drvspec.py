"""Owns what SIOCSDRVSPEC does on FreeBSD, for interfaces that no ioctl can reach here.

`drvspec INTERFACE COMMAND HEX`: HEX is the argument as a program on FreeBSD would hand it over (struct ifd_data).
`beastack-vxlan-fdb` is the program of freebsd/vxlan_ioctl.py with this in the place of its ioctl: the argument that it
lays out is the one that is read here.
"""

import errno

from beastack.freebsd.vxlan_ioctl import BadEntry, read_words
from beastack.sim.net.errors import Failed
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
        name, number, data = read_words(request.argv)
    except BadEntry as error:
        raise Failed(f"beastack-vxlan-fdb: {error}", 64) from None
    return _tell("vxlan-fdb", _set(request, name, number, data))


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
