"""Disks of guests and images as ZFS volumes: the file systems, their names, their marks.

    [beastack] zfs_root        e.g. tank/beastack; the pool exists, the rest is made
    ROOT/images/IMAGE          a volume, with the snapshot @ready when it is whole (IMAGE.part before)
    ROOT/guests/UUID.DISK      a volume: a clone of an image, or empty; @kept while a resize may be taken back
    ROOT/guests/UUID.DISK.frozen   a clone of @frozen, for as long as somebody reads it

A caller names an image and a guest by their UUIDs and a disk by one of a few words; it never names a dataset. What does
not carry our mark is neither used nor destroyed (freebsd/zfs.py). Data crosses in pieces of at most ``CHUNK`` bytes.
"""

import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path

from oslo_config import cfg

from beastack.freebsd import zfs, zfs_read
from beastack.freebsd.errors import DatasetExists, HasDependants, NoSuchDataset
from beastack.freebsd.host import LocalHost
from beastack.privsep import checks, guest_conf
from beastack.privsep.context import entry, query

CHUNK = 4 << 20
MOST_BYTES = 1 << 46
_ROUND = 1 << 20
READY, KEPT, FROZEN = "ready", "kept", "frozen"
_DISK = re.compile(r"root|rescue|swap|ephemeral[0-9]")
_NODE_SECONDS = 20.0
HOST = LocalHost()
# Clones that were seen to be ours while they are read: a disk is thousands of pieces, and zfs(8) is a program.
_READING: set[str] = set()


def _root() -> str:
    name = guest_conf.register(cfg.CONF).zfs_root
    if not name:
        raise checks.Refused("[beastack] zfs_root is not set: there are no volumes")
    return zfs.check_name(name)


def _image(image_id: object) -> str:
    image = checks.uuid(image_id)
    return f"{_root()}/images/{image}"


def _disk(value: object) -> str:
    if not isinstance(value, str) or _DISK.fullmatch(value) is None:
        raise checks.Refused(f"disk: {value!r} is not one of {_DISK.pattern}")
    return value


def _guest(uuid: object, disk: object) -> str:
    checked, name = checks.uuid(uuid), _disk(disk)
    return f"{_root()}/guests/{checked}.{name}"


def _bytes(value: object, what: str) -> int:
    size = checks.number(value, 0, MOST_BYTES, what)
    if size % 512:
        raise checks.Refused(f"{what}: {size} is not a whole number of 512-byte blocks")
    return size


def _volume_size(value: object) -> int:
    """A size that is right for any block size: zfs(8) rounds up for a new volume and refuses for an old one."""
    return -(-_bytes(value, "size") // _ROUND) * _ROUND


def is_guest_volume(path: str, uuid: str) -> bool:
    """Whether ``path`` is the device of a volume of this guest, which exists and carries its mark."""
    if not guest_conf.register(cfg.CONF).zfs_root:
        return False
    head = zfs.device(f"{_root()}/guests/{checks.uuid(uuid)}.x").removesuffix("x")
    disk = path.removeprefix(head)
    if not path.startswith(head) or _DISK.fullmatch(disk) is None:
        return False
    with suppress(NoSuchDataset):
        return zfs.read_mark(HOST, f"{_root()}/guests/{uuid}.{disk}") == f"guest:{uuid}"
    return False


def _node(name: str) -> str:
    """The device of a volume; it comes a moment after the volume."""
    path, deadline = zfs.device(name), time.monotonic() + _NODE_SECONDS
    while True:
        try:
            kind = Path(path).stat().st_mode
            break
        except FileNotFoundError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path}: the device did not come within {_NODE_SECONDS:.0f} s") from None
            time.sleep(0.02)
    if stat.S_ISDIR(kind):
        raise checks.Refused(f"{path}: a folder")
    return path


