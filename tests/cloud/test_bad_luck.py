"""Bad input and bad luck: one message, a status that is not zero, and nothing left running. Clouds of their own."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from .conftest import NAME, ROOT, beastack, services, until

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

LUCK = "badluck"
RUN_DIR = Path("/var/lib/beastack") / LUCK
IP_FREEBIND = 15  # ip(7)


def left(folder: Path, index: int) -> list[str]:
    """Processes and interfaces of a cloud that still are."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            if process.environ().get("BEASTACK_CLOUD") == str(folder) or f"{folder}/" in words:
                found.append(f"{process.pid} {words}")
        except psutil.Error:
            continue
    return found + [name for name in psutil.net_if_addrs() if name in (f"bsm{index}", f"bsp{index}")]


def index_of(folder: Path) -> int:
    return int(json.loads((folder / "cloud.json").read_text())["index"])


def fails(words: str, *, status: int = 1, remedy: bool = True, **how: object) -> str:
    """Run `up`; it must end with ``status`` and one message that has ``words``, a remedy, and no traceback."""
    done = subprocess.run([str(ROOT / "beastack"), "up", "--name", LUCK], **command(how))  # type: ignore[call-overload]
    return judged(done, words, status, remedy)


def command(how: dict[str, object]) -> dict[str, object]:
    return {"capture_output": True, "text": True, "timeout": 120, "check": False, **how}


def judged(done: "subprocess.CompletedProcess[str]", words: str, status: int, remedy: bool) -> str:
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    messages = re.findall(r"^beastack: (?!SIG)", done.stderr, re.MULTILINE)
    assert len(messages) == 1, done.stderr
    message = done.stderr[done.stderr.rindex("\nbeastack: ") if "\nbeastack: " in done.stderr else 0 :]
    assert re.search(words, message), message
    assert not remedy or "Remedy: " in message
    return message


@pytest.fixture(autouse=True)
def removed() -> Iterator[None]:
    """Nothing of the cloud is there before, nothing runs afterwards."""
    yield
    if (RUN_DIR / "cloud.json").exists():
        index = index_of(RUN_DIR)
        try:
            assert left(RUN_DIR, index) == []
        finally:
            beastack("down", "--name", LUCK)
    shutil.rmtree(RUN_DIR, ignore_errors=True)


@pytest.fixture
def claimed() -> int:
    """The index that the cloud will have: it is kept while its folder is there."""
    (RUN_DIR / "data").mkdir(parents=True)
    register = Path("/run/beastack/clouds.json")
    taken = set(json.loads(register.read_text()).values()) if register.exists() else set()
    index = next(n for n in range(200, 250) if n not in taken)
    (RUN_DIR / "cloud.json").write_text(json.dumps({"name": LUCK, "index": index}))
    return index


def test_a_port_in_use_is_named_with_its_holder(claimed: int) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        holder.bind((f"100.64.{claimed}.1", 9292))
        holder.listen()
        began = time.monotonic()
        message = fails(rf"port 9292 \(glance\) of 100.64.{claimed}.1 is in use: \S+ \(pid {os.getpid()}\)")
    assert "Remedy: end what holds it" in message
    assert time.monotonic() - began < 20


def test_without_a_tap_device(tmp_path: Path) -> None:
    argv = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"]
    done = subprocess.run([*argv, str(ROOT / "beastack"), "up", "--name", LUCK], **command({}))  # type: ignore[call-overload]
    assert "modprobe tun" in judged(done, "/dev/net/tun does not exist", 1, True)
    assert not RUN_DIR.exists()


@pytest.mark.parametrize("what", ["up", "down", "status", "logs"])
def test_without_root(what: str) -> None:
    """Where the folder cannot be read, too: it says so, and not that there is no cloud."""
    RUN_DIR.mkdir(mode=0o700, parents=True)
    (RUN_DIR / "cloud.json").write_text('{"name": "badluck", "index": 200}')
    # the interpreter of a developer may be in root's home: it drops its rights when all is imported
    code = "import os, sys, beastack.cloud.api, beastack.cli.main as m; os.setgroups([]); os.setgid(65534); "
    code += "os.setuid(65534); m.main()"
    done = subprocess.run([sys.executable, "-c", code, what, "--name", LUCK], **command({"cwd": "/"}))  # type: ignore[call-overload]
    judged(done, "root", 1, True)
    shutil.rmtree(RUN_DIR)


@contextlib.contextmanager
def small_disk(mib: int) -> Iterator[Path]:
    RUN_DIR.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "none", str(RUN_DIR)], timeout=10, check=True)
    try:
        yield RUN_DIR
    finally:
        if (RUN_DIR / "cloud.json").exists():
            assert left(RUN_DIR, index_of(RUN_DIR)) == []
        # a log that is being closed may hold it for a moment
        until("the disk to be free", lambda: subprocess.run(["umount", str(RUN_DIR)], timeout=10).returncode == 0, 10)
        RUN_DIR.rmdir()


