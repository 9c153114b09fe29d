"""What a store of disks offers.

A disk belongs to a guest (UUID) and has a name (``root``, ``rescue``, ``swap``, ``ephemeral0``…). Everything may be
asked twice: making what is there or removing what is gone does nothing. A disk never becomes smaller, and what is on it
is never looked at: a guest wrote it.
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

ROOT, RESCUE, SWAP = "root", "rescue", "swap"
DISK = re.compile(r"root|rescue|swap|ephemeral[0-9]")
GIB = 1 << 30
CHUNK = 4 << 20
# read(offset, length) -> bytes; no bytes mean: nothing but zeros there
Reader = Callable[[int, int], bytes]


class StoreError(Exception):
    """The store cannot do this; the text says which disk and why."""


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes: the whole store, what is free, what the disks may take at most and what they take now."""

    total: int
    free: int
    promised: int
    taken: int


def check_disk(name: str) -> str:
    """A disk's name, or StoreError."""
    if DISK.fullmatch(name) is None:
        raise StoreError(f"{name!r} is no name of a disk")
    return name


class DiskStore(Protocol):
    """See the module. Sizes and offsets in bytes. Raises StoreError, OSError and what the privileged side refuses."""

    kind: str
    needs_hold: bool

    def prepare(self) -> None:
        """Make what the store needs on the host."""
        ...

    def image_size(self, image_id: str) -> int | None:
        """The size of an image that is ready to be cloned, None when it is not here."""
        ...

    def take_image(self, image_id: str, raw: Path) -> None:
        """Make a raw file the image; the file is gone afterwards."""
        ...

    def images(self) -> list[str]:
        """The images that are here."""
        ...

    def drop_image(self, image_id: str) -> bool:
        """Remove it; False when disks still need it."""
        ...

    def create(self, uuid: str, disk: str, size: int | None, image_id: str | None = None) -> None:
        """Make a disk: a copy of an image that grows to ``size``, or an empty one. What has the name goes before."""
        ...

    def path(self, uuid: str, disk: str) -> str:
        """What bhyve opens."""
        ...

    def disks(self, uuid: str) -> dict[str, int]:
        """Names and sizes of the guest's disks."""
        ...

    def grow(self, uuid: str, disk: str, size: int) -> None:
        """Make it ``size`` large. StoreError when it is larger."""
        ...

    def remove(self, uuid: str, disk: str) -> None:
        """Remove one disk."""
        ...

    def remove_all(self, uuid: str) -> None:
        """Remove the guest's disks, with what was kept."""
        ...

    def keep(self, uuid: str) -> None:
        """Remember the disks as they are, for ``restore``; what was kept before stays."""
        ...

    def restore(self, uuid: str) -> None:
        """Bring back what was kept, if anything was, and forget it."""
        ...

    def forget(self, uuid: str) -> None:
        """Forget what was kept."""
        ...

    def export(self, uuid: str, disk: str, target: Path) -> None:
        """Write the disk as it is now to a new raw file. The guest stands still meanwhile where ``needs_hold``."""
        ...

    def reading(self, uuid: str, disk: str) -> AbstractContextManager[tuple[int, Reader]]:
        """Size and reader of a disk of a guest that does not run."""
        ...

    def write(self, uuid: str, disk: str, offset: int, data: bytes) -> None:
        """Write to a disk of a guest that does not run."""
        ...

    def space(self) -> Space:
        """For nova's resources."""
        ...


def is_zero(data: bytes) -> bool:
    """Whether there is nothing but zeros."""
    return not data or (data[0] == 0 and data.count(0) == len(data))
