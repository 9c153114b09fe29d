"""Owns the system calls that Python 3.11 has no name for: unshare, setns, mount, sethostname."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, kind: int) -> None:
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), "setns")


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    result = _libc.mount(
        source.encode(),
        target.encode(),
        None if kind is None else kind.encode(),
        ctypes.c_ulong(flags),
        None if data is None else data.encode(),
    )
    _check(result, f"mount {target}")


def sethostname(name: str) -> None:
    raw = name.encode()
    _check(_libc.sethostname(raw, ctypes.c_size_t(len(raw))), "sethostname")


def new_namespace(kind: int, path: str, hostname: str | None = None) -> int:
    """A fresh namespace kept alive by the returned descriptor alone; the caller stays where it was."""
    own = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(kind)
        try:
            if hostname is not None:
                sethostname(hostname)
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            setns(own, kind)
    finally:
        os.close(own)


@contextmanager
def inside(fd: int, kind: int, home: int) -> Iterator[None]:
    """Run a block inside the namespace `fd` and come back to `home` whatever happens."""
    setns(fd, kind)
    try:
        yield
    finally:
        setns(home, kind)
