"""Files of the privileged side's own: nobody else may have written them or may replace them."""

import os
from pathlib import Path

import pytest

from beastack.privsep import trust
from beastack.privsep.checks import Refused


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "etc" / "x.conf"
    found.parent.mkdir()
    found.write_text("[beastack]\n")
    return found


def test_an_own_file_is_taken(file: Path) -> None:
    assert trust.check_file(file) == file


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_one_that_others_may_write_is_not(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(Refused, match="may write it"):
        trust.check_file(file)


def test_one_in_a_folder_that_others_may_write_is_not(file: Path) -> None:
    file.parent.chmod(0o777)
    with pytest.raises(Refused, match="may write it"):
        trust.check_file(file)
    file.parent.chmod(0o1777)
    trust.check_file(file)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_one_of_another_user_is_not(file: Path) -> None:
    os.chown(file, 1, 1)
    with pytest.raises(Refused, match="belongs to uid 1"):
        trust.check_file(file)
    os.chown(file, 0, 0)
    os.chown(file.parent, 1, 1)
    with pytest.raises(Refused, match="belongs to uid 1"):
        trust.check_file(file)


def test_no_links_no_climbing_no_folders(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    (tmp_path / "folder").symlink_to(file.parent)
    for wrong in (
        link,
        tmp_path / "folder" / "x.conf",
        file.parent,
        file.parent / "none",
        Path("x"),
        file / ".." / "x",
    ):
        with pytest.raises(Refused):
            trust.check_file(wrong)


def test_a_folder_is_made_or_must_be_ones_own(tmp_path: Path) -> None:
    made = trust.own_folder(tmp_path / "a" / "b")
    assert made.stat().st_mode & 0o777 == 0o700
    made.chmod(0o770)
    with pytest.raises(Refused):
        trust.own_folder(made)
