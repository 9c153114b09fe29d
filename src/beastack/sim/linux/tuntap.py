"""Owns how a Linux TAP is opened: without packet information, with the virtio header, in the current namespace."""

import fcntl
import os
import struct

TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
TUNSETVNETHDRSZ = 0x400454D8
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
TUN_F_CSUM = 0x01
TUN_F_TSO4 = 0x02
TUN_F_TSO6 = 0x04

HEADER_SIZE = 10
READ_SIZE = 65536 + 64 + HEADER_SIZE


def open_tap(name: str, offload: bool) -> int:
    """A TAP of this name in the caller's network namespace; it vanishes when the descriptor is closed.

    With `offload` the kernel may hand over frames without checksum and TCP segments of up to 64 KB, described by
    the virtio header in front of each frame.
    """
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        request = struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
        fcntl.ioctl(fd, TUNSETIFF, request)
        fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", HEADER_SIZE))
        fcntl.ioctl(fd, TUNSETOFFLOAD, (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) if offload else 0)
    except OSError:
        os.close(fd)
        raise
    return fd
