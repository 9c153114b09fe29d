"""Owns the host's table of pools and datasets: DIR/zfs/table.json, changed under a lock and replaced in one step."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from beastack.sim.zfs.errors import missing

FILESYSTEM, VOLUME, SNAPSHOT = "filesystem", "volume", "snapshot"


@dataclass
class Dataset:
    """One file system, volume or snapshot. `content` names the file of a volume or of its snapshot ("" for others)."""

    name: str
    kind: str
    txg: int
    created: int
    content: str = ""
    origin: str = ""
    local: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The dataset of a snapshot; its own name for others."""
        return self.name.partition("@")[0]

    @property
    def pool(self) -> str:
        return self.base.partition("/")[0]

    @property
    def order(self) -> tuple[str, bool, int]:
        """By name, the snapshots of one dataset after it and by age."""
        return self.base, self.kind == SNAPSHOT, self.txg


@dataclass
class Pool:
    """`size` in bytes is what its devices give."""

    name: str
    size: int
    devices: list[str]


@dataclass
class Table:
    folder: Path
    pools: dict[str, Pool] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    txg: int = 4

    def add(self, name: str, kind: str, content: str = "", origin: str = "") -> Dataset:
        self.txg += 1
        made = self.datasets[name] = Dataset(name, kind, self.txg, int(time.time()), content, origin)
        return made

    def get(self, name: str) -> Dataset:
        """Raises Refused when it is not there."""
        if name not in self.datasets:
            raise missing(name)
        return self.datasets[name]

    def sorted(self) -> list[Dataset]:
        return sorted(self.datasets.values(), key=lambda one: one.order)

    def snapshots(self, name: str) -> list[Dataset]:
        """Oldest first."""
        return [one for one in self.sorted() if one.kind == SNAPSHOT and one.base == name]

    def below(self, name: str) -> list[Dataset]:
        """All datasets and snapshots below a dataset, without itself."""
        return [one for one in self.sorted() if one.name.startswith((f"{name}/", f"{name}@"))]

    def clones(self, snapshot: str) -> list[Dataset]:
        return sorted((one for one in self.datasets.values() if one.origin == snapshot), key=lambda one: one.txg)

    def parent(self, dataset: Dataset) -> Dataset | None:
        """Where it inherits from: a snapshot's own dataset, or the one above."""
        if dataset.kind == SNAPSHOT:
            return self.datasets.get(dataset.base)
        return self.datasets.get(dataset.name.rpartition("/")[0])

    def rename(self, old: str, new: str) -> None:
        """The dataset with all below it, and every clone's word of its origin."""

        def renamed(name: str) -> str:
            own = name == old or name.startswith((f"{old}/", f"{old}@"))
            return new + name[len(old) :] if own else name

        for one in self.datasets.values():
            one.name, one.origin = renamed(one.name), renamed(one.origin)
        self.datasets = {one.name: one for one in self.datasets.values()}


def _read(folder: Path) -> Table:
    try:
        raw = json.loads((folder / "table.json").read_text())
    except FileNotFoundError:
        return Table(folder)
    return Table(
        folder,
        {one["name"]: Pool(**one) for one in raw["pools"]},
        {one["name"]: Dataset(**one) for one in raw["datasets"]},
        raw["txg"],
    )


def _write(table: Table) -> None:
    text = json.dumps(
        {
            "pools": [asdict(one) for one in table.pools.values()],
            "datasets": [asdict(one) for one in table.datasets.values()],
            "txg": table.txg,
        }
    )
    new = table.folder / ".table.json"
    new.write_text(text)
    new.replace(table.folder / "table.json")


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[Table]:
    """The table of a host for one command; written back when the block ends without an error."""
    folder = directory / "zfs"
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        table = _read(folder)
        yield table
        _write(table)
    finally:
        os.close(lock)
