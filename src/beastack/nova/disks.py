"""The files of one instance: its root disk, its UEFI variables, its folder."""

import shutil
from pathlib import Path
from typing import Any

from beastack.nova import image_cache
from beastack.nova.files import copy_sparse
from nova import exception

ROOT, VARIABLES = "root.raw", "uefi-vars.fd"
GIB = 1 << 30


def create(context: Any, instance: Any, image: Any, instances: Path, variables: str) -> Path:
    """Make the instance's folder with everything that bhyve will open; an earlier, half-finished try is
    replaced.
    """
    root_gb = instance.flavor.root_gb
    base = image_cache.base_file(context, image, instances, root_gb * GIB if root_gb else None)
    folder = instances / str(instance.uuid)
    remove(folder)
    folder.mkdir(mode=0o711)
    root = folder / ROOT
    copy_sparse(base, root)
    if root_gb:
        with open(root, "r+b") as file:
            file.truncate(root_gb * GIB)  # base_file has checked that this is no less than it was
    copy_variables(folder, variables)
    return folder


def copy_variables(folder: Path, template: str) -> None:
    """The guest's own UEFI variables, from the template; kept when they are there."""
    target = folder / VARIABLES
    if target.exists():
        return
    try:
        copy_sparse(Path(template), target)
    except FileNotFoundError as error:
        raise exception.InstanceDeployFailure(reason=f"[beastack] bootrom_vars: {error}") from error


def remove(folder: Path) -> None:
    """Remove the folder and all in it; that it is gone is fine."""
    if folder.is_symlink():
        raise exception.InstanceDeployFailure(reason=f"{folder} is a symbolic link")
    if folder.exists():
        shutil.rmtree(folder)
