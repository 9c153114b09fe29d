"""ZFS by the words of 11-zfs, and by a small pool that behaves as those words say."""

from collections.abc import Sequence

import pytest
from tests.unit.freebsd.recorded import recorded

from beastack.freebsd import zfs, zfs_read
from beastack.freebsd.errors import (
    CommandTimedOut,
    HasDependants,
    HostError,
    NoSuchDataset,
    NotOurs,
    OutOfSpace,
    UnexpectedOutput,
    failure,
)
from beastack.freebsd.host import Completed, JailHost
from beastack.freebsd.zfs_read import Dataset, Pool, Snapshot, Space

STEPS = recorded("11-zfs.txt")
MIB = 1 << 20


def said(command: str) -> str:
    return next(s.output for s in STEPS if s.command == command)


def test_recorded_listings() -> None:
    found = zfs_read.parse_datasets(said("zfs list -Hp -o name,type,used,refer,volsize,origin -r vms"))
    assert len(found) == 7
    assert found["vms"] == Dataset("vms", "filesystem", 8713728, 24576, None, None)
    assert found["vms/images/img1"].volsize == 64 * MIB
    assert found["vms/instances/abc/disk"].origin == "vms/images/img1@ready"
    assert zfs_read.parse_snapshots(said("zfs list -Hp -t snapshot -o name,used,clones -r vms")) == {
        "vms/images/img1@ready": Snapshot(
            "vms/images/img1@ready", 0, ("vms/instances/abc/disk", "vms/instances/abc/disk2")
        )
    }
    values = zfs_read.parse_values(said("zfs get -Hp -o name,value beastack:image -r vms"))
    assert values["vms/images/img1"] == "1234"
    assert values["vms/instances/abc/disk"] is None
    assert len(values) == 8
    assert zfs_read.parse_pools(said("zpool list -Hp -o name,size,alloc,free,health")) == {
        "vms": Pool("vms", 603979776, 168448, 603811328, "ONLINE")
    }
    assert zfs_read.parse_space(said("zfs list -Hp -o space vms")) == {
        "vms": Space("vms", 452599808, 17162240, 0, 24576, 0, 17137664)
    }
    assert zfs_read.parse_snapshots("p/a@s\t0\t\np/b@s\t5\t-\n")["p/a@s"].clones == ()


@pytest.mark.parametrize(
    "text",
    ["vms\tfilesystem\t1\t2\t-\n", "vms\tvolume\t1\t2\t-\t-\n", "vms\tfilesystem\t1\t2\t3\t-\n",
     "vms\tother\t1\t2\t-\t-\n", "vms\tfilesystem\tx\t2\t-\t-\n", "vms\tfilesystem\t1\t2\t-\t-", "no tabs\n",
     "vms\tfilesystem\t1\t\t-\t-\n", "vms\tfilesystem\t1.5K\t2\t-\t-\n"],
)  # fmt: skip
def test_listings_that_are_not_understood(text: str) -> None:
    with pytest.raises(UnexpectedOutput):
        zfs_read.parse_datasets(text)


