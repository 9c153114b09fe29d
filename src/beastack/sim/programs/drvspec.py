"""Owns `drvspec INTERFACE COMMAND HEX`: what SIOCSDRVSPEC does on FreeBSD, for interfaces that no ioctl can reach here.

HEX is the argument as a program on FreeBSD would hand it over (struct ifd_data), so its layout is under test.
"""

import errno

from beastack.sim.net.errors import Failed
from beastack.sim.programs.base import Reply, Request

_WORDS = {
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
    interface = request.vnet.find(name)
    if interface is None:
        raise Failed("drvspec: SIOCSDRVSPEC: Device not configured")
    if request.jail is not None and interface.home is not request.vnet:
        raise Failed("drvspec: SIOCSDRVSPEC: Operation not permitted")
    if interface.vxlan is None:
        raise Failed("drvspec: SIOCSDRVSPEC: Invalid argument")
    reason = interface.vxlan.command(number, data)
    if reason:
        raise Failed(f"drvspec: SIOCSDRVSPEC: {_WORDS[reason]}")
    return Reply()
