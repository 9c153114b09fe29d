"""Disks as plain raw files below the folder of the instances.

_base/IMAGE.raw          an image, read only by us
UUID/DISK.raw            a disk; a copy keeps holes and shares blocks where the file system can (reflinks, block
                         cloning: copy_file_range(2))
UUID/kept/DISK.raw       as it was before a resize
UUID/frozen-….raw        while a snapshot is read
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from beastack.nova.files import copy_sparse
from beastack.nova.stores.base import Reader, Space, StoreError, check_disk, is_zero

SUFFIX = ".raw"
KEPT = "kept"


class FileStore:
    """See beastack.nova.stores.base.DiskStore."""

    kind = "files"
    needs_hold = True

    def __init__(self, instances: Path) -> None:
        self._instances = instances
        self._base = instances / "_base"

    def _file(self, uuid: str, disk: str) -> Path:
        return self._instances / uuid / f"{check_disk(disk)}{SUFFIX}"

    def prepare(self) -> None:
        """The folder of the images."""
        self._base.mkdir(mode=0o700, exist_ok=True)

    # -- images

    def image_size(self, image_id: str) -> int | None:
        try:
            return (self._base / f"{image_id}{SUFFIX}").stat().st_size
        except FileNotFoundError:
            return None

    def take_image(self, image_id: str, raw: Path) -> None:
        raw.rename(self._base / f"{image_id}{SUFFIX}")

    def images(self) -> list[str]:
        return sorted(each.name.removesuffix(SUFFIX) for each in self._base.glob(f"*{SUFFIX}"))

    def drop_image(self, image_id: str) -> bool:
        (self._base / f"{image_id}{SUFFIX}").unlink(missing_ok=True)
        return True

    # -- disks

    def create(self, uuid: str, disk: str, size: int | None, image_id: str | None = None) -> None:
        target = self._file(uuid, disk)
        fresh = target.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        if image_id is not None:
            copy_sparse(self._base / f"{image_id}{SUFFIX}", fresh)
        else:
            os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _grow(fresh, size)
        fresh.rename(target)

    def path(self, uuid: str, disk: str) -> str:
        return str(self._file(uuid, disk))

    def disks(self, uuid: str) -> dict[str, int]:
        files = (self._instances / uuid).glob(f"*{SUFFIX}")
        return {each.name.removesuffix(SUFFIX): each.stat().st_size for each in files}

    def grow(self, uuid: str, disk: str, size: int) -> None:
        _grow(self._file(uuid, disk), size)

    def remove(self, uuid: str, disk: str) -> None:
        self._file(uuid, disk).unlink(missing_ok=True)

    def remove_all(self, uuid: str) -> None:
        folder = self._instances / uuid
        self.forget(uuid)
        for each in folder.glob(f"*{SUFFIX}"):
            each.unlink(missing_ok=True)

    # -- before a resize

    def keep(self, uuid: str) -> None:
        kept = self._instances / uuid / KEPT
        if kept.is_dir():
            return
        fresh = kept.with_name(f"{KEPT}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        for disk in self.disks(uuid):
            copy_sparse(self._file(uuid, disk), fresh / f"{disk}{SUFFIX}")
        fresh.rename(kept)

    def restore(self, uuid: str) -> None:
        kept = self._instances / uuid / KEPT
        if kept.is_dir():
            for each in kept.glob(f"*{SUFFIX}"):
                each.rename(kept.parent / each.name)
            kept.rmdir()

    def forget(self, uuid: str) -> None:
        for name in (KEPT, f"{KEPT}.new"):
            with suppress(FileNotFoundError):
                shutil.rmtree(self._instances / uuid / name)

    # -- reading and writing

    def export(self, uuid: str, disk: str, target: Path) -> None:
        copy_sparse(self._file(uuid, disk), target)

    @contextmanager
    def reading(self, uuid: str, disk: str) -> Iterator[tuple[int, Reader]]:
        with open(self._file(uuid, disk), "rb", buffering=0) as file:
            yield os.fstat(file.fileno()).st_size, _reader(file.fileno())

    def write(self, uuid: str, disk: str, offset: int, data: bytes) -> None:
        with open(self._file(uuid, disk), "r+b", buffering=0) as file:
            if offset + len(data) > os.fstat(file.fileno()).st_size:
                raise StoreError(f"{file.name}: {offset} + {len(data)} is behind its end")
            view, place = memoryview(data), offset
            while view:
                done = os.pwrite(file.fileno(), view, place)
                view, place = view[done:], place + done

    def space(self) -> Space:
        disk = os.statvfs(self._instances)
        promised = taken = 0
        for each in self._instances.glob(f"*-*/*{SUFFIX}"):
            with suppress(FileNotFoundError):  # removed meanwhile
                found = each.stat()
                promised, taken = promised + found.st_size, taken + found.st_blocks * 512
        return Space(disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize, promised, taken)


def _reader(descriptor: int) -> Reader:
    def read(offset: int, length: int) -> bytes:
        if _only_hole(descriptor, offset, length):
            return b""
        data = os.pread(descriptor, length, offset)
        return b"" if is_zero(data) else data

    return read


def _only_hole(descriptor: int, offset: int, length: int) -> bool:
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA) >= offset + length
    except OSError as error:
        return error.errno == errno.ENXIO  # no data from there on; other errors: this file system knows no holes


def _grow(path: Path, size: int | None) -> None:
    if size is None:
        return
    with open(path, "r+b") as file:
        now = os.fstat(file.fileno()).st_size
        if now > size:
            raise StoreError(f"{path}: has {now} bytes and would be cut to {size}")
        file.truncate(size)
