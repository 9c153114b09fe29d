"""Clouds of one machine do not meet, and secrets are nobody else's."""

import json
import stat
from pathlib import Path

import pytest

from beastack.cloud import layout
from beastack.cloud.errors import CloudError


def test_two_clouds_get_two_indexes_and_keep_them(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    a = layout.claim("a", tmp_path / "a", locks)
    b = layout.claim("b", tmp_path / "b", locks)
    assert a.index != b.index
    assert a.address != b.address
    assert layout.claim("a", tmp_path / "a", locks) == a
    assert layout.existing("a", tmp_path / "a") == a


def test_an_index_is_free_again_after_release(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    a = layout.claim("a", tmp_path / "a", locks)
    layout.release(a, locks)
    assert layout.claim("b", tmp_path / "b", locks).index == a.index


def test_kept_data_returns_to_its_index_where_it_is_free(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    layout.claim("a", tmp_path / "a", locks)
    b = layout.claim("b", tmp_path / "b", locks)
    layout.release(b, locks)
    assert layout.claim("b", tmp_path / "b", locks).index == b.index


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    where = layout.claim("a", tmp_path / "a", tmp_path / "locks")
    secrets = layout.passwords(where)
    assert layout.passwords(where) == secrets
    assert len(set(secrets.values())) == len(layout.PASSWORDS)
    assert stat.S_IMODE(where.data("secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(where.credentials.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CloudError, match="cannot prepare"):
        layout.claim("a", tmp_path / "file" / "a", tmp_path / "locks")


def test_private_files_replace_whole(tmp_path: Path) -> None:
    path = tmp_path / "x" / "secret"
    layout.write_private(path, "one")
    layout.write_private(path, json.dumps(2))
    assert path.read_text() == "2"
    assert [p.name for p in path.parent.iterdir()] == ["secret"]


@pytest.mark.parametrize("text", ["", "[]", '{"index": "x"}', '{"name": "a"}'])
def test_a_damaged_record_is_one_message(tmp_path: Path, text: str) -> None:
    where = layout.claim("a", tmp_path / "a", tmp_path / "locks")
    (where.run_dir / "cloud.json").write_text(text)
    with pytest.raises(CloudError, match="json is damaged"):
        layout.existing("a", tmp_path / "a")
    (tmp_path / "locks" / "clouds.json").write_text("{")
    with pytest.raises(CloudError, match="is damaged"):
        layout.claim("b", tmp_path / "b", tmp_path / "locks")


def test_a_folder_too_deep_for_sockets_is_refused_before_it_is_made(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * layout.LONGEST_FOLDER)
    with pytest.raises(CloudError, match="too long"):
        layout.claim("a", deep, tmp_path / "locks")
    assert not deep.exists()


def test_when_every_index_is_taken_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "MOST_CLOUDS", 1)
    layout.claim("a", tmp_path / "a", tmp_path / "locks")
    with pytest.raises(CloudError, match="1 clouds are here already"):
        layout.claim("b", tmp_path / "b", tmp_path / "locks")
