"""Making and removing volumes, snapshots and clones (zfs(8); shared/freebsd/15.1/11-zfs.txt).

What is made carries the user property ``beastack:mark`` = ``KIND:ID`` from the command that makes it; what does not is
neither used nor destroyed (``NotOurs``). The mark must stand on the dataset itself: it is inherited by what is below,
and by snapshots, which are ours when what they show is. A volume never shrinks: zfs(8) would do it without a word.

Not built: `zfs send` to another host.
"""

import re
from contextlib import suppress

from beastack.freebsd.errors import DatasetExists, HostError, NoSuchDataset, NotOurs, UnexpectedOutput
from beastack.freebsd.host import Host
from beastack.freebsd.zfs_read import Dataset, fields, get_dataset

MARK = "beastack:mark"
# Seconds: making and destroying wait for the pool's disks.
LIMIT = 120.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*(/[A-Za-z0-9][A-Za-z0-9_.:-]*)*")
_SHORT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")
_WORTH = re.compile(r"[A-Za-z0-9_.-]+:[A-Za-z0-9_.-]+")
MAX_NAME = 255


class WouldShrink(HostError):
    """A volume is larger than it should become; shrinking it would cut off what is on it."""


class Differs(HostError):
    """A dataset of this name and mark exists and is another kind, size or clone than was asked for."""


def check_name(name: str) -> str:
    """The name of a file system or volume, or ValueError. No option and no snapshot can be meant by it."""
    if len(name) > MAX_NAME or _NAME.fullmatch(name) is None or ".." in name:
        raise ValueError(f"{name!r} is no name for a dataset")
    return name


def check_snapshot(name: str) -> str:
    """A snapshot's whole name, ``DATASET@SNAPSHOT``, or ValueError."""
    dataset, _, short = name.partition("@")
    check_name(dataset)
    if len(name) > MAX_NAME or _SHORT.fullmatch(short) is None:
        raise ValueError(f"{name!r} is no name for a snapshot")
    return name


def _mark(text: str) -> str:
    if _WORTH.fullmatch(text) is None:
        raise ValueError(f"mark {text!r} is not KIND:ID")
    return f"{MARK}={text}"


def find(host: Host, name: str) -> Dataset | None:
    """The dataset, or None when zfs(8) says that it does not exist."""
    try:
        return get_dataset(host, name)
    except NoSuchDataset:
        return None


def read_mark(host: Host, name: str) -> str | None:
    """The mark that stands on the dataset itself, or on what a snapshot shows. Raises NoSuchDataset."""
    dataset = name.partition("@")[0]
    done = host.run(["zfs", "get", "-Hp", "-o", "name,value,source", MARK, dataset])
    rows = fields(done.out, done.argv, 3)
    if len(rows) != 1 or rows[0][0] != dataset:
        raise UnexpectedOutput(done.argv, done.out, f"{MARK} of {dataset}")
    return rows[0][1] if rows[0][2] == "local" else None


def require_ours(host: Host, name: str) -> str:
    """The mark; raises NotOurs, NoSuchDataset."""
    mark = read_mark(host, name)
    if mark is None:
        raise NotOurs(f"dataset {name} exists and is not Beastack's (no {MARK} on it): left alone")
    return mark


def _make(host: Host, argv: list[str], wanted: Dataset, mark: str) -> None:
    """Make it, or see that what is there is what is wanted. Raises NotOurs, Differs and what zfs(8) refuses."""
    if find(host, wanted.name) is None:
        with suppress(DatasetExists):  # another caller was first: looked at below
            host.run(argv, timeout=LIMIT)
    found = get_dataset(host, wanted.name)
    if require_ours(host, wanted.name) != mark:
        raise NotOurs(f"dataset {wanted.name} exists and is marked as another's: left alone")
    sized = wanted.volsize is None or found.volsize == wanted.volsize
    if not sized or (found.kind, found.origin) != (wanted.kind, wanted.origin):
        raise Differs(f"dataset {wanted.name} exists and is {found}")


def ensure_filesystem(host: Host, name: str, mark: str) -> None:
    """A file system. Raises NoSuchDataset when its parent is missing."""
    wanted = Dataset(check_name(name), "filesystem", 0, 0, None, None)
    _make(host, ["zfs", "create", "-o", _mark(mark), name], wanted, mark)


