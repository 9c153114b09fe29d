"""The cache of images: made once, checked, aged."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from beastack.nova.image_cache import ImageCache, check
from beastack.nova.stores.files import FileStore
from nova import exception
from nova.virt import images

MIB = 1 << 20
A, B = "aaaaaaaa-2222-4333-8444-555555555555", "bbbbbbbb-2222-4333-8444-555555555555"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageCache:
    store = FileStore(tmp_path)
    store.prepare()

    def fetch(_context: Any, image_id: str, path: str) -> None:
        time.sleep(0.05)
        with open(path, "xb") as file:  # two at once would fail
            file.write(image_id[:1].encode() * MIB)

    monkeypatch.setattr(images, "fetch", fetch)
    return ImageCache(store, tmp_path)


def test_ten_at_once_make_it_once(cache: ImageCache, tmp_path: Path) -> None:
    sizes: list[int] = []
    threads = [
        threading.Thread(target=lambda: sizes.append(cache.ensure(None, A, "raw", None)), daemon=True)
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sizes == [MIB] * 10
    assert sorted(p.suffix for p in (tmp_path / "_base").iterdir()) == [".lock", ".raw", ".used"]


def test_a_limit_is_the_flavors_disk(cache: ImageCache) -> None:
    for _ in range(2):
        with pytest.raises(exception.FlavorDiskSmallerThanImage):
            cache.ensure(None, A, "raw", MIB - 1)
    with pytest.raises(exception.ImageUnacceptable, match="vmdk"):
        cache.ensure(None, A, "vmdk", None)


def test_ageing(cache: ImageCache, tmp_path: Path) -> None:
    for image_id in (A, B):
        cache.ensure(None, image_id, "raw", None)
    assert cache.age([], 60) == []
    for image_id in (A, B):
        os.utime(tmp_path / "_base" / f"{image_id}.used", (0, 0))
    assert cache.age([A], 60) == [B]  # A is used: its time is now
    assert cache.age([], 60) == []
    assert sorted(p.name for p in (tmp_path / "_base").glob("*.raw")) == [f"{A}.raw"]
    (tmp_path / "_base" / f"{A}.used").unlink()  # made by an older Beastack
    assert cache.age([], 60) == []
    os.utime(tmp_path / "_base" / f"{A}.used", (0, 0))
    assert cache.age([], 60) == [A]


def test_what_a_broken_fetch_left_is_swept(cache: ImageCache, tmp_path: Path) -> None:
    for name in (f"{A}.fetched", f"{A}.converted", f"{B}.snapshot"):
        (tmp_path / "_base" / name).touch()
    cache.sweep()
    assert list((tmp_path / "_base").iterdir()) == []


@pytest.mark.parametrize("declared", ["raw", "qcow2"])
@pytest.mark.parametrize(
    "content",
    [
        b"QFI\xfb" + b"\0\0\0\3" + b"\0" * 2048,
        b"KDMV" + b"\1\0\0\0" + b"\0" * 2048,
        b'# Disk DescriptorFile\nversion=1\nCID=1\ncreateType="monolithicFlat"\nRW 1 FLAT "/etc/passwd" 0\n' * 20,
    ],
    ids=["qcow2", "vmdk", "vmdk text"],
)
def test_other_formats_under_a_name_that_is_not_theirs(tmp_path: Path, declared: str, content: bytes) -> None:
    path = tmp_path / "i"
    path.write_bytes(content)
    with pytest.raises(exception.ImageUnacceptable):
        check(path, A, declared)
