"""The supervisor as a real daemon, with small programs and a small WSGI application as services."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from beastack.cloud.errors import CloudError
from beastack.cloud.supervisor.client import SupervisorGone, ask
from beastack.cloud.supervisor.spec import ServiceSpec

APPLICATION = """
words = [b"not prepared"]


def prepare():
    words[0] = b"hello"


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return words
"""


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def answers(run_dir: Path) -> bool:
    try:
        ask(run_dir, {"do": "status"})
    except SupervisorGone:
        return False
    return True


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("s")
    for sub in ("run/services", "log", "lib"):
        (folder / sub).mkdir(parents=True)
    (folder / "lib" / "hello_for_test.py").write_text(APPLICATION)
    child = subprocess.Popen(
        [sys.executable, "-m", "beastack.cloud.supervisor.main", str(folder)],
        env={**os.environ, "PYTHONPATH": str(folder / "lib")},
        start_new_session=True,
    )
    until(lambda: answers(folder), 60)
    yield folder
    ask(folder, {"do": "shutdown"}, 30)
    child.wait(20)


def start(run_dir: Path, **values: object) -> int:
    name = str(values["name"])
    spec = ServiceSpec(**{"kind": "program", "log": str(run_dir / "log" / f"{name}.log"), **values})  # type: ignore[arg-type]
    spec.write(run_dir / "run" / "services" / f"{name}.json")
    return int(ask(run_dir, {"do": "start", "name": name}, 60)["pid"])


def state(run_dir: Path, name: str) -> dict[str, object]:
    found: dict[str, object] = ask(run_dir, {"do": "status"})["services"][name]
    return found


def logged(run_dir: Path, name: str) -> str:
    path = run_dir / "log" / f"{name}.log"
    return path.read_text() if path.exists() else ""


def test_a_killed_program_comes_back_and_it_is_said(run_dir: Path) -> None:
    pid = start(run_dir, name="sleeper", argv=["sleep", "1000"])
    os.kill(pid, signal.SIGKILL)
    until(lambda: state(run_dir, "sleeper")["pid"] not in (None, pid))
    assert state(run_dir, "sleeper")["restarts"] == 1
    assert "sleeper: died with status -9" in (run_dir / "log" / "supervisor.log").read_text()


def test_starting_twice_is_once(run_dir: Path) -> None:
    pid = start(run_dir, name="once", argv=["sleep", "1000"])
    assert start(run_dir, name="once", argv=["sleep", "1000"]) == pid


def test_a_program_that_ignores_sigterm_is_killed_after_its_grace(run_dir: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(1000)"
    pid = start(run_dir, name="deaf", argv=[sys.executable, "-c", code], grace=0.3)
    until(lambda: "deaf" in logged(run_dir, "deaf"))
    ask(run_dir, {"do": "stop", "name": "deaf"}, 20)
    assert not psutil.pid_exists(pid)
    assert state(run_dir, "deaf")["state"] == "stopped"


def test_a_program_that_dies_at_once_is_tried_ever_more_slowly(run_dir: Path) -> None:
    start(run_dir, name="broken", argv=["sh", "-c", "echo no good >&2; exit 3"])
    until(lambda: state(run_dir, "broken")["restarts"] == 2)
    found = state(run_dir, "broken")
    assert found["last_exit"] == 3
    assert "no good" in (run_dir / "log" / "broken.log").read_text()
    ask(run_dir, {"do": "stop", "name": "broken"})


def test_a_missing_program_is_in_its_log(run_dir: Path) -> None:
    start(run_dir, name="missing", argv=["/nonexistent/program"])
    until(lambda: "FileNotFoundError" in logged(run_dir, "missing"))
    ask(run_dir, {"do": "stop", "name": "missing"})


def test_a_wsgi_application_is_forked_and_served(run_dir: Path) -> None:
    pid = start(
        run_dir,
        name="hello",
        kind="wsgi",
        family="base",
        target="hello_for_test:application",
        prepare="hello_for_test:prepare",
        argv=["hello"],
        listen=("127.0.0.1", 18437),
    )

    def served() -> bool:
        try:
            with urllib.request.urlopen("http://127.0.0.1:18437/", timeout=2) as reply:
                return bool(reply.read() == b"hello")
        except OSError:
            return False

    until(served)
    assert state(run_dir, "hello")["pid"] == pid
    assert state(run_dir, "hello")["restarts"] == 0


def test_unknown_requests_are_refused(run_dir: Path) -> None:
    with pytest.raises(CloudError, match="unknown request 'dance'"):
        ask(run_dir, {"do": "dance"})
    with pytest.raises(CloudError, match="No such file"):
        ask(run_dir, {"do": "start", "name": "nobody"})


def test_the_socket_is_its_owners_only(run_dir: Path) -> None:
    assert (run_dir / "run" / "supervisor.sock").stat().st_mode & 0o077 == 0
