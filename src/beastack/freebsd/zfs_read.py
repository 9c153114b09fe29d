"""Reading zfs(8) and zpool(8): listings with ``-Hp`` (tabs between fields, numbers in full, ``-`` for nothing).

Seen in shared/freebsd/15.1/11-zfs.txt. Every reader raises UnexpectedOutput for a line that it does not know.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from beastack.freebsd.errors import UnexpectedOutput
from beastack.freebsd.host import Host

DATASET_FIELDS = "name,type,used,refer,volsize,origin"
SNAPSHOT_FIELDS = "name,used,clones"
POOL_FIELDS = "name,size,alloc,free,health"
KINDS = ("filesystem", "volume", "snapshot")


@dataclass(frozen=True)
class Dataset:
    """A file system, volume or snapshot; sizes in bytes, ``volsize`` of a volume, ``origin`` of a clone."""

    name: str
    kind: str
    used: int
    referenced: int
    volsize: int | None
    origin: str | None


@dataclass(frozen=True)
class Snapshot:
    """A snapshot, what it alone holds (bytes) and the clones that hold it."""

    name: str
    used: int
    clones: tuple[str, ...]


@dataclass(frozen=True)
class Pool:
    """A pool; sizes in bytes, health as zpool(8) says it (ONLINE, DEGRADED, …)."""

    name: str
    size: int
    allocated: int
    free: int
    health: str


@dataclass(frozen=True)
class Space:
    """What a dataset uses and may still use, bytes (`-o space`)."""

    name: str
    available: int
    used: int
    by_snapshots: int
    by_itself: int
    by_reservation: int
    by_children: int


def fields(text: str, argv: Sequence[str], count: int) -> list[list[str]]:
    """Lines of exactly ``count`` fields, none of them empty. Raises UnexpectedOutput."""
    found = []
    # not splitlines(): a property's value may hold what Unicode takes for the end of a line
    for line in text.split("\n"):
        if not line:
            continue
        words = line.split("\t")
        if len(words) != count or not all(words):
            raise UnexpectedOutput(argv, line, f"{count} fields with tabs between them")
        found.append(words)
    if text and not text.endswith("\n"):
        raise UnexpectedOutput(argv, text[-200:], "whole lines")
    return found


def _number(text: str, argv: Sequence[str]) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 25):
        raise UnexpectedOutput(argv, text, "a number of bytes")
    return int(text)


def parse_datasets(text: str, argv: tuple[str, ...] = ("zfs", "list")) -> dict[str, Dataset]:
    """``zfs list -Hp -o name,type,used,refer,volsize,origin`` by name. Raises UnexpectedOutput."""
    found = {}
    for name, kind, used, referenced, volsize, origin in fields(text, argv, 6):
        if kind not in KINDS or (kind != "snapshot" and (kind == "volume") == (volsize == "-")):
            raise UnexpectedOutput(argv, f"{name} {kind} {volsize}", "a dataset, with a size if it is a volume")
        found[name] = Dataset(
            name,
            kind,
            _number(used, argv),
            _number(referenced, argv),
            None if volsize == "-" else _number(volsize, argv),
            None if origin == "-" else origin,
        )
    return found


def parse_snapshots(text: str, argv: tuple[str, ...] = ("zfs", "list")) -> dict[str, Snapshot]:
    """``zfs list -Hp -t snapshot -o name,used,clones`` by name; no clones are an empty field or ``-``.

    Raises UnexpectedOutput.
    """
    found = {}
    for line in text.split("\n"):
        if not line:
            continue
        words = line.split("\t")
        if len(words) != 3 or "@" not in words[0]:
            raise UnexpectedOutput(argv, line, "DATASET@SNAPSHOT, its size, its clones")
        clones = () if words[2] in ("", "-") else tuple(words[2].split(","))
        found[words[0]] = Snapshot(words[0], _number(words[1], argv), clones)
    return found


def parse_values(text: str, argv: tuple[str, ...] = ("zfs", "get")) -> dict[str, str | None]:
    """``zfs get -Hp -o name,value PROPERTY`` by name; None where it is not set."""
    return {name: None if value == "-" else value for name, value in fields(text, argv, 2)}


def parse_pools(text: str, argv: tuple[str, ...] = ("zpool", "list")) -> dict[str, Pool]:
    """``zpool list -Hp -o name,size,alloc,free,health`` by name."""
    return {
        name: Pool(name, _number(size, argv), _number(used, argv), _number(free, argv), health)
        for name, size, used, free, health in fields(text, argv, 5)
    }


def parse_space(text: str, argv: tuple[str, ...] = ("zfs", "list")) -> dict[str, Space]:
    """``zfs list -Hp -o space`` by name."""
    return {row[0]: Space(row[0], *(_number(word, argv) for word in row[1:])) for row in fields(text, argv, 7)}


def list_datasets(host: Host, below: str) -> dict[str, Dataset]:
    """File systems and volumes from ``below`` on. Raises NoSuchDataset."""
    done = host.run(["zfs", "list", "-Hp", "-o", DATASET_FIELDS, "-r", "-t", "filesystem,volume", below])
    return parse_datasets(done.out, done.argv)


def list_snapshots(host: Host, below: str) -> dict[str, Snapshot]:
    """Snapshots from ``below`` on. Raises NoSuchDataset."""
    done = host.run(["zfs", "list", "-Hp", "-t", "snapshot", "-o", SNAPSHOT_FIELDS, "-r", below])
    return parse_snapshots(done.out, done.argv)


def get_dataset(host: Host, name: str) -> Dataset:
    """One file system, volume or snapshot. Raises NoSuchDataset."""
    done = host.run(["zfs", "list", "-Hp", "-o", DATASET_FIELDS, "-t", "all", name])
    found = parse_datasets(done.out, done.argv)
    if set(found) != {name}:
        raise UnexpectedOutput(done.argv, done.out, f"{name} alone")
    return found[name]


def list_pools(host: Host) -> dict[str, Pool]:
    """Every pool."""
    done = host.run(["zpool", "list", "-Hp", "-o", POOL_FIELDS])
    return parse_pools(done.out, done.argv)


def read_space(host: Host, name: str) -> Space:
    """What a dataset uses and may still use. Raises NoSuchDataset."""
    done = host.run(["zfs", "list", "-Hp", "-o", "space", name])
    found = parse_space(done.out, done.argv)
    if set(found) != {name}:
        raise UnexpectedOutput(done.argv, done.out, f"{name} alone")
    return found[name]
