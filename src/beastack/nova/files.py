"""Locks between processes and threads, and copies that keep holes."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK = 1 << 20


class LockTimeout(Exception):
    """Another one held the lock for too long."""


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold flock(2) on a file of its own, against other threads and processes alike; wait so long at most."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LockTimeout(f"{path}: not free within {seconds:.0f} s") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file to a new one, holes as holes (lseek(2) SEEK_DATA; copy_file_range(2) where there is
    one).
    """
    with open(source, "rb", buffering=0) as reader, open(target, "xb", buffering=0) as writer:
        os.fchmod(writer.fileno(), 0o600)
        size = os.fstat(reader.fileno()).st_size
        writer.truncate(size)
        for start, end in _data_ranges(reader.fileno(), size):
            _copy_range(reader.fileno(), writer.fileno(), start, end)


def _data_ranges(file: int, size: int) -> Iterator[tuple[int, int]]:
    end = 0
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            if error.errno in (errno.EINVAL, errno.ENOTTY):  # this file system knows no holes
                yield end, size
                return
            raise
        end = os.lseek(file, start, os.SEEK_HOLE)
        yield start, end


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    ranges = getattr(os, "copy_file_range", None)
    while start < end:
        wanted = min(_BLOCK * 64, end - start)
        if ranges is not None:
            try:
                done = ranges(source, target, wanted, start, start)
                start += done
                if done:
                    continue
            except OSError as error:
                if error.errno not in (
                    errno.EXDEV,
                    errno.EINVAL,
                    errno.ENOSYS,
                    errno.EOPNOTSUPP,
                    errno.EPERM,
                ):
                    raise
            ranges = None  # not between these file systems
        data = os.pread(source, min(_BLOCK, end - start), start)
        if not data:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        start += os.pwrite(target, data, start)
