"""`beastack test`: what it brings before it runs."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from beastack.cli import testing
from beastack.cli.main import app
from beastack.cloud.platform import packages


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    found: list[list[str]] = []
    monkeypatch.setattr(testing, "_run", lambda argv, _limit: found.append(argv) or 0)
    monkeypatch.setattr(testing.os, "geteuid", lambda: 0)
    monkeypatch.setattr(testing.shutil, "which", lambda name: f"/usr/bin/{name}")
    return found


def manager(missing: list[str], fails: bool = False, of: tuple[str, ...] = testing.BROWSER) -> Any:
    class Fake:
        installed: list[str] = []  # noqa: RUF012

        def __init__(self, wanted: tuple[str, ...]) -> None:
            assert wanted == of

        def missing(self) -> list[str]:
            return missing

        def install(self, names: list[str]) -> None:
            if fails:
                raise packages.PackageError("no network", "mend it")
            Fake.installed += names

    return Fake


def test_the_browser_comes_before_the_clouds_tests(monkeypatch: pytest.MonkeyPatch, runs: list[list[str]]) -> None:
    fake = manager(list(testing.BROWSER))
    monkeypatch.setattr(packages, "Apt", fake)
    done = CliRunner().invoke(app, ["test", "cloud"])
    assert done.exit_code == 0, done.output
    assert fake.installed == list(testing.BROWSER)
    assert len(runs) == 1
    assert str(Path("tests") / "cloud") in runs[0]


def test_other_parts_want_no_browser(monkeypatch: pytest.MonkeyPatch, runs: list[list[str]]) -> None:
    fake = manager(list(testing.BROWSER))
    monkeypatch.setattr(packages, "Apt", fake)
    assert CliRunner().invoke(app, ["test", "sim"]).exit_code == 0
    assert fake.installed == []


def test_libvirt_comes_before_the_unit_tests(monkeypatch: pytest.MonkeyPatch, runs: list[list[str]]) -> None:
    fake = manager(list(testing.LIBVIRT), of=testing.LIBVIRT)
    monkeypatch.setattr(packages, "Apt", fake)
    assert CliRunner().invoke(app, ["test", "unit"]).exit_code == 0
    assert fake.installed == list(testing.LIBVIRT)
    assert len(runs) == 1


def test_without_root_or_network_the_unit_tests_run_without_libvirt(
    monkeypatch: pytest.MonkeyPatch, runs: list[list[str]]
) -> None:
    monkeypatch.setattr(packages, "Apt", manager(list(testing.LIBVIRT), fails=True, of=testing.LIBVIRT))
    done = CliRunner().invoke(app, ["test", "unit"])
    assert done.exit_code == 0
    assert "no network" in done.output
    monkeypatch.setattr(packages, "Apt", None)
    monkeypatch.setattr(testing.os, "geteuid", lambda: 1000)
    assert CliRunner().invoke(app, ["test", "unit"]).exit_code == 0
    assert len(runs) == 2


def test_a_browser_that_cannot_be_installed_ends_it_with_the_cause(
    monkeypatch: pytest.MonkeyPatch, runs: list[list[str]]
) -> None:
    monkeypatch.setattr(packages, "Apt", manager(list(testing.BROWSER), fails=True))
    done = CliRunner().invoke(app, ["test", "cloud"])
    assert done.exit_code == 1
    assert "no network" in done.output
    assert runs == []
