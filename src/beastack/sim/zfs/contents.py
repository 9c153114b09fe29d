"""Owns the files behind volumes and their snapshots, and the nodes in /dev/zvol that lead to them."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
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
    """The same contents under another name: shared blocks where the file system can, holes kept in any case.

    A copy of blocks takes its time, and a snapshot is of one moment: who has the volume open stands still meanwhile.
    """
    name = secrets.token_hex(8)
    target = table.folder / "contents" / name
    command = ["/usr/bin/cp", "--reflink=auto", "--sparse=auto", "--", str(path(table, source)), str(target)]
    with still(holders(table, source) - {os.getpid()}):
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
    return bool(holders(table, dataset))


def holders(table: Table, dataset: Dataset) -> set[int]:
    """The processes that hold the volume open."""
    pids = set[int]()
    if dataset.kind != VOLUME or not dataset.content:
        return pids
    known = path(table, dataset).stat()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it has ended, or this one descriptor has
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    found = descriptor.stat()
                    if (found.st_dev, found.st_ino) == (known.st_dev, known.st_ino):
                        pids.add(int(process.name))
    return pids


def _stands(pid: int) -> bool:
    return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] in "Tt"


@contextlib.contextmanager
def still(pids: set[int]) -> Iterator[None]:
    """Processes stand still within; those that stood already are left alone. A child lets them go on, also when this
    process is killed.
    """
    moving = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if not _stands(pid):
                moving.append(os.pidfd_open(pid))
    if not moving:
        yield
        return
    kept, ours = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        os.read(kept, 1)  # until the other end is closed, however
        for each in moving:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(each, signal.SIGCONT)
        os._exit(0)
    os.close(kept)
    try:
        for each in moving:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(each, signal.SIGSTOP)
        yield
    finally:
        os.close(ours)
        os.waitpid(child, 0)
        for each in moving:
            os.close(each)


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
