"""What the privileged side starts is the host's: it does not carry the mark by which `down` ends a cloud's services."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from beastack.privsep import helper
from beastack.privsep.peer import Caller

MARK = "BEASTACK_CLOUD"


def test_the_contract_names_the_same_variable() -> None:
    assert f"`{helper.SERVICE_MARK}=<run folder>`" in (Path(__file__).parents[3] / "docs" / "contracts.md").read_text()
    assert helper.SERVICE_MARK == MARK


def test_a_caller_that_is_root_keeps_its_environment_but_for_the_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, "/x")
    monkeypatch.setenv("BEASTACK_SIM", "/sim")
    helper.clean_environment(Caller(1, os.geteuid(), 0, "nova-compute"), None)
    assert MARK not in os.environ
    assert os.environ["BEASTACK_SIM"] == "/sim"


def test_the_daemon_carries_the_mark_and_what_it_starts_does_not() -> None:
    """As the kernel shows it to whoever ends a cloud: psutil reads what a process was started with."""
    code = """
        import os, subprocess, sys
        from beastack.privsep import helper
        from beastack.privsep.peer import Caller
        helper.clean_environment(Caller(1, os.geteuid(), 0, "x"), None)
        guest = subprocess.Popen(["sleep", "60"])
        print(guest.pid, flush=True)
        sys.stdin.read()
        guest.kill()
        guest.wait()
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    env = {**os.environ, MARK: "/x"}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as daemon:
        assert daemon.stdout is not None
        guest = int(daemon.stdout.readline())
        assert psutil.Process(daemon.pid).environ()[MARK] == "/x"
        assert MARK not in psutil.Process(guest).environ()
        daemon.communicate("", timeout=30)
