"""Owns the files behind volumes and their snapshots, and the nodes in /dev/zvol that lead to them."""

import contextlib
import os
import secrets
import shutil
import subprocess
from pathlib import Path

from beastack.sim.zfs.errors import Refused
from beastack.sim.zfs.properties import value
from beastack.sim.zfs.table import VOLUME, Dataset, Table, opened

NODES = Path("/dev/zvol")
_COPY_LIMIT = 600.0


def path(table: Table, dataset: Dataset) -> Path:
    return table.folder / "contents" / dataset.content


def make(table: Table, size: int) -> str:
    """An empty file of that size; its name."""
    name = secrets.token_hex(8)
    (table.folder / "contents").mkdir(mode=0o700, exist_ok=True)
    fd = os.open(table.folder / "contents" / name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(fd, size)
    finally:
        os.close(fd)
    return name


def copy(table: Table, source: Dataset) -> str:
    """The same contents under another name: shared blocks where the file system can, holes kept in any case."""
    name = secrets.token_hex(8)
    target = table.folder / "contents" / name
    command = ["/usr/bin/cp", "--reflink=auto", "--sparse=auto", "--", str(path(table, source)), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_COPY_LIMIT, check=False)
    if done.returncode:
        target.unlink(missing_ok=True)
        raise Refused(f"cannot copy '{source.name}': {done.stderr.strip()}")
    return name


def resize(table: Table, dataset: Dataset, size: int) -> None:
    os.truncate(path(table, dataset), size)


def drop(table: Table, dataset: Dataset) -> None:
    if dataset.content:
        path(table, dataset).unlink(missing_ok=True)


def occupied(table: Table, dataset: Dataset) -> int:
    """Bytes that the contents occupy."""
    if not dataset.content:
        return 0
    return path(table, dataset).stat().st_blocks * 512


def busy(table: Table, dataset: Dataset) -> bool:
    """Whether a process holds the volume open."""
    if dataset.kind != VOLUME:
        return False
    known = path(table, dataset).stat()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it has ended, or this one descriptor has
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    found = descriptor.stat()
                    if (found.st_dev, found.st_ino) == (known.st_dev, known.st_ino):
                        return True
    return False


def nodes(table: Table, root: Path = NODES) -> None:
    """Bring /dev/zvol in line with the table.

    A node is a link to a regular file, which a program may have cut short by opening it anew: the size is put right.
    """
    wanted = {}
    for one in table.datasets.values():
        if one.kind == VOLUME:
            size = int(value(table, one, "volsize"))
            if path(table, one).stat().st_size != size:
                resize(table, one, size)
            if value(table, one, "volmode") != "none":
                wanted[root / one.name] = path(table, one)
    if root.is_dir():
        for folder, _folders, files in os.walk(root, topdown=False):
            for name in files:
                node = Path(folder, name)
                if wanted.get(node) != node.readlink():
                    node.unlink()
            with contextlib.suppress(OSError):  # not empty
                Path(folder).rmdir()
    for node, target in wanted.items():
        if not node.is_symlink():
            node.parent.mkdir(parents=True, exist_ok=True)
            node.symlink_to(target)


def remove_all(table: Table) -> None:
    """Everything behind a table without datasets."""
    if not table.datasets:
        shutil.rmtree(table.folder / "contents", ignore_errors=True)


def put_right(directory: Path) -> None:
    """For who does not come through zfs(8): the nodes after the host's start, the sizes before a guest's."""
    if (directory / "zfs").is_dir():
        with opened(directory) as table:
            nodes(table)
