"""Files that a service hands over: whatever it puts in their place, nothing else is read."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.privsep import handed
from beastack.privsep.checks import Refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "given" / "network"
    found.mkdir(parents=True)
    (found / "host").write_text("fa:16:3e:00:00:01,10.0.0.5\n")
    (tmp_path / "secret").write_text("root:secret")
    return found


def read(folder: Path, name: str, most: int = 1000) -> bytes | None:
    with handed.folder(folder) as inside:
        found = handed.read(inside, name, most)
    return None if found is None else found[0]


def test_plain_files_are_read(folder: Path) -> None:
    assert read(folder, "host") == b"fa:16:3e:00:00:01,10.0.0.5\n"
    assert read(folder, "none") is None


def _link(folder: Path) -> None:
    (folder / "host").symlink_to(folder.parent.parent / "secret")


def _hard_link(folder: Path) -> None:
    os.link(folder.parent.parent / "secret", folder / "host")


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "host")


def _sub_folder(folder: Path) -> None:
    (folder / "host").mkdir()


def _large(folder: Path) -> None:
    (folder / "host").write_bytes(b"x" * 1001)


@pytest.mark.parametrize("put", [_link, _hard_link, _fifo, _sub_folder, _large])
def test_anything_else_is_refused(folder: Path, put: object) -> None:
    (folder / "host").unlink()
    assert callable(put)
    put(folder)
    with pytest.raises(Refused):
        read(folder, "host")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_refused(folder: Path) -> None:
    os.chown(folder / "host", 1, 1)
    with pytest.raises(Refused, match="belongs to uid 1"):
        read(folder, "host")


def test_no_folder_on_the_way_is_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "given")
    (tmp_path / "given" / "last").symlink_to(folder)
    for path in (tmp_path / "link" / "network", tmp_path / "given" / "last", folder / ".." / "network", Path("x")):
        with pytest.raises(Refused):
            read(path, "host")


def test_the_folder_that_was_opened_is_the_one_that_is_read(folder: Path, tmp_path: Path) -> None:
    """A swap between the check and the reading changes nothing."""
    with handed.folder(folder) as inside:
        folder.rename(folder.parent / "moved")
        folder.symlink_to(tmp_path)
        (tmp_path / "host").write_text("other")
        found = handed.read(inside, "host", 1000)
    assert found is not None
    assert found[0].startswith(b"fa:16")


@pytest.mark.parametrize("name", ["../secret", "a/b", "", ".", ".."])
def test_a_name_is_a_name(folder: Path, name: str) -> None:
    with pytest.raises(Refused):
        read(folder, name)


@given(st.lists(st.text(st.characters(categories=["L", "N", "P"]), max_size=50)))
def test_lines_of_text_pass(lines: list[str]) -> None:
    data = "\n".join(lines).encode()
    assert handed.lines(data, "x", 100) == data


@pytest.mark.parametrize("data", [b"a\0b", b"\x1b[2J", b"a\rb", b"\xff", b"x" * 101])
def test_other_content_does_not(data: bytes) -> None:
    with pytest.raises(Refused):
        handed.lines(data, "x", 100)


def test_writing_replaces_and_follows_nothing(tmp_path: Path) -> None:
    target = tmp_path / "own" / "host"
    target.parent.mkdir()
    (target.parent / "host.new").symlink_to(tmp_path / "victim")
    target.symlink_to(tmp_path / "victim")
    handed.write(target, b"x", 0o644)
    assert not (tmp_path / "victim").exists()
    assert not target.is_symlink()
    assert target.read_bytes() == b"x"
    assert target.stat().st_mode & 0o777 == 0o644
