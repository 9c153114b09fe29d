"""Daemons by their pid files: a number alone is not believed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.unit.transcripts import FakeHost

from beastack.freebsd import daemons
from beastack.freebsd.errors import CommandFailed
from beastack.freebsd.host import LocalHost

HOST = LocalHost()


def started(code: str, mark: str) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-S", "-c", code, mark], stdout=subprocess.PIPE)
    assert child.stdout and child.stdout.readline() == b"up\n"
    return child


def test_a_process_with_the_mark_is_found_and_ended(tmp_path: Path) -> None:
    with started("import time; print('up', flush=True); time.sleep(60)", "the-mark") as child:
        pid_file = tmp_path / "pid"
        pid_file.write_text(f"{child.pid}\n")
        found = daemons.find(HOST, pid_file, "the-mark")
        assert found is not None and found[0] == child.pid and found[1].endswith("the-mark")
        assert daemons.find(HOST, pid_file, "another-mark") is None
        assert not daemons.end(HOST, pid_file, "another-mark")
        assert child.poll() is None, "somebody else's process was ended"
        pid_file.write_text(f"{child.pid}\n")
        assert daemons.end(HOST, pid_file, "the-mark")
        assert child.wait(5) == -15
    assert not pid_file.exists()


def test_one_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemons, "GRACE", 0.1)
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    with started(code, "stubborn") as child:
        (tmp_path / "pid").write_text(str(child.pid))
        began = time.monotonic()
        assert daemons.end(HOST, tmp_path / "pid", "stubborn")
        assert child.wait(5) == -9
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("text", ["", "\n", "1", "0", "-1", "x", "12 13", "²"])
def test_what_is_no_pid_is_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    assert daemons.recorded_pid(tmp_path / "pid") is None
    assert daemons.find(FakeHost({}), tmp_path / "pid", "x") is None


def test_without_a_file_there_is_nobody(tmp_path: Path) -> None:
    assert not daemons.end(FakeHost({}), tmp_path / "pid", "x")


def test_ps_that_fails_is_not_an_absent_process() -> None:
    with pytest.raises(CommandFailed):
        daemons.command_line(FakeHost({"ps -ww -o command= -p 7": ("ps: no memory\n", 1)}), 7)
    assert daemons.command_line(FakeHost({"ps -ww -o command= -p 7": ("", 1)}), 7) is None
