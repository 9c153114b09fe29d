"""Disks as ZFS volumes, through the privileged side (beastack.privsep.volumes): clones, snapshots, no copies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beastack.freebsd import zfs
from beastack.nova.stores.base import CHUNK, Reader, Space, check_disk, is_zero
from beastack.privsep import volumes


class VolumeStore:
    """See beastack.nova.stores.base.DiskStore."""

    kind = "zfs"
    needs_hold = False

    def __init__(self, root: str) -> None:
        self._root = root

    def prepare(self) -> None:
        volumes.prepare_volumes()

    def _list(self, kind: str) -> list[dict[str, object]]:
        return [each for each in volumes.list_volumes() if each["kind"] == kind]

    # -- images

    def image_size(self, image_id: str) -> int | None:
        return volumes.image_volume(image_id) or None

    def take_image(self, image_id: str, raw: Path) -> None:
        with open(raw, "rb", buffering=0) as file:
            size = -(-os.fstat(file.fileno()).st_size // 512) * 512
            volumes.begin_image(image_id, size)
            place = 0
            while data := file.read(CHUNK):
                if not is_zero(data):
                    volumes.write_image(image_id, place, data)
                place += len(data)
        volumes.finish_image(image_id)
        raw.unlink()

    def images(self) -> list[str]:
        return sorted(str(each["id"]) for each in self._list("image"))

    def drop_image(self, image_id: str) -> bool:
        return volumes.remove_image(image_id)

    # -- disks

    def create(self, uuid: str, disk: str, size: int | None, image_id: str | None = None) -> None:
        volumes.make_guest_volume(uuid, disk, size or 0, image_id)

    def path(self, uuid: str, disk: str) -> str:
        return zfs.device(f"{self._root}/guests/{uuid}.{check_disk(disk)}")

    def disks(self, uuid: str) -> dict[str, int]:
        return dict(volumes.guest_volumes(uuid))

    def grow(self, uuid: str, disk: str, size: int) -> None:
        volumes.grow_guest_volume(uuid, disk, size)

    def remove(self, uuid: str, disk: str) -> None:
        volumes.remove_guest_volume(uuid, disk)

    def remove_all(self, uuid: str) -> None:
        volumes.remove_guest_volumes(uuid)

    # -- before a resize

    def keep(self, uuid: str) -> None:
        volumes.keep_guest_volumes(uuid)

    def restore(self, uuid: str) -> None:
        volumes.restore_guest_volumes(uuid)

    def forget(self, uuid: str) -> None:
        volumes.forget_guest_volumes(uuid)

    # -- reading and writing

    def export(self, uuid: str, disk: str, target: Path) -> None:
        with self.reading(uuid, disk) as (size, read), open(target, "xb", buffering=0) as file:
            os.fchmod(file.fileno(), 0o600)
            file.truncate(size)
            for place in range(0, size, CHUNK):
                data = read(place, min(CHUNK, size - place))
                if data:
                    file.seek(place)
                    file.write(data)

    @contextmanager
    def reading(self, uuid: str, disk: str) -> Iterator[tuple[int, Reader]]:
        """Of a snapshot: the guest may run."""
        size = volumes.freeze_guest_volume(uuid, disk)
        try:
            yield size, lambda offset, length: volumes.read_frozen_volume(uuid, disk, offset, length)
        finally:
            volumes.thaw_guest_volume(uuid, disk)

    def write(self, uuid: str, disk: str, offset: int, data: bytes) -> None:
        volumes.write_guest_volume(uuid, disk, offset, data)

    def space(self) -> Space:
        found, guests = volumes.volume_space(), self._list("guest")
        promised = sum(int(str(each["size"])) for each in guests)
        taken = sum(int(str(each["used"])) for each in guests)
        return Space(found["total"], found["free"], promised, taken)
