"""The guest supervisor as a real process, over programs that stand for bhyve's."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from beastack.nova.guest.console import unix_listener
from beastack.privsep import guest_files

from .fakes import FakeHost


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FakeHost]:
    made = FakeHost(tmp_path)
    yield made
    made.end()


@pytest.fixture
def running(host: FakeHost) -> FakeHost:
    assert host.start().returncode == 0
    host.wait("running")
    return host


def test_console_from_the_first_byte(running: FakeHost) -> None:
    with running.viewer() as viewer:
        viewer.until(b"guest up 1\r\n")
    assert (running.guest / "console.log").read_bytes().startswith(b"guest up 1\r\n")
    for name in ("console.sock", "control.sock"):
        assert (running.guest / name).stat().st_mode & 0o777 == 0o600
    assert (running.base / "ifconfig.log").read_text().splitlines()[0] == "tap12345678-9a up"


@pytest.mark.parametrize(
    ("word", "state", "reason"),
    [
        ("poweroff", "stopped", "the guest powered off"),
        ("halt", "stopped", "the guest halted"),
        ("crash", "crashed", "triple fault: bhyve says crash"),
        ("broken", "failed", "bhyve ended with an error: bhyve says broken"),
    ],
)
def test_exit_codes(running: FakeHost, word: str, state: str, reason: str) -> None:
    with running.viewer() as viewer:
        viewer.type(word + "\n")
        viewer.until(b"going down")
    ended = running.wait(state)
    assert (ended.reason, ended.asked) == (reason, False)
    assert not (running.base / "vmm").exists()
    assert not (running.guest / "control.sock").exists()
    assert b"going down" in (running.guest / "console.log").read_bytes()


def test_reboot_keeps_viewers(running: FakeHost) -> None:
    with running.viewer() as viewer:
        viewer.type("reboot\n")
        viewer.until(b"[beastack: the guest rebooted]")
        viewer.until(b"guest up 2\r\n")
        viewer.type("hello\n")
        viewer.until(b"hello")
    state = running.wait("running")
    assert state.restarts == 1
    ctl = (running.base / "bhyvectl.log").read_text().splitlines()
    assert ctl == [f"--vm={running.machine.name} --destroy"] * 2  # before each start


def test_bhyve_refuses(host: FakeHost) -> None:
    (host.base / "refuse").touch()
    assert host.start().returncode == 0
    state = host.wait("failed")
    assert "Device busy" in state.reason
    assert state.exit_status == 4


def test_bhyve_is_missing(host: FakeHost) -> None:
    (host.bin / "bhyve").unlink()
    assert host.start().returncode == 0
    assert "bhyve could not be started: No such file" in host.wait("failed").reason


def test_bhyve_is_killed(running: FakeHost) -> None:
    os.kill(running.state().bhyve_pid, signal.SIGKILL)
    assert "bhyve was ended by signal 9" in running.wait("failed").reason


def test_stop_by_power_button(running: FakeHost) -> None:
    states = [state.state for state in guest_files.ask(running.guest, {"do": "stop", "grace": 20}, 10)]
    assert states[-1] == "stopped"
    assert running.wait("stopped").asked
    assert "--force-poweroff" not in (running.base / "bhyvectl.log").read_text()


def test_stop_by_force_when_the_guest_is_deaf(running: FakeHost) -> None:
    (running.base / "deaf").touch()
    began = time.monotonic()
    states = [state.state for state in guest_files.ask(running.guest, {"do": "stop", "grace": 0.5}, 10)]
    assert states[-1] == "stopped"
    assert 0.5 <= time.monotonic() - began < 8
    assert "--force-poweroff" in (running.base / "bhyvectl.log").read_text()


def test_second_stop_hastens(running: FakeHost) -> None:
    (running.base / "deaf").touch()
    asked = guest_files.ask(running.guest, {"do": "stop", "grace": 600}, 10)
    assert next(asked).state == "stopping"
    assert [s.state for s in guest_files.ask(running.guest, {"do": "stop", "grace": 0}, 10)][-1] == "stopped"


def test_reset(running: FakeHost) -> None:
    for state in guest_files.ask(running.guest, {"do": "reset"}, 10):
        if state.state == "running":
            break
    assert state.restarts == 1
    assert "--force-reset" in (running.base / "bhyvectl.log").read_text()
    assert running.starts() == 2


@pytest.mark.parametrize("request_", [{"do": "fly"}, {"do": "stop"}, {"do": "stop", "grace": -1}, {}])
def test_bad_requests(running: FakeHost, request_: dict[str, object]) -> None:
    with pytest.raises(guest_files.GuestFileError):
        list(guest_files.ask(running.guest, request_, 5))
    assert running.state().state == "running"


def test_one_supervisor(running: FakeHost) -> None:
    second = running.start()
    assert second.returncode == 3
    assert "another supervisor" in second.stderr
    assert running.starts() == 1


def test_mends_after_kill_9(running: FakeHost) -> None:
    before = running.state()
    os.kill(before.supervisor_pid, signal.SIGKILL)
    assert guest_files.wait_unsupervised(running.guest, 5)
    lost = running.state()
    assert (lost.state, lost.reason) == ("failed", "the supervisor of the guest is gone")
    assert guest_files.is_same(before.bhyve_pid, before.bhyve_mark)  # the orphan
    assert running.start().returncode == 0
    after = running.wait("running")
    assert not guest_files.is_same(before.bhyve_pid, before.bhyve_mark)
    assert after.bhyve_pid != before.bhyve_pid


def test_outlives_hangup_and_stops_on_term(running: FakeHost) -> None:
    pid = running.state().supervisor_pid
    os.kill(pid, signal.SIGHUP)
    assert [s.state for s in guest_files.ask(running.guest, {"do": "status"}, 5)] == ["running"]
    os.kill(pid, signal.SIGTERM)
    assert running.wait("stopped").asked


def test_many_viewers_one_writer(running: FakeHost) -> None:
    with running.viewer() as first, running.viewer() as second:
        first.type("one\n")
        first.until(b"one")
        second.until(b"one")
        second.type("poweroff\n")
        second.until(b"another viewer is typing")
        first.socket.shutdown(socket.SHUT_WR)  # it gives the keyboard away and still sees all
        deadline = time.monotonic() + 10
        second.socket.settimeout(0.1)
        while b"two" not in second.seen and time.monotonic() < deadline:
            second.type("two\n")
            with contextlib.suppress(TimeoutError):
                second.seen += second.socket.recv(65536)
        first.until(b"two")
    assert running.state().state == "running"


def test_log_is_bounded_and_a_slow_viewer_does_not_hold_the_guest(running: FakeHost) -> None:
    with running.viewer() as slow, running.viewer() as writer:
        writer.type("flood 3000\n")
        deadline = time.monotonic() + 20
        while not (running.guest / "console.log.1").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        writer.type("done\n")
        writer.until(b"done\n")
        slow.until(b"output was skipped")
        slow.until(b"done\n")
    sizes = [(running.guest / name).stat().st_size for name in ("console.log", "console.log.1")]
    assert all(size <= 1 << 20 for size in sizes)
    assert sizes[1] > 900_000


def test_attach_as_a_pipe(running: FakeHost) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "beastack.nova.guest.main", "attach", "--dir", str(running.guest)],
        input=b"hello\n",
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0
    assert b"guest up 1" in done.stdout
    assert b"hello" in done.stdout


def test_attach_in_a_terminal_leaves_by_the_key(running: FakeHost) -> None:
    pid, terminal = os.forkpty()
    if pid == 0:
        os.execv(  # noqa: S606
            sys.executable,
            [sys.executable, "-m", "beastack.nova.guest.main", "attach", "--dir", str(running.guest)],
        )
    seen = b""
    while b"guest up 1" not in seen:
        seen += os.read(terminal, 4096)
    os.write(terminal, b"hi\n")
    while b"hi" not in seen:
        seen += os.read(terminal, 4096)
    os.write(terminal, b"\x1d")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert b"Ctrl-]" in seen


def test_small(running: FakeHost) -> None:
    status = Path(f"/proc/{running.state().supervisor_pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < 30_000, f"{resident} KiB"


def test_long_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    host = FakeHost(deep)
    try:
        assert host.start().returncode == 0
        host.wait("running")
        with host.viewer() as viewer:
            viewer.until(b"guest up")
    finally:
        host.end()


def test_sockets_made_at_once_leave_the_mask_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the process's: what is made later, by whomever, would have no rights."""
    monkeypatch.chdir(tmp_path)
    before, interval = os.umask(0o027), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def make(number: int) -> int:
            unix_listener(f"s{number}", None).close()
            return stat.S_IMODE((tmp_path / f"s{number}").stat().st_mode)

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(make, range(400))) == {0o600}
        assert os.umask(0o027) == 0o027
    finally:
        sys.setswitchinterval(interval)
        os.umask(before)
