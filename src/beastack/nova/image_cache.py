"""From a glance image to a raw file: fetched and converted once per image, `_base/<image id>.raw`.

The format is what glance declares, and the content must be of that format (nova/virt/images.py,
`do_image_deep_inspection`: oslo.utils' inspectors, which refuse backing and data files). What qemu-img says
must agree. A file that a guest could have written is never looked at.
"""

from pathlib import Path
from typing import Any

from oslo_log import log as logging

from beastack.nova.files import locked
from nova import exception
from nova.virt import images

LOG = logging.getLogger(__name__)
FORMATS = ("raw", "qcow2")
_FETCH_SECONDS = 3600.0


def _unacceptable(image: Any, reason: str) -> Exception:
    return exception.ImageUnacceptable(image_id=image.id, reason=reason)


def _check_size(size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise exception.FlavorDiskSmallerThanImage(flavor_size=limit, image_size=size)


def base_file(context: Any, image: Any, instances: Path, limit: int | None) -> Path:
    """The raw file of the image, made when it is not there. `limit`: bytes of the flavor's disk, None for
    no limit.
    """
    if image.disk_format not in FORMATS:
        raise _unacceptable(image, f"disk format {image.disk_format!r} is not one of {', '.join(FORMATS)}")
    folder = instances / "_base"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{image.id}.raw"
    with locked(folder / f"{image.id}.lock", _FETCH_SECONDS):
        if not path.exists():
            _make(context, image, path, limit)
    _check_size(path.stat().st_size, limit)
    return path


def _make(context: Any, image: Any, path: Path, limit: int | None) -> None:
    fetched, converted = path.with_suffix(".fetched"), path.with_suffix(".converted")
    try:
        images.fetch(context, image.id, str(fetched))
        declared = {"disk_format": image.disk_format}
        images.do_image_deep_inspection(declared, image.id, str(fetched))
        found = images.qemu_img_info(str(fetched), format=image.disk_format)
        if found.file_format != image.disk_format:
            raise _unacceptable(image, "qemu-img sees another format than glance declares")
        if found.backing_file is not None or _data_file(found) is not None:
            raise _unacceptable(image, "it refers to another file")
        _check_size(found.virtual_size, limit)
        if image.disk_format == "raw":
            fetched.rename(path)
            return
        LOG.info("Converting image %s from %s to raw", image.id, image.disk_format)
        images.convert_image(str(fetched), str(converted), image.disk_format, "raw")
        converted.rename(path)
    finally:
        fetched.unlink(missing_ok=True)
        converted.unlink(missing_ok=True)


def _data_file(found: Any) -> object:
    specific = found.format_specific or {}
    return specific.get("data", {}).get("data-file") if isinstance(specific, dict) else None
