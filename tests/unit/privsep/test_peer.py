"""Peer credentials: the kernel's words, FreeBSD's struct as it is laid out on amd64 and arm64, and real sockets."""

import os
import socket
import struct
import sys
from pathlib import Path

import pytest

from beastack.privsep import peer
from beastack.privsep.checks import Refused


def xucred(version: int = 0, uid: int = 1001, groups: int = 2, pid: int = 4242) -> bytes:
    """sys/ucred.h, LP64: version, uid, number of groups, two bytes, 16 groups, four bytes, pid in a pointer's place."""
    head = struct.pack("<IIhxx16I", version, uid, groups, 20, 30, *[0] * 14)
    return head + b"\0" * 4 + struct.pack("<ixxxx", pid)


def test_freebsds_struct_is_read() -> None:
    assert len(xucred()) == 88
    assert peer.parse_xucred(xucred()) == (4242, 1001, 20)


@pytest.mark.parametrize("data", [b"", xucred()[:84], xucred() + b"\0", xucred(version=1), xucred(groups=0)])
def test_another_layout_is_nobody(data: bytes) -> None:
    with pytest.raises(Refused, match="peer credentials"):
        peer.parse_xucred(data)


def test_the_kernel_names_the_listener(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "s"))
        listener.listen(1)
        client.connect(str(tmp_path / "s"))
        found = peer.caller(client)
    assert (found.pid, found.uid, found.gid) == (os.getpid(), os.getuid(), os.getgid())
    assert found.program.startswith(str(Path(sys.executable).resolve()))


def test_a_program_that_is_not_seen_is_unknown() -> None:
    assert peer.program(0) == "unknown"
    assert peer.program(2**22 + 12345) == "unknown"


def test_an_unknown_system_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    a, b = socket.socketpair()
    with a, b, pytest.raises(Refused):
        peer.credentials(a)
