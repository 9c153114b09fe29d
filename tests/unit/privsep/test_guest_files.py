"""Files of a guest's folder that one process replaces while another reads them."""

import os
from pathlib import Path
from typing import Any

import pytest

from beastack.privsep import guest_files


def replaced_while_opened(path: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The file that was opened has lost its name before it is looked at, so often."""
    opened, left = os.open, [times]

    def then_replace(name: Any, *words: Any, **more: Any) -> int:
        descriptor = opened(name, *words, **more)
        if Path(name) == path and left[0]:
            left[0] -= 1
            other = path.with_suffix(".other")
            other.write_bytes(b"new")
            other.rename(path)
        return descriptor

    monkeypatch.setattr(os, "open", then_replace)


def test_a_file_that_is_replaced_meanwhile_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"old")
    replaced_while_opened(path, monkeypatch, 3)
    assert guest_files.read_regular(path, 10) == b"new"


def test_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"old")
    replaced_while_opened(path, monkeypatch, 1000)
    with pytest.raises(guest_files.GuestFileError, match="again and again"):
        guest_files.read_regular(path, 10)


def test_one_with_two_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"x")
    (tmp_path / "other").hardlink_to(path)
    with pytest.raises(guest_files.GuestFileError, match="one name"):
        guest_files.read_regular(path, 10)