def _write(name: str, offset: int, data: bytes) -> None:
    size = zfs_read.get_dataset(HOST, name).volsize or 0
    if offset + len(data) > size:
        raise checks.Refused(f"{name}: {offset} + {len(data)} is behind its end")
    descriptor = os.open(_node(name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            done = os.pwrite(descriptor, view, offset)
            view, offset = view[done:], offset + done
    finally:
        os.close(descriptor)


def _unclone(base: str, short: str, clone: str) -> None:
    _READING.discard(clone)
    zfs.destroy(HOST, clone)
    zfs.destroy(HOST, f"{base}@{short}")


@entry
def prepare_volumes() -> None:
    """Make the file systems below the configured name, and remove what a broken read left."""
    root = _root()
    _READING.clear()
    for name in (root, f"{root}/images", f"{root}/guests"):
        zfs.ensure_filesystem(HOST, name, "store:volumes")
    for name in zfs_read.list_datasets(HOST, f"{root}/guests"):
        if name.endswith(f".{FROZEN}"):
            _unclone(name.removesuffix(f".{FROZEN}"), FROZEN, name)


@query
def volume_space() -> dict[str, int]:
    """Bytes: ``total`` and ``free`` of the store."""
    space = zfs_read.read_space(HOST, _root())
    return {"total": space.available + space.used, "free": space.available}


@query
def list_volumes() -> list[dict[str, object]]:
    """Images that are ready and disks of guests: ``kind``, ``id``, ``disk``, ``size``, ``used`` (bytes)."""
    root, found = _root(), list[dict[str, object]]()
    ready = zfs_read.list_snapshots(HOST, root)
    for name, dataset in zfs_read.list_datasets(HOST, root).items():
        place, _, short = name.removeprefix(f"{root}/").partition("/")
        if dataset.volsize is None or place not in ("images", "guests"):
            continue
        uuid, _, disk = short.partition(".")
        if (place == "images" and (disk or f"{name}@{READY}" not in ready)) or disk.endswith(f".{FROZEN}"):
            continue
        kind = place.removesuffix("s")
        found.append({"kind": kind, "id": uuid, "disk": disk, "size": dataset.volsize, "used": dataset.used})
    return found


@query
def guest_volumes(uuid: str) -> dict[str, int]:
    """The disks of one guest: name and size in bytes."""
    head = f"{_root()}/guests/{checks.uuid(uuid)}."
    found = zfs_read.list_datasets(HOST, f"{_root()}/guests")
    return {
        name.removeprefix(head): dataset.volsize or 0
        for name, dataset in found.items()
        if name.startswith(head) and not name.endswith(f".{FROZEN}")
    }


# -- images


@query
def image_volume(image_id: str) -> int:
    """The size of an image that is ready (bytes), 0 when it is not here: it has its name only when it is whole."""
    found = zfs.find(HOST, _image(image_id))
    return 0 if found is None else found.volsize or 0


@entry
def begin_image(image_id: str, size: int) -> None:
    """An empty volume of ``size`` bytes for an image; what a broken try left is thrown away."""
    name, size = f"{_image(image_id)}.part", _volume_size(size)
    zfs.destroy(HOST, f"{name}@{READY}")
    zfs.destroy(HOST, name)
    zfs.ensure_volume(HOST, name, max(size, _ROUND), f"image:{image_id}")


@entry
def write_image(image_id: str, offset: int, data: bytes) -> None:
    """Write a piece of an image that was begun."""
    name, offset = f"{_image(image_id)}.part", _bytes(offset, "offset")
    _write(name, offset, checks.data(data, CHUNK))


@entry
def finish_image(image_id: str) -> None:
    """The image is whole: from now on it can be cloned and no more be written."""
    name = _image(image_id)
    zfs.ensure_snapshot(HOST, f"{name}.part@{READY}")
    zfs.rename(HOST, f"{name}.part", name)


@entry
def remove_image(image_id: str) -> bool:
    """Remove an image; False when disks are clones of it."""
    name = _image(image_id)
    try:
        zfs.destroy(HOST, f"{name}@{READY}")
    except HasDependants:
        return False
    zfs.destroy(HOST, name)
    return True


# -- disks


@entry
def make_guest_volume(uuid: str, disk: str, size: int, image_id: str | None) -> None:
    """A disk of ``size`` bytes, empty or cloned from an image that is no larger; 0: as large as the image."""
    name, size = _guest(uuid, disk), _volume_size(size)
    image = None if image_id is None else f"{_image(image_id)}@{READY}"
    try:
        _make(name, image, size, f"guest:{uuid}")
    except (DatasetExists, zfs.Differs):
        _remove(name)
        _make(name, image, size, f"guest:{uuid}")
    _node(name)


def _make(name: str, image: str | None, size: int, mark: str) -> None:
    if image is None:
        zfs.new_volume(HOST, name, max(size, _ROUND), mark)
    else:
        zfs.new_clone(HOST, image, name, mark, size)


@entry
def grow_guest_volume(uuid: str, disk: str, size: int) -> None:
    """Make a disk ``size`` bytes large; it never becomes smaller."""
    name, size = _guest(uuid, disk), _volume_size(size)
    zfs.grow(HOST, name, size)


def _remove(name: str) -> None:
    for short, clone in ((FROZEN, f"{name}.{FROZEN}"), (KEPT, "")):
        if clone:
            zfs.destroy(HOST, clone)
        zfs.destroy(HOST, f"{name}@{short}")
    zfs.destroy(HOST, name)


@entry
def remove_guest_volume(uuid: str, disk: str) -> None:
    """Remove a disk with its snapshots; gone is fine."""
    _remove(_guest(uuid, disk))


def _volumes(uuid: object) -> list[str]:
    head = f"{_root()}/guests/{checks.uuid(uuid)}."
    found = zfs_read.list_datasets(HOST, f"{_root()}/guests")
    return [name for name in found if name.startswith(head) and not name.endswith(f".{FROZEN}")]


@entry
def remove_guest_volumes(uuid: str) -> None:
    """Remove all disks of a guest."""
    for name in _volumes(uuid):
        _remove(name)


@entry
def keep_guest_volumes(uuid: str) -> None:
    """Remember the disks as they are; what was kept before stays."""
    for name in _volumes(uuid):
        zfs.ensure_snapshot(HOST, f"{name}@{KEPT}")


@entry
def restore_guest_volumes(uuid: str) -> None:
    """Bring back what was kept, and forget it. A disk that was made since then goes."""
    names = _volumes(uuid)
    shots = zfs_read.list_snapshots(HOST, f"{_root()}/guests")
    kept = [name for name in names if f"{name}@{KEPT}" in shots]
    for name in kept:
        zfs.rollback(HOST, f"{name}@{KEPT}")
        zfs.destroy(HOST, f"{name}@{KEPT}")


@entry
def forget_guest_volumes(uuid: str) -> None:
    """Forget what was kept."""
    for name in _volumes(uuid):
        zfs.destroy(HOST, f"{name}@{KEPT}")


# -- reading and writing


@entry
def freeze_guest_volume(uuid: str, disk: str) -> int:
    """Begin to read a disk as it is now (its guest may run on); its size in bytes."""
    name = _guest(uuid, disk)
    _unclone(name, FROZEN, f"{name}.{FROZEN}")
    zfs.ensure_snapshot(HOST, f"{name}@{FROZEN}")
    zfs.ensure_clone(HOST, f"{name}@{FROZEN}", f"{name}.{FROZEN}", f"guest:{uuid}")
    return zfs_read.get_dataset(HOST, name).volsize or 0


@query
def read_frozen_volume(uuid: str, disk: str, offset: int, length: int) -> bytes:
    """A piece of a frozen disk; no bytes when there are only zeros."""
    name, offset = f"{_guest(uuid, disk)}.{FROZEN}", _bytes(offset, "offset")
    length = checks.number(length, 1, CHUNK, "length")
    if name not in _READING:
        zfs.require_ours(HOST, name)
        _READING.add(name)
    descriptor = os.open(_node(name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)
    return b"" if data.count(0) == len(data) else data


@entry
def thaw_guest_volume(uuid: str, disk: str) -> None:
    """The end of reading."""
    name = _guest(uuid, disk)
    _unclone(name, FROZEN, f"{name}.{FROZEN}")


@entry
def write_guest_volume(uuid: str, disk: str, offset: int, data: bytes) -> None:
    """Write a piece of a disk, which comes from another host."""
    name, offset = _guest(uuid, disk), _bytes(offset, "offset")
    data = checks.data(data, CHUNK)
    zfs.require_ours(HOST, name)
    _write(name, offset, data)