class Zpool:
    """The pool of 11-zfs as far as these tests go: datasets with properties, and the recorded refusals."""

    def __init__(self) -> None:
        self.sets: dict[str, dict[str, str]] = {"vms": {"type": "filesystem"}, "vms/images": {"type": "filesystem"}}
        self.ran: list[str] = []
        self.silent: str | None = None

    def jail(self, name: str) -> JailHost:
        return JailHost(self, name)

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = 20.0, check: bool = True
    ) -> Completed:
        self.ran.append(" ".join(argv))
        if self.silent is not None and self.silent in self.ran[-1]:
            raise CommandTimedOut(argv, timeout)
        out, err = getattr(self, f"_{argv[1]}")(list(argv[2:]))
        if err:
            raise failure(argv, 1, out, err + "\n")
        return Completed(tuple(argv), 0, out, err)

    def _absent(self, name: str) -> tuple[str, str]:
        return "", f"cannot open '{name}': dataset does not exist"

    def _list(self, words: list[str]) -> tuple[str, str]:
        name = words[-1]
        if name not in self.sets:
            return self._absent(name)
        one = self.sets[name]
        row = [name, one["type"], "1", "2", one.get("volsize", "-"), one.get("origin", "-")]
        return "\t".join(row) + "\n", ""

    def _get(self, words: list[str]) -> tuple[str, str]:
        name, key = words[-1], words[-2]
        if name not in self.sets:
            return self._absent(name)
        above = name
        while above and key not in self.sets.get(above, {}):
            above = above.rpartition("/")[0]
        if not above:
            return f"{name}\t-\t-\n", ""
        source = "local" if above == name else f"inherited from {above}"
        return f"{name}\t{self.sets[above][key]}\t{source}\n", ""

    def _make(self, words: list[str], verb: str, values: dict[str, str]) -> tuple[str, str]:
        name = words[-1]
        values |= dict(w.split("=") for n, w in enumerate(words) if n and words[n - 1] == "-o")
        if name in self.sets:
            return "", f"cannot {verb} '{name}': dataset already exists"
        if name.rpartition("/")[0] not in self.sets:
            return "", f"cannot {verb} '{name}': parent does not exist"
        if int(values.get("volsize", 0)) > 800 * MIB:
            return "", f"cannot {verb} '{name}': out of space"
        self.sets[name] = values
        return "", ""

    def _create(self, words: list[str]) -> tuple[str, str]:
        if "-V" in words:
            return self._make(words, "create", {"type": "volume", "volsize": words[words.index("-V") + 1]})
        return self._make(words, "create", {"type": "filesystem"})

    def _clone(self, words: list[str]) -> tuple[str, str]:
        size = self.sets[words[-2].partition("@")[0]]["volsize"]
        return self._make(words, "create", {"type": "volume", "volsize": size, "origin": words[-2]})

    def _snapshot(self, words: list[str]) -> tuple[str, str]:
        if words[0] in self.sets:
            return "", f"cannot create snapshot '{words[0]}': dataset already exists"
        self.sets[words[0]] = {"type": "snapshot", "volsize": self.sets[words[0].partition("@")[0]]["volsize"]}
        return "", ""

    def _set(self, words: list[str]) -> tuple[str, str]:
        key, _, value = words[0].partition("=")
        self.sets[words[1]][key] = value
        return "", ""

    def _destroy(self, words: list[str]) -> tuple[str, str]:
        name = words[0]
        if name not in self.sets:
            return self._absent(name)
        clones = [n for n, one in self.sets.items() if one.get("origin") == name]
        below = [n for n in self.sets if n.startswith((name + "/", name + "@"))]
        if clones or below:
            kind = "snapshot has dependent clones" if clones else "volume has children"
            return "", "\n".join(
                [f"cannot destroy '{name}': {kind}", "use '-r' to destroy the following datasets:", *(clones or below)]
            )
        del self.sets[name]
        return "", ""

    def _rename(self, words: list[str]) -> tuple[str, str]:
        self.sets[words[1]] = self.sets.pop(words[0])
        return "", ""

    def _rollback(self, words: list[str]) -> tuple[str, str]:
        return "", ""

    def _promote(self, words: list[str]) -> tuple[str, str]:
        return "", "" if "origin" in self.sets[words[0]] else f"cannot promote '{words[0]}': not a cloned filesystem"


IMG, DISK = "vms/images/img1", "vms/images/disk1"


def test_volumes_snapshots_and_clones() -> None:
    pool = Zpool()
    for _ in range(2):
        zfs.ensure_volume(pool, IMG, 64 * MIB, "image:1")
        zfs.ensure_snapshot(pool, f"{IMG}@ready")
        zfs.ensure_clone(pool, f"{IMG}@ready", DISK, "disk:1")
    made = [c for c in pool.ran if c.split()[1] in ("create", "snapshot", "clone")]
    assert made == [
        f"zfs create -s -V {64 * MIB} -o volmode=dev -o beastack:mark=image:1 {IMG}",
        f"zfs snapshot {IMG}@ready",
        f"zfs clone -o volmode=dev -o beastack:mark=disk:1 {IMG}@ready {DISK}",
    ]
    with pytest.raises(HasDependants) as e:
        zfs.destroy(pool, f"{IMG}@ready")
    assert e.value.dependants == [DISK]
    zfs.rollback(pool, f"{IMG}@ready")
    for name in (DISK, f"{IMG}@ready", IMG, IMG):
        zfs.destroy(pool, name)
    assert set(pool.sets) == {"vms", "vms/images"}
    assert zfs.device(IMG) == f"/dev/zvol/{IMG}"


