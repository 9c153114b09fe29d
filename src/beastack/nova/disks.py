"""The disks of one instance: which it has, how they come to be, where the machine finds them.

Blank disks (ephemeral, swap) come without any file system: nothing here assumes the guest's system.
"""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beastack.freebsd import bhyve
from beastack.nova import config_drive
from beastack.nova.files import copy_sparse
from beastack.nova.image_cache import ImageCache
from beastack.nova.stores.base import GIB, RESCUE, ROOT, SWAP, DiskStore
from nova import exception
from nova.virt import driver as virt_driver

VARIABLES, RESCUE_VARIABLES = "uefi-vars.fd", "rescue-vars.fd"
MIB = 1 << 20
_FIRST_SLOT, _RESCUED_SLOT, _CONFIG_SLOT = 3, 11, 12
_MOST_EPHEMERALS = 6


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of cinder's on this host: its device here, its name in the guest (vdb)."""

    device: str
    name: str


def make_folder(instances: Path, uuid: str) -> Path:
    """The instance's folder, empty; what an earlier try left goes."""
    folder = instances / uuid
    remove_folder(folder)
    folder.mkdir(mode=0o711)
    return folder


def blanks(flavor: Any, block_device_info: Any) -> dict[str, int]:
    """Empty disks, name to size in bytes: what the request says, else what the flavor has."""
    asked = virt_driver.block_device_info_get_ephemerals(block_device_info)
    sizes = [int(each["size"]) for each in asked] or [int(flavor.ephemeral_gb or 0)]
    if len(sizes) > _MOST_EPHEMERALS:
        raise exception.InvalidBDMEphemeralSize()
    found = {f"ephemeral{n}": size * GIB for n, size in enumerate(sizes) if size}
    swap = virt_driver.block_device_info_get_swap(block_device_info)
    megabytes = int(swap["swap_size"]) if virt_driver.swap_is_usable(swap) else int(flavor.swap or 0)
    return {**found, SWAP: megabytes * MIB} if megabytes else found


def root_size(flavor: Any) -> int | None:
    """Bytes of the root disk; None means as large as the image."""
    return int(flavor.root_gb) * GIB if flavor.root_gb else None


def have_image(cache: ImageCache, context: Any, instance: Any, image: Any) -> None:
    """The image in the store, not larger than the root disk. Raises ImageUnacceptable, FlavorDiskSmallerThanImage."""
    cache.ensure(context, str(image.id), str(image.disk_format), root_size(instance.flavor))


def create(store: DiskStore, instance: Any, image: Any, bdi: Any) -> list[str]:
    """Root from the image that is there, and the blanks; their names. Raises StoreError."""
    uuid, size = str(instance.uuid), root_size(instance.flavor)
    store.create(uuid, ROOT, size, str(image.id))
    blank = blanks(instance.flavor, bdi)
    for name, length in blank.items():
        store.create(uuid, name, length)
    return [ROOT, *blank]


def fit(store: DiskStore, instance: Any, bdi: Any) -> None:
    """After a resize: every disk as large as the flavor says. Swap is made anew when it is smaller now."""
    uuid = str(instance.uuid)
    have, wanted = store.disks(uuid), blanks(instance.flavor, bdi)
    size = root_size(instance.flavor)
    if size is not None and size > have.get(ROOT, size):
        store.grow(uuid, ROOT, size)
    for name, blank in wanted.items():
        if name not in have or (name == SWAP and blank < have[name]):
            store.create(uuid, name, blank)
        elif blank > have[name]:
            store.grow(uuid, name, blank)


def check_resize(old: Any, new: Any) -> None:
    """Refuse a flavor with which a disk would become smaller: what is on it would be cut off."""
    for what in ("root_gb", "ephemeral_gb"):
        before, after = int(getattr(old, what) or 0), int(getattr(new, what) or 0)
        if after < before and (after or what == "ephemeral_gb"):
            words = f"{what} would become smaller ({before} to {after} GiB); disks never shrink"
            raise exception.InstanceFaultRollback(exception.ResizeError(reason=words))


def layout(
    store: DiskStore, have: Collection[str], folder: Path, kind: bhyve.DiskKind, volumes: Sequence[Volume] = ()
) -> tuple[bhyve.Disk, ...]:
    """The machine's disks, the one to boot from first and in the first place: root, or while the guest is rescued the
    rescue disk. Every other one keeps its place when another comes or goes.
    """
    uuid = folder.name
    blank = [*sorted(name for name in have if name.startswith("ephemeral")), *([SWAP] if SWAP in have else [])]
    places = {ROOT: _FIRST_SLOT, **{name: _FIRST_SLOT + 1 + n for n, name in enumerate(blank)}}
    if RESCUE in have:
        places = {RESCUE: _FIRST_SLOT, **places, ROOT: _RESCUED_SLOT}
    found = [bhyve.Disk(store.path(uuid, name), kind, slot=slot) for name, slot in places.items()]
    free = list(range(_RESCUED_SLOT - 1, _FIRST_SLOT + len(blank), -1))
    for volume in sorted(volumes, key=lambda each: each.name):
        wished = _RESCUED_SLOT - 1 - (ord(volume.name[-1]) - ord("b")) % len("bcdefghi")
        if not free:
            raise exception.BuildAbortException(instance_uuid=uuid, reason="more disks than the machine has places for")
        slot = wished if wished in free else free[0]
        free.remove(slot)
        found.append(bhyve.Disk(volume.device, bhyve.DiskKind.VIRTIO, slot=slot))
    if (folder / config_drive.FILE).is_file():
        drive = str(folder / config_drive.FILE)
        found.append(bhyve.Disk(drive, bhyve.DiskKind.VIRTIO, read_only=True, slot=_CONFIG_SLOT))
    return tuple(found)


def variables(have: Collection[str], folder: Path) -> Path:
    """The guest's UEFI variables. A rescued guest has others: its own name its own root as what to boot from."""
    return folder / (RESCUE_VARIABLES if RESCUE in have else VARIABLES)


def copy_variables(target: Path, template: str) -> None:
    """The guest's own UEFI variables, from the template; kept when they are there."""
    if target.exists():
        return
    fresh = target.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    try:
        copy_sparse(Path(template), fresh)
    except FileNotFoundError as error:
        raise exception.InstanceDeployFailure(reason=f"[beastack] bootrom_vars: {error}") from error
    fresh.rename(target)


def remove_folder(folder: Path) -> None:
    """Remove the folder and all in it; that it is gone is fine."""
    if folder.is_symlink():
        raise exception.InstanceDeployFailure(reason=f"{folder} is a symbolic link")
    if folder.exists():
        shutil.rmtree(folder)