def test_a_disk_that_is_too_small_is_refused_before_anything_starts() -> None:
    with small_disk(100) as folder:
        assert "--run-dir" in fails("disk: 0.1 GiB free")
        assert list(folder.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile() -> None:
    with small_disk(2100) as folder:
        up = start_up()
        until("the services to start", lambda: (folder / "log" / "mariadb.log").exists(), 60)
        with (folder / "filler").open("wb") as filler, contextlib.suppress(OSError):
            os.posix_fallocate(filler.fileno(), 0, 2000 << 20)
            os.posix_fallocate(filler.fileno(), 0, os.statvfs(folder).f_bavail * 4096 + (2000 << 20))
        judged(ended(up), rf"the disk of {folder} is full: \d+ MiB free", 1, True)


def start_up() -> "subprocess.Popen[str]":
    argv = [str(ROOT / "beastack"), "up", "--name", LUCK]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(up: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    try:
        out, err = up.communicate(timeout=60)
    finally:
        up.kill()
    return subprocess.CompletedProcess(up.args, up.returncode, out, err)


def logged(name: str, words: str) -> Callable[[], bool]:
    path = RUN_DIR / "log" / f"{name}.log"
    return lambda: path.exists() and words in path.read_text(errors="replace")


@pytest.mark.parametrize(
    ("number", "status", "moment"),
    [(signal.SIGINT, 130, "supervisor: ready"), (signal.SIGTERM, 143, "mariadb: ready for connections")],
)
def test_a_signal_ends_up_soon_and_cleanly(number: int, status: int, moment: str) -> None:
    name, _, words = moment.partition(": ")
    up = start_up()
    until(moment, logged(name, words), 60)
    began = time.monotonic()
    up.send_signal(number)
    time.sleep(0.3)
    up.send_signal(number)  # an impatient person's second one does not tear the cleaning up
    judged(ended(up), f"{signal.Signals(number).name}: everything that was started has been ended", status, False)
    assert time.monotonic() - began < 30


def test_a_service_that_dies_at_start_is_named_with_its_log(claimed: int) -> None:
    """Erlang refuses a cookie that others may read."""
    home = RUN_DIR / "data" / "rabbitmq"
    home.mkdir(parents=True)
    (home / ".erlang.cookie").write_text("cookie")
    message = fails("rabbitmq dies at start")
    assert f"Log: {RUN_DIR}/log/rabbitmq.log" in message
    assert "cookie" in message


def fake(folder: Path, name: str, text: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def test_a_package_that_cannot_be_installed(tmp_path: Path) -> None:
    fake(tmp_path, "dpkg-query", "echo 'haproxy installed'; exit 1")
    fake(tmp_path, "apt-get", 'case "$*" in *install*) echo "E: Unable to fetch some archives" >&2; exit 100;; esac')
    message = fails("apt-get .*install", env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert "E: Unable to fetch some archives" in message
    assert not RUN_DIR.exists()


def test_without_a_network_the_first_run_says_so(tmp_path: Path) -> None:
    """The launcher itself: nothing is there but Python, and nothing can be fetched."""
    env = {**os.environ, "BEASTACK_VENV": str(tmp_path / "venv"), "TMPDIR": str(tmp_path)}
    fake(tmp_path, "apt-get", "echo 'E: no network' >&2; exit 100")
    env["PATH"] = f"{tmp_path}:{env['PATH']}"
    argv = ["unshare", "--net", str(ROOT / "beastack"), "up", "--name", LUCK]
    done = subprocess.run(argv, **command({"env": env}))  # type: ignore[call-overload]
    assert done.returncode == 1
    assert "cannot install uv from the package index" in done.stderr
    assert re.search(r"^  Log: \S+$", done.stderr, re.MULTILINE)
    assert re.search(r"^  Remedy: ", done.stderr, re.MULTILINE)
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]


def test_a_signal_ends_the_first_run_with_all_it_started(tmp_path: Path) -> None:
    """The package index takes the connection and never answers, and so does the package mirror."""
    fake(tmp_path, "dpkg-query", "exit 1")
    fake(tmp_path, "apt-get", f"touch {tmp_path}/begun; exec sleep 1000")
    with socket.create_server(("127.0.0.1", 0)) as index:
        index.settimeout(60)
        env = {**os.environ, "BEASTACK_VENV": str(tmp_path / "venv"), "TMPDIR": str(tmp_path)}
        env |= {"PIP_INDEX_URL": f"http://127.0.0.1:{index.getsockname()[1]}/", "PATH": f"{tmp_path}:{env['PATH']}"}
        argv = [str(ROOT / "beastack"), "up", "--name", LUCK]
        up = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with index.accept()[0]:
            until("apt-get to begin", (tmp_path / "begun").exists, 30)
            mark = f"TMPDIR={tmp_path}".encode()
            assert len(processes_with(mark)) >= 4  # the launcher, pip, the installer, apt-get
            up.terminate()
            done = ended(up)
    assert done.returncode == 143
    assert "interrupted; what was started has been ended" in done.stderr
    assert processes_with(mark) == []


def processes_with(variable: bytes) -> list[str]:
    found = []
    for process in psutil.pids():
        with contextlib.suppress(OSError):
            if variable in Path(f"/proc/{process}/environ").read_bytes().split(b"\0"):
                found.append(Path(f"/proc/{process}/cmdline").read_bytes().decode())
    return found


def test_two_clouds_at_the_same_time_do_not_meet(cloud: str) -> None:
    pids = {name: s["pid"] for name, s in services().items()}
    try:
        said = beastack("up", "--name", LUCK).stdout
        address = re.search(r"ping (198\.18\.\d+\.\d+)", said)
        other = re.search(r"ping (198\.18\.\d+\.\d+)", cloud)
        assert address and other
        for target in (address[1], other[1]):
            subprocess.run(["ping", "-c", "1", "-W", "5", target], capture_output=True, timeout=10, check=True)
        names = json.loads(beastack("openstack", "--name", LUCK, "server", "list", "--all", "-f", "json").stdout)
        assert [row["Networks"] for row in names] == [{"provider": [address[1]]}]
    finally:
        beastack("down", "--name", LUCK, status=None)
    assert {name: s["pid"] for name, s in services().items()} == pids
    assert "nothing was changed" in beastack("up", "--name", NAME).stdout
