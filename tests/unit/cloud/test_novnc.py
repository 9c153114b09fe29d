"""noVNC's files: brought once, whole or not at all, and said when not."""

from pathlib import Path
from typing import Any

import pytest

from beastack.cloud import commands, novnc, services
from beastack.cloud.errors import CloudError
from beastack.cloud.layout import Layout


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(novnc.sys, "platform", "linux")
    monkeypatch.setattr(novnc, "INSTALLED", tmp_path / "installed")
    monkeypatch.setattr(novnc, "CACHE", tmp_path / "cache" / "novnc")
    return tmp_path


def apt(monkeypatch: pytest.MonkeyPatch, *, page: bool = True, rc: int = 0) -> list[str]:
    """An apt-get and a dpkg-deb that bring the package."""
    asked: list[str] = []

    def run(argv: list[str], _limit: float, **more: Any) -> commands.Done:
        asked.append(argv[0])
        where = more["cwd"]
        if argv[0] == "apt-get":
            (where / "novnc_1%3a1.3.0-1_all.deb").touch()
            return commands.Done(rc)
        root = where / "tree/usr/share/novnc"
        root.mkdir(parents=True)
        if page:
            (root / novnc.PAGE).touch()
        return commands.Done(0)

    monkeypatch.setattr(novnc.commands, "run", run)
    return asked


def test_brought_once(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = apt(monkeypatch)
    novnc.CACHE.mkdir(parents=True)  # half of an earlier one
    for _ in range(2):
        assert novnc.ensure(places / "log") == str(novnc.CACHE / "usr/share/novnc") == str(novnc.web_root())
    assert asked == ["apt-get", "dpkg-deb"]
    assert [path.name for path in (places / "cache").iterdir()] == ["novnc"]


def test_an_installed_package_is_used(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = apt(monkeypatch)
    novnc.INSTALLED.mkdir()
    (novnc.INSTALLED / novnc.PAGE).touch()
    assert novnc.ensure(places / "log") == str(novnc.INSTALLED)
    assert asked == []


@pytest.mark.parametrize("how", [{"rc": 100}, {"page": False}])
def test_what_cannot_be_brought_is_said_and_leaves_nothing(
    places: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    apt(monkeypatch, **how)
    with pytest.raises(CloudError) as found:
        novnc.ensure(places / "log")
    assert "novnc" in (found.value.remedy or "")
    assert list((places / "cache").iterdir()) == []


def test_only_the_screens_proxy_serves_files(places: Path) -> None:
    specs = services.control_plane(Layout("t", Path("/var/lib/beastack/t"), 7))
    assert specs["nova-novncproxy"].argv[-2:] == ["--web", str(novnc.web_root())]
    assert "--web" not in specs["nova-serialproxy"].argv
