"""One suite for both stores of disks: files, and ZFS volumes over the simulated zfs(8)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from beastack.nova.stores.base import CHUNK, DiskStore, StoreError
from beastack.nova.stores.files import FileStore
from beastack.nova.stores.volumes import VolumeStore
from beastack.privsep import context

from .fakes import UUID
from .pool import Pool

MIB = 1 << 20
IMAGE = "11111111-2222-4333-8444-555555555555"


@pytest.fixture(params=["files", "volumes"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DiskStore]:
    instances = tmp_path / "instances"
    (instances / UUID).mkdir(parents=True)
    context.default.set_client_mode(False)
    made: DiskStore
    if request.param == "files":
        made = FileStore(instances)
        made.prepare()
        yield made
    else:
        with Pool(tmp_path, monkeypatch) as pool:
            made = VolumeStore(pool.root)
            made.prepare()
            made.prepare()  # twice is fine
            yield made


def image(store: DiskStore, tmp_path: Path, content: bytes = b"i" * MIB) -> None:
    raw = tmp_path / "image.raw"
    raw.write_bytes(content)
    store.take_image(IMAGE, raw)
    assert not raw.exists()


def content(store: DiskStore, disk: str = "root") -> bytes:
    with store.reading(UUID, disk) as (size, read):
        parts = []
        for place in range(0, size, CHUNK):
            length = min(CHUNK, size - place)
            parts.append(read(place, length) or bytes(length))
    return b"".join(parts)


def test_an_image_is_taken_cloned_and_dropped(store: DiskStore, tmp_path: Path) -> None:
    assert store.image_size(IMAGE) is None
    image(store, tmp_path, b"i" * MIB + bytes(5 * MIB) + b"e" * 512)
    whole = (7 * MIB) if store.kind == "zfs" else (6 * MIB + 512)  # a volume is made of whole blocks
    assert store.image_size(IMAGE) == whole
    assert store.images() == [IMAGE]
    store.create(UUID, "root", 8 * MIB, IMAGE)
    assert store.disks(UUID) == {"root": 8 * MIB}
    found = content(store)
    assert (found[:MIB], found[6 * MIB : 6 * MIB + 512]) == (b"i" * MIB, b"e" * 512)
    assert not found[6 * MIB + 512 :].strip(b"\0")
    store.write(UUID, "root", 0, b"guest")
    assert os.path.exists(store.path(UUID, "root"))
    store.create(UUID, "root", None, IMAGE)  # anew, and as large as the image
    assert content(store)[:5] == b"iiiii"
    if store.kind == "zfs":
        assert not store.drop_image(IMAGE)  # a clone needs it
        assert store.images() == [IMAGE]
    store.remove_all(UUID)
    assert store.drop_image(IMAGE)
    assert store.drop_image(IMAGE)
    assert (store.images(), store.disks(UUID)) == ([], {})


def test_a_take_that_broke_off_is_begun_anew(store: DiskStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if store.kind == "zfs":
        from beastack.privsep import volumes

        volumes.begin_image(IMAGE, 4 * MIB)
        assert store.images() == []
    image(store, tmp_path)
    assert store.image_size(IMAGE) == MIB


def test_disks_grow_and_never_shrink(store: DiskStore, tmp_path: Path) -> None:
    image(store, tmp_path, b"i" * 2 * MIB)
    store.create(UUID, "root", 4 * MIB, IMAGE)
    store.grow(UUID, "root", 6 * MIB)
    store.grow(UUID, "root", 6 * MIB)
    with pytest.raises(Exception, match="cut"):
        store.grow(UUID, "root", 5 * MIB)
    with pytest.raises(Exception, match=r"cut|exists"):
        store.create(UUID, "rescue", MIB, IMAGE)
    assert store.disks(UUID)["root"] == 6 * MIB


def test_blank_disks_and_names(store: DiskStore) -> None:
    store.create(UUID, "ephemeral0", MIB)
    store.create(UUID, "swap", 2 * MIB)
    assert store.disks(UUID) == {"ephemeral0": MIB, "swap": 2 * MIB}
    assert not content(store, "swap").strip(b"\0")
    store.remove(UUID, "swap")
    store.remove(UUID, "swap")
    assert set(store.disks(UUID)) == {"ephemeral0"}
    for name in ("../x", "root.raw", "", "ephemeral10", "kept"):
        with pytest.raises((StoreError, Exception), match=r"name of a disk|not one of"):
            store.create(UUID, name, MIB)


def test_what_was_kept_comes_back_once(store: DiskStore, tmp_path: Path) -> None:
    image(store, tmp_path)
    store.create(UUID, "root", 2 * MIB, IMAGE)
    store.keep(UUID)
    store.write(UUID, "root", 0, b"changed")
    store.grow(UUID, "root", 4 * MIB)
    store.keep(UUID)  # what is kept stays
    store.restore(UUID)
    assert (content(store)[:7], store.disks(UUID)) == (b"iiiiiii", {"root": 2 * MIB})
    store.write(UUID, "root", 0, b"later")
    store.restore(UUID)  # nothing is kept any more
    assert content(store)[:5] == b"later"
    store.keep(UUID)
    store.forget(UUID)
    store.forget(UUID)
    store.write(UUID, "root", 0, b"again")
    store.restore(UUID)
    assert content(store)[:5] == b"again"
    store.keep(UUID)
    store.remove_all(UUID)
    assert store.disks(UUID) == {}


def test_an_export_is_what_was_there(store: DiskStore, tmp_path: Path) -> None:
    image(store, tmp_path)
    store.create(UUID, "root", 2 * MIB, IMAGE)
    store.write(UUID, "root", MIB, b"w" * 4096)
    for number in range(2):
        store.export(UUID, "root", tmp_path / f"out{number}")
    found = (tmp_path / "out1").read_bytes()
    assert found == b"i" * MIB + b"w" * 4096 + bytes(MIB - 4096)
    assert (tmp_path / "out1").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Exception, match="behind its end"):
        store.write(UUID, "root", 2 * MIB - 512, b"x" * 1024)


def test_space(store: DiskStore, tmp_path: Path) -> None:
    before = store.space()
    store.create(UUID, "root", 8 * MIB)
    store.write(UUID, "root", 0, os.urandom(MIB))
    after = store.space()
    assert 0 < after.free <= after.total
    assert after.promised - before.promised == 8 * MIB
    assert MIB <= after.taken - before.taken < 4 * MIB
