"""Who is at the other end of a unix socket, as the kernel says it: unix(4) LOCAL_PEERCRED, or SO_PEERCRED of unix(7).

oslo.privsep's client listens and the helper connects, so what is read are the credentials of the client at its
listen(2). What the caller says of itself (environment, arguments, SUDO_USER) is asked nowhere.
"""

import socket
import struct
import sys
from dataclasses import dataclass

import psutil

from beastack.privsep.checks import Refused

# FreeBSD, sys/un.h: level and option; sys/ucred.h: struct xucred, whose last member is a union with a pointer
_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1
_XUCRED = struct.Struct("@IIh16IP")
_XUCRED_VERSION = 0
_PID = struct.Struct("@i")


@dataclass(frozen=True)
class Caller:
    """A client: number of its process (0: unknown), user and group ids, and the program that it runs."""

    pid: int
    uid: int
    gid: int
    program: str

    def __str__(self) -> str:
        return f"pid={self.pid} uid={self.uid} program={self.program}"


def parse_xucred(data: bytes) -> tuple[int, int, int]:
    """(pid, uid, gid) of a struct xucred. Raises Refused for another layout: then nobody is known."""
    if len(data) != _XUCRED.size:
        raise Refused(f"peer credentials: {len(data)} bytes instead of {_XUCRED.size}")
    version, uid, groups, gid, *_rest = _XUCRED.unpack(data)
    if version != _XUCRED_VERSION or groups < 1:
        raise Refused(f"peer credentials: version {version} with {groups} groups is not known")
    return _PID.unpack_from(data, _XUCRED.size - struct.calcsize("P"))[0], uid, gid


def credentials(sock: socket.socket) -> tuple[int, int, int]:
    """(pid, uid, gid) of the other end. Raises Refused where the kernel does not say it."""
    if sys.platform.startswith("freebsd"):
        return parse_xucred(sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size))
    if sys.platform.startswith("linux"):
        pid, uid, gid = struct.unpack("@iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid, uid, gid
    raise Refused(f"peer credentials: unknown on {sys.platform}")


def program(pid: int) -> str:
    """The executable of a process and its name, for the log; "unknown" when it cannot be told."""
    if pid <= 0:
        return "unknown"
    try:
        process = psutil.Process(pid)
        shown = f"{process.exe()}({process.name()})"
    except psutil.Error:
        return "unknown"
    return "".join(c if c.isprintable() and not c.isspace() else "?" for c in shown)[:200]


def caller(sock: socket.socket) -> Caller:
    """The client at the other end. Raises Refused."""
    pid, uid, gid = credentials(sock)
    return Caller(pid, uid, gid, program(pid))
