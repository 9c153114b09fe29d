"""service(8) of the two daemons: words and statuses of rc.subr(8)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from beastack.sim.openvswitch import service
from beastack.sim.openvswitch.service import Refused, Service, run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(service, "RUN", tmp_path)
    return tmp_path


def test_what_rc_conf_would_have_to_allow_is_refused_with_the_way_around(folder: Path) -> None:
    with pytest.raises(Refused, match=r"Set ovs_vswitchd_enable to YES in .* or use 'onestart'"):
        run(["ovs-vswitchd", "start"])


def test_a_daemon_that_does_not_run(folder: Path) -> None:
    for action in ("onestatus", "onestop"):
        with pytest.raises(Refused, match=r"ovsdb_server .*not running") as refused:
            run(["ovsdb-server", action])
        assert refused.value.status == 1


def test_a_pid_file_of_another_program_is_no_daemon(folder: Path) -> None:
    (folder / "ovsdb-server.pid").write_text(f"{os.getpid()}\n")
    assert Service("ovsdb-server").pid() is None


def test_a_daemon_that_runs_is_not_started_again_and_is_stopped(folder: Path) -> None:
    wait = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    with subprocess.Popen(["ovs-vswitchd", *wait[1:]], executable=wait[0], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (folder / "ovs-vswitchd.pid").write_text(f"{process.pid}\n")
        assert run(["ovs-vswitchd", "onestatus"]) == f"ovs_vswitchd is running as pid {process.pid}.\n"
        with pytest.raises(Refused, match=rf"ovs_vswitchd already running\? \(pid={process.pid}\)"):
            run(["ovs-vswitchd", "onestart"])
        assert "Waiting for PIDS" in run(["ovs-vswitchd", "onestop"])
        assert process.wait(10) == -15


def test_other_services_and_words(folder: Path) -> None:
    with pytest.raises(Refused, match="sshd does not exist in"):
        run(["sshd", "onestart"])
    with pytest.raises(Refused, match="not simulated: reload"):
        run(["ovsdb-server", "reload"])
    with pytest.raises(Refused, match="usage: service"):
        run([])
