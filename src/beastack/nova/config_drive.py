"""The config drive: nova's metadata as an ISO 9660 image (Rock Ridge and Joliet) with the volume name config-2.

Written by pycdlib, so no program of the host's is needed; the layout is that of nova/virt/configdrive.py. A guest gets
it as a read-only virtio disk, and as a CD, too, when its image says that it can read one (hw_cdrom_bus=sata).
"""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pycdlib
from nova.api.metadata import base as metadata

from beastack.privsep.guest_files import write_whole
from nova.virt import configdrive

FILE = "config.iso"
VOLUME = "config-2"
_MOST = 64 << 20  # nova's own limit of a config drive (configdrive.py, CONFIGDRIVESIZE_BYTES)


def wanted(instance: Any) -> bool:
    """Whether the user, the image or nova.conf asks for one."""
    return bool(configdrive.required_by(instance))


def write(instance: Any, network_info: Any, injected_files: Any, admin_password: Any, folder: Path) -> None:
    """Write it into the instance's folder."""
    extra = {} if admin_password is None else {"admin_pass": admin_password}
    found = metadata.InstanceMetadata(instance, content=injected_files or [], extra_md=extra, network_info=network_info)
    data = image(found.metadata_for_config_drive())
    write_whole(folder / FILE, data, 0o600)


def image(files: Iterable[tuple[str, bytes | str]]) -> bytes:
    """The ISO image with these files; paths are relative, with slashes. ValueError when it becomes too large."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=4, joliet=3, rock_ridge="1.09", vol_ident=VOLUME)
    folders: set[str] = set()
    total = 0
    for path, content in files:
        data = content.encode() if isinstance(content, str) else content
        total += len(data)
        if total > _MOST:
            raise ValueError(f"the config drive would be larger than {_MOST} bytes")
        parts = [part for part in path.split("/") if part]
        for depth in range(1, len(parts)):
            folder = "/" + "/".join(parts[:depth])
            if folder not in folders:
                folders.add(folder)
                iso.add_directory(folder, rr_name=parts[depth - 1], joliet_path=folder)
        whole = "/" + "/".join(parts)
        iso.add_fp(io.BytesIO(data), len(data), whole, rr_name=parts[-1], joliet_path=whole)
    out = io.BytesIO()
    iso.write_fp(out)
    iso.close()
    return out.getvalue()
