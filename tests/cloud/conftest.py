"""One cloud for all tests of this folder, made by the command that a person types."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openstack
import psutil
import pytest

from .guest import Guest

ROOT = Path(__file__).resolve().parents[2]
NAME = "citest"


def beastack(*arguments: str, limit: float = 300, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    # a mask that would break everything, if the launcher kept its caller's
    argv = [str(ROOT / "beastack"), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=limit, check=False, umask=0o177)
    if status is not None:
        assert done.returncode == status, f"{arguments}: {done.stdout}\n{done.stderr}"
    return done


def until(what: str, condition: Callable[[], object], seconds: float = 90, seen: Callable[[], object] = str) -> None:
    """Wait for ``condition``; ``seen`` is asked, for the message, when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what} {seen()}"
        time.sleep(0.2)


def _foreign(pid: int | None) -> bool:
    """Whether a process comes from another that was there before us and is not ours: somebody else's work meanwhile.

    What a cloud leaves is below this process, or a daemon below init that is younger than this process.
    """
    me = psutil.Process()
    while pid not in (None, 0, 1, me.pid):
        try:
            process = psutil.Process(pid)
            if process.create_time() < me.create_time():
                return True
            pid = process.ppid()
        except psutil.NoSuchProcess:
            return False
    return False


def footprint() -> dict[str, set[str]]:
    """What a cloud could leave behind on this machine."""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, timeout=10, check=True).stdout
    return {
        "interfaces": {line.split(": ")[1].split("@")[0] for line in links.splitlines()},
        "mounts": {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()},
        "listening": {
            f"{c.laddr.ip}:{c.laddr.port}"
            for c in psutil.net_connections("inet")
            if c.status == psutil.CONN_LISTEN and c.laddr and not _foreign(c.pid)
        },
        "processes": {
            " ".join(p.info["cmdline"] or [])
            for p in psutil.process_iter(["cmdline"])
            if any(NAME in word for word in p.info["cmdline"] or [])
        },
        "namespaces": {
            os.readlink(f"/proc/{pid}/ns/net") for pid in psutil.pids() if os.path.exists(f"/proc/{pid}/ns/net")
        },
    }


def status() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(beastack("status", "--name", NAME, "--json").stdout)
    return found


def services() -> dict[str, dict[str, Any]]:
    return {s["name"]: s for s in status()["services"]}


def connection(which: str) -> Any:
    """openstacksdk as a person would use it: the administrator's NAME, or NAME-demo."""
    files = openstack.config.OpenStackConfig(
        config_files=[str(Path(status()["run_dir"]) / "credentials" / "clouds.yaml")], load_envvars=False
    )
    return openstack.connection.Connection(config=files.get_one(cloud=which))


@pytest.fixture(scope="session")
def before() -> dict[str, set[str]]:
    beastack("down", "--name", NAME, status=None)
    return footprint()


@pytest.fixture(scope="session")
def cloud(before: dict[str, set[str]]) -> Iterator[str]:
    """What `up` printed."""
    done = beastack("up", "--name", NAME)
    try:
        yield done.stdout
    finally:
        beastack("down", "--name", NAME, status=None)


@pytest.fixture(scope="session")
def api(cloud: str) -> Any:
    return connection(NAME)


@pytest.fixture(scope="session")
def demo(cloud: str) -> Any:
    return connection(f"{NAME}-demo")


@pytest.fixture(scope="module")
def guest(cloud: str) -> Iterator[Guest]:
    """A shell on the first server's serial console."""
    with Guest([str(ROOT / "beastack"), "console", "first", "--name", NAME]) as shell:
        yield shell
