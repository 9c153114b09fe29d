"""Volumes, snapshots and clones on a scratch pool in a file (transcript 11)."""

from collections.abc import Iterator

import pytest

from beastack.freebsd import zfs
from beastack.freebsd.errors import DatasetExists, HasDependants, NoSuchDataset, NotOurs, OutOfSpace
from beastack.freebsd.host import Host
from beastack.freebsd.zfs_read import get_dataset

from .lab import Lab, until

POOL = "bscpool0"
MARK = "conformance:1"
MIB = 1 << 20


@pytest.fixture
def pool(host: Host, lab: Lab) -> Iterator[str]:
    """A pool of 256 MiB that belongs to nobody else."""
    image = f"{lab.folder}/pool.img"
    host.run(["truncate", "-s", "256m", image])
    lab.later(lambda: host.run(["rm", image]))
    device = host.run(["mdconfig", "-a", "-t", "vnode", "-f", image]).out.strip()
    lab.later(lambda: host.run(["mdconfig", "-d", "-u", device.removeprefix("md")]))
    host.run(["zpool", "create", "-m", "none", POOL, f"/dev/{device}"], timeout=60)
    lab.later(lambda: host.run(["zpool", "destroy", POOL], timeout=60))
    yield POOL


def test_a_volume_its_snapshot_and_its_clone(host: Host, pool: str) -> None:
    zfs.ensure_filesystem(host, f"{pool}/images", MARK)
    image = f"{pool}/images/one"
    for _ in range(2):
        zfs.ensure_volume(host, image, 32 * MIB, MARK)
        zfs.ensure_snapshot(host, f"{image}@ready")
        zfs.ensure_clone(host, f"{image}@ready", f"{pool}/disk", MARK)
    found = get_dataset(host, f"{pool}/disk")
    assert (found.kind, found.volsize, found.origin) == ("volume", 32 * MIB, f"{image}@ready")
    until(lambda: host.run(["ls", zfs.device(f"{pool}/disk")], check=False).rc == 0, "the volume's device")
    # what holds what
    with pytest.raises(HasDependants):
        zfs.destroy(host, f"{image}@ready")
    with pytest.raises(HasDependants):
        zfs.destroy(host, image)
    for name in (f"{pool}/disk", f"{image}@ready", image, image):
        zfs.destroy(host, name)
    assert zfs.find(host, image) is None


def test_a_volume_grows_and_never_shrinks(host: Host, pool: str) -> None:
    zfs.ensure_volume(host, f"{pool}/v", 16 * MIB, MARK)
    zfs.grow(host, f"{pool}/v", 32 * MIB)
    zfs.grow(host, f"{pool}/v", 32 * MIB)
    with pytest.raises(zfs.WouldShrink):
        zfs.grow(host, f"{pool}/v", 16 * MIB)
    assert get_dataset(host, f"{pool}/v").volsize == 32 * MIB


def test_what_was_written_is_in_the_clone(host: Host, pool: str) -> None:
    zfs.ensure_volume(host, f"{pool}/v", 8 * MIB, MARK)
    path = zfs.device(f"{pool}/v")
    until(lambda: host.run(["ls", path], check=False).rc == 0, "the volume's device")
    host.run(["dd", "if=/dev/urandom", f"of={path}", "bs=65536", "count=4"])
    zfs.ensure_snapshot(host, f"{pool}/v@a")
    zfs.ensure_clone(host, f"{pool}/v@a", f"{pool}/c", MARK)
    clone = zfs.device(f"{pool}/c")
    until(lambda: host.run(["ls", clone], check=False).rc == 0, "the clone's device")
    assert host.run(["cmp", path, clone], check=False).rc == 0
    host.run(["dd", "if=/dev/zero", f"of={path}", "bs=65536", "count=4"])
    assert host.run(["cmp", path, clone], check=False).rc != 0


def test_what_is_not_ours_is_left_alone(host: Host, pool: str) -> None:
    host.run(["zfs", "create", "-V", "8m", "-s", f"{pool}/theirs"])
    with pytest.raises(NotOurs):
        zfs.destroy(host, f"{pool}/theirs")
    with pytest.raises(NotOurs):
        zfs.ensure_volume(host, f"{pool}/theirs", 8 * MIB, MARK)
    assert zfs.find(host, f"{pool}/theirs") is not None


def test_what_zfs_refuses(host: Host, pool: str) -> None:
    with pytest.raises(OutOfSpace):
        zfs.ensure_volume(host, f"{pool}/large", 900 * MIB, MARK, sparse=False)
    assert zfs.find(host, f"{pool}/large") is None
    with pytest.raises(NoSuchDataset):
        zfs.ensure_volume(host, f"{pool}/none/v", 8 * MIB, MARK)
    zfs.ensure_volume(host, f"{pool}/a", 8 * MIB, MARK)
    zfs.ensure_volume(host, f"{pool}/b", 8 * MIB, MARK)
    with pytest.raises(DatasetExists):
        zfs.rename(host, f"{pool}/a", f"{pool}/b")
    with pytest.raises(zfs.Differs):
        zfs.ensure_volume(host, f"{pool}/a", 16 * MIB, MARK)
