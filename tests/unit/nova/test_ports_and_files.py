"""Console ports and copies."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from beastack.nova import files
from beastack.nova.ports import ConsolePorts, NoPortLeft


def test_ports_are_kept_and_never_shared(tmp_path: Path) -> None:
    ports = ConsolePorts(tmp_path, range(6000, 6020))
    names = [f"g{number}" for number in range(20)]
    for name in names:
        (tmp_path / name).mkdir()
    with ThreadPoolExecutor(10) as pool:
        first = list(pool.map(ports.allocate, names))
    assert sorted(first) == list(range(6000, 6020))
    assert [ConsolePorts(tmp_path, range(6000, 6020)).allocate(name) for name in names] == first
    with pytest.raises(NoPortLeft):
        ports.allocate("late")
    (tmp_path / "late").mkdir()
    ports.release(names[3])
    ports.release(names[3])
    assert ports.allocate("late") == first[3]
    (tmp_path / names[4]).rmdir()  # a guest that went without a word
    assert ports.allocate("later") == first[4]


def test_a_port_outside_the_new_range_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    assert ConsolePorts(tmp_path, range(6000, 6001)).allocate("g") == 6000
    assert ConsolePorts(tmp_path, range(7000, 7001)).allocate("g") == 7000


@pytest.mark.parametrize("kernel", [True, False])
def test_copies_keep_holes(tmp_path: Path, kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not kernel:
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    source, target = tmp_path / "a", tmp_path / "b"
    with open(source, "wb") as file:
        file.write(b"begin")
        file.seek(64 << 20)
        file.write(b"middle" * 500_000)
        file.truncate(200 << 20)
    files.copy_sparse(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 < 8 << 20
    with pytest.raises(FileExistsError):
        files.copy_sparse(source, target)


def test_locks_have_a_limit(tmp_path: Path) -> None:
    with (
        files.locked(tmp_path / "l", 1),
        pytest.raises(files.LockTimeout, match="not free"),
        files.locked(tmp_path / "l", 0.1),
    ):
        pass