def test_a_volume_never_shrinks() -> None:
    pool = Zpool()
    zfs.ensure_volume(pool, IMG, 64 * MIB, "image:1")
    with pytest.raises(zfs.WouldShrink, match="67108864"):
        zfs.grow(pool, IMG, 63 * MIB)
    assert not any(" set " in c for c in pool.ran)
    zfs.grow(pool, IMG, 64 * MIB)
    assert not any(" set " in c for c in pool.ran)
    zfs.grow(pool, IMG, 128 * MIB)
    assert pool.sets[IMG]["volsize"] == str(128 * MIB)
    with pytest.raises(zfs.Differs):
        zfs.ensure_volume(pool, IMG, 64 * MIB, "image:1")


def test_what_is_not_ours_is_left_alone() -> None:
    pool = Zpool()
    pool.sets["vms/other"] = {"type": "volume", "volsize": str(64 * MIB)}
    pool.sets["vms/images"]["beastack:mark"] = "images:1"
    pool.sets["vms/images/theirs"] = {"type": "volume", "volsize": str(64 * MIB)}
    for name in ("vms/other", "vms/images/theirs"):
        for change in (
            lambda n=name: zfs.destroy(pool, n),
            lambda n=name: zfs.grow(pool, n, 128 * MIB),
            lambda n=name: zfs.ensure_volume(pool, n, 64 * MIB, "image:1"),
            lambda n=name: zfs.ensure_snapshot(pool, f"{n}@s"),
            lambda n=name: zfs.rename(pool, n, "vms/x"),
            lambda n=name: zfs.promote(pool, n),
            lambda n=name: zfs.rollback(pool, f"{n}@s"),
        ):
            with pytest.raises(NotOurs):
                change()
    zfs.ensure_filesystem(pool, "vms/images/mine", "folder:1")
    with pytest.raises(NotOurs):
        zfs.ensure_filesystem(pool, "vms/images/mine", "folder:2")
    with pytest.raises(zfs.Differs):
        zfs.ensure_volume(pool, "vms/images/mine", MIB, "folder:1")


def test_refusals() -> None:
    pool = Zpool()
    with pytest.raises(OutOfSpace):
        zfs.ensure_volume(pool, IMG, 900 * MIB, "image:1")
    assert IMG not in pool.sets
    with pytest.raises(NoSuchDataset):
        zfs.require_ours(pool, "vms/none")
    zfs.ensure_filesystem(pool, "vms/f", "folder:1")
    with pytest.raises(zfs.Differs, match="no volume"):
        zfs.grow(pool, "vms/f", MIB)
    zfs.rename(pool, "vms/f", "vms/g")
    assert "vms/g" in pool.sets
    pool.silent = "zfs get"
    with pytest.raises(CommandTimedOut):
        zfs.destroy(pool, "vms/g")
    assert "vms/g" in pool.sets


@pytest.mark.parametrize(
    "name", ["", "/x", "x/", "a//b", "-r", "a/-r", "a b", "a@s", "a/../b", "a\tb", "x" * 256, "a#b"]
)
def test_names_that_mean_something_else(name: str) -> None:
    for change in (
        lambda: zfs.destroy(Zpool(), name.replace("@", "@-")),
        lambda: zfs.ensure_volume(Zpool(), name, MIB, "a:b"),
        lambda: zfs.ensure_snapshot(Zpool(), f"{name}@s"),
        lambda: zfs.ensure_snapshot(Zpool(), "vms@" + name),
        lambda: zfs.device(name),
    ):
        with pytest.raises(ValueError, match="no name"):
            change()


def test_values_that_cannot_be() -> None:
    for size in (0, -1, 1000):
        with pytest.raises(ValueError, match="bytes"):
            zfs.ensure_volume(Zpool(), IMG, size, "a:b")
    for mark in ("", "x", "a:b\t", "a=b:c"):
        with pytest.raises(ValueError, match="mark"):
            zfs.ensure_volume(Zpool(), IMG, MIB, mark)
    assert issubclass(zfs.WouldShrink, HostError)
