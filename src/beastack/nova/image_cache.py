"""Images of glance as disks to be cloned: fetched, checked and converted once per image, and removed when old.

The format is what glance declares, and the content must be of that format (oslo.utils' inspectors, which refuse backing
and data files). Where qemu-img converts, what it says must agree. A file that a guest could have written is never
looked at: only what came from glance is.

    _base/IMAGE.fetched, .converted   on the way
    _base/IMAGE.used                  its time is when the image was last needed
    _base/IMAGE.lock                  one makes, the others wait
"""

import os
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from oslo_log import log as logging

from beastack.nova.files import locked
from beastack.nova.stores.base import DiskStore
from nova import exception
from nova.virt import images

LOG = logging.getLogger(__name__)
FORMATS = ("raw", "qcow2")
_FETCH_SECONDS = 3600.0


def _unacceptable(image_id: str, reason: str) -> Exception:
    return exception.ImageUnacceptable(image_id=image_id, reason=reason)


def _check_size(size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise exception.FlavorDiskSmallerThanImage(flavor_size=limit, image_size=size)


class ImageCache:
    """The images of this host."""

    def __init__(self, store: DiskStore, instances: Path) -> None:
        self._store = store
        self._folder = instances / "_base"

    def ensure(self, context: Any, image_id: str, disk_format: str, limit: int | None) -> int:
        """Have the image in the store; its size (bytes), which is no more than ``limit``, the flavor's disk.

        Raises ImageUnacceptable, FlavorDiskSmallerThanImage.
        """
        if disk_format not in FORMATS:
            raise _unacceptable(image_id, f"disk format {disk_format!r} is not one of {', '.join(FORMATS)}")
        self._folder.mkdir(mode=0o700, exist_ok=True)
        with locked(self._folder / f"{image_id}.lock", _FETCH_SECONDS):
            self.touch(image_id)
            size = self._store.image_size(image_id)
            if size is None:
                size = self._make(context, image_id, disk_format, limit)
        _check_size(size, limit)
        return size

    def touch(self, image_id: str) -> None:
        """The image was needed now."""
        (self._folder / f"{image_id}.used").touch(mode=0o600)
        os.utime(self._folder / f"{image_id}.used")

    def _make(self, context: Any, image_id: str, disk_format: str, limit: int | None) -> int:
        fetched, converted = self._folder / f"{image_id}.fetched", self._folder / f"{image_id}.converted"
        try:
            images.fetch(context, image_id, str(fetched))
            _check_size(check(fetched, image_id, disk_format), limit)
            raw = fetched
            if disk_format != "raw":
                LOG.info("Converting image %s from %s to raw", image_id, disk_format)
                images.convert_image(str(fetched), str(converted), disk_format, "raw")
                raw = converted
            size = raw.stat().st_size
            self._store.take_image(image_id, raw)
            return size
        finally:
            fetched.unlink(missing_ok=True)
            converted.unlink(missing_ok=True)

    def age(self, used: Collection[str], oldest: float) -> list[str]:
        """Remove images that no instance of this host uses and that were not needed for ``oldest`` seconds; which."""
        gone = []
        for image_id in self._store.images():
            if image_id in used:
                self.touch(image_id)
                continue
            with locked(self._folder / f"{image_id}.lock", _FETCH_SECONDS):
                if time.time() - self._last_used(image_id) < oldest:
                    continue
                if self._store.drop_image(image_id):
                    (self._folder / f"{image_id}.used").unlink(missing_ok=True)
                    gone.append(image_id)
        return gone

    def _last_used(self, image_id: str) -> float:
        try:
            return (self._folder / f"{image_id}.used").stat().st_mtime
        except FileNotFoundError:  # from an older Beastack: its age begins now
            self.touch(image_id)
            return time.time()

    def sweep(self) -> None:
        """Have the folder, without what an ended nova-compute left. Only at the start, when nobody fetches."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for pattern in ("*.fetched", "*.converted", "*.snapshot*"):
            for each in self._folder.glob(pattern):
                with suppress(FileNotFoundError):
                    each.unlink()


def check(path: Path, image_id: str, declared: str) -> int:
    """The size (bytes) of the disk in a file from glance, or ImageUnacceptable."""
    images.do_image_deep_inspection({"disk_format": declared}, image_id, str(path))
    if declared == "raw":
        return path.stat().st_size
    try:
        found = images.qemu_img_info(str(path), format=declared)
    except exception.InvalidDiskInfo as error:
        raise _unacceptable(image_id, f"qemu-img cannot read it: {error}") from error
    if found.file_format != declared:
        raise _unacceptable(image_id, "qemu-img sees another format than glance declares")
    specific = found.format_specific if isinstance(found.format_specific, dict) else {}
    if found.backing_file is not None or specific.get("data", {}).get("data-file") is not None:
        raise _unacceptable(image_id, "it refers to another file")
    return int(found.virtual_size)