def ensure_volume(host: Host, name: str, size: int, mark: str, sparse: bool = True) -> None:
    """A volume of ``size`` bytes (a whole number of 512-byte blocks), its device without partitions (volmode=dev).

    Raises OutOfSpace, NoSuchDataset when its parent is missing, Differs when it is there with another size.
    """
    if size <= 0 or size % 512:
        raise ValueError(f"a volume of {size} bytes")
    wanted = Dataset(check_name(name), "volume", 0, 0, size, None)
    options = ["-s"] if sparse else []
    _make(
        host, ["zfs", "create", *options, "-V", str(size), "-o", "volmode=dev", "-o", _mark(mark), name], wanted, mark
    )


def grow(host: Host, name: str, size: int) -> None:
    """Make a volume of ours ``size`` bytes large. Raises WouldShrink, NotOurs, OutOfSpace."""
    require_ours(host, check_name(name))
    now = get_dataset(host, name).volsize
    if now is None:
        raise Differs(f"dataset {name} is no volume")
    if size < now:
        raise WouldShrink(f"volume {name} has {now} bytes and would be cut to {size}")
    if size == now:
        return
    argv = ["zfs", "set", f"volsize={size}", name]
    host.run(argv, timeout=LIMIT)
    found = get_dataset(host, name).volsize
    if found != size:
        raise UnexpectedOutput(argv, str(found), f"volsize to read back as {size}")


def ensure_snapshot(host: Host, name: str) -> None:
    """A snapshot (``DATASET@SNAPSHOT``) of what is ours; one that is there is left as it is."""
    require_ours(host, check_snapshot(name))
    if find(host, name) is None:
        with suppress(DatasetExists):
            host.run(["zfs", "snapshot", name], timeout=LIMIT)


def ensure_clone(host: Host, snapshot: str, name: str, mark: str) -> None:
    """A volume that begins as a snapshot of ours and keeps it; it may have grown since.

    Raises Differs when it is of another snapshot.
    """
    require_ours(host, check_snapshot(snapshot))
    wanted = Dataset(check_name(name), "volume", 0, 0, None, snapshot)
    _make(host, ["zfs", "clone", "-o", "volmode=dev", "-o", _mark(mark), snapshot, name], wanted, mark)


def new_volume(host: Host, name: str, size: int, mark: str) -> None:
    """A sparse volume that is not there yet, as ``ensure_volume`` makes it. Raises DatasetExists, OutOfSpace."""
    argv = ["zfs", "create", "-s", "-V", str(size), "-o", "volmode=dev", "-o", _mark(mark), check_name(name)]
    host.run(argv, timeout=LIMIT)


def new_clone(host: Host, snapshot: str, name: str, mark: str, size: int = 0) -> None:
    """A clone that is not there yet, grown to ``size`` bytes (0: as it is): the few commands that a new disk costs.

    Raises DatasetExists, NotOurs, WouldShrink (nothing is left then).
    """
    require_ours(host, check_snapshot(snapshot))
    host.run(["zfs", "clone", "-o", "volmode=dev", "-o", _mark(mark), snapshot, check_name(name)], timeout=LIMIT)
    now = get_dataset(host, name).volsize
    if now is None or 0 < size < now:
        host.run(["zfs", "destroy", name], timeout=LIMIT)
        raise WouldShrink(f"volume {name} would have {now} bytes and be cut to {size}")
    if size > now:
        host.run(["zfs", "set", f"volsize={size}", name], timeout=LIMIT)


def destroy(host: Host, name: str) -> None:
    """Destroy one dataset or snapshot of ours, nothing below it; gone is fine. Raises HasDependants, NotOurs."""
    check_snapshot(name) if "@" in name else check_name(name)
    with suppress(NoSuchDataset):
        require_ours(host, name)
        host.run(["zfs", "destroy", name], timeout=LIMIT)


def rollback(host: Host, snapshot: str) -> None:
    """Bring a dataset of ours back to its newest snapshot. zfs(8) refuses when there are newer ones."""
    require_ours(host, check_snapshot(snapshot))
    host.run(["zfs", "rollback", snapshot], timeout=LIMIT)


def rename(host: Host, name: str, to: str) -> None:
    """Give a dataset of ours another name. Raises DatasetExists, NoSuchDataset."""
    require_ours(host, check_name(name))
    host.run(["zfs", "rename", name, check_name(to)], timeout=LIMIT)


def promote(host: Host, name: str) -> None:
    """Let a clone of ours hold the snapshot it came from, so that what it came from can go. Raises BadArgument."""
    require_ours(host, check_name(name))
    host.run(["zfs", "promote", name], timeout=LIMIT)


def device(name: str) -> str:
    """The path of a volume's device."""
    return f"/dev/zvol/{check_name(name)}"
