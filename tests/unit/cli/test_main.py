"""The commands a newcomer meets first."""

import io
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from beastack.cli import testing
from beastack.cli.main import app

runner = CliRunner()


def names() -> list[str]:
    return [c.name or (c.callback.__name__ if c.callback else "") for c in app.registered_commands]


def test_help_lists_every_command() -> None:
    text = runner.invoke(app, ["--help"]).output
    for name in names():
        assert name in text


@pytest.mark.parametrize("name", names())
def test_every_command_has_help_of_its_own(name: str) -> None:
    result = runner.invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5


def test_unknown_part_names_the_parts() -> None:
    result = runner.invoke(app, ["test", "untit"])
    assert result.exit_code == 2
    assert "unit" in result.output


def test_parts_that_need_root_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = runner.invoke(app, ["test", "sim"])
    assert result.exit_code == 2
    assert "need root" in result.output


def test_one_pytest_run_covers_all_named_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "ROOT", tmp_path)
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    argv = testing.pytest_command(["unit", "sim"], ["-k", "x"], "sim:")
    assert argv[-3:] == ["tests/unit", "-k", "x"]
    (tmp_path / "tests" / "host").mkdir()
    argv = testing.pytest_command(["unit", "host"], ["-k", "x"], "local:")
    assert argv[-6:] == ["tests/unit", "tests/host", "--host", "local:", "-k", "x"]
    (tmp_path / "tests" / "sim").mkdir()
    replay = tmp_path / "tests" / "sim" / f"test_{testing.TRANSCRIPTS[0]}.py"
    replay.write_text("")
    argv = testing.pytest_command(["host"], [], "sim:")
    assert argv[-4:] == ["tests/host", str(replay.relative_to(tmp_path)), "--host", "sim:"]
    argv = testing.pytest_command(["host"], [], "ssh://hv1")
    assert argv[-3:] == ["tests/host", "--host", "ssh://hv1"]


def test_the_host_of_the_conformance_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    assert testing.needs_root(["unit", "sim", "host"], "sim:") == ["sim", "host"]
    assert testing.needs_root(["host"], "ssh://root@hv1") == []
    result = runner.invoke(app, ["test", "host", "--host", "hv1"])
    assert result.exit_code == 2
    assert "ssh://" in result.output


def test_a_failing_check_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "lint_commands", lambda: [["false"], ["true"]])
    assert runner.invoke(app, ["test", "lint"]).exit_code == 1
    monkeypatch.setattr(testing, "lint_commands", lambda: [["true"]])
    assert runner.invoke(app, ["test", "lint"]).exit_code == 0


def test_doctor_speaks_json() -> None:
    result = runner.invoke(app, ["doctor", "--json"])
    assert {"subject", "level", "detail", "remedy"} == set(json.loads(result.stdout)[0])


def test_the_bars_of_the_steps_show_what_ran_beside_what() -> None:
    from rich.console import Console

    from beastack.cli.cloud import timings

    console = Console(width=100, record=True, file=io.StringIO())
    console.print(timings([("one", 0.0, 5.0), ("two", 5.0, 5.0), ("short", 9.99, 0.0)], width=10))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert lines[1] == "one        5.0  ━━━━━"
    assert lines[2] == "two        5.0       ━━━━━"
    assert lines[3].endswith("━")
    assert lines[4] == "all       10.0"
