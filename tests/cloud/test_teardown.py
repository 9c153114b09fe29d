"""The end of a cloud: last in this folder by its name. Nothing is left, and what was killed is mended."""

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from .conftest import NAME, beastack, footprint, services, status, until

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]


def test_down_leaves_nothing(before: dict[str, set[str]], cloud: str) -> None:
    folder = Path(status()["run_dir"])
    beastack("down", "--name", NAME)
    assert not folder.exists()
    until("the last sockets to close", lambda: footprint()["listening"] <= before["listening"], 20)
    after = footprint()
    for kind, present in after.items():
        if kind != "namespaces":
            assert present <= before[kind], kind
    assert len(after["namespaces"]) <= len(before["namespaces"])


def test_up_mends_a_cloud_that_was_killed(before: dict[str, set[str]], cloud: str) -> None:
    """Everything is killed at once, the supervisor too; the next up starts anew on the same data."""
    beastack("up", "--name", NAME)
    folder = Path(status()["run_dir"])
    supervisor = json.loads((folder / "run" / "supervisor.json").read_text())["pid"]
    engine = json.loads((folder / "hosts" / "fbsd1" / "engine.json").read_text())["pid"]
    victims = [supervisor, engine, *[s["pid"] for s in services().values() if s["pid"]]]
    for pid in victims:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
    beastack("up", "--name", NAME)
    assert all(s["state"] == "running" for s in services().values())
    beastack("down", "--name", NAME)
