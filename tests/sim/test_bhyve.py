"""bhyve with a real guest, without a network: its whole life, as 13-bhyve-run.txt shows it."""

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

import pytest

CODE, VARS = Path("/usr/share/OVMF/OVMF_CODE.fd"), Path("/usr/share/OVMF/OVMF_VARS.fd")
WORK = Path("/var/cache/beastack/guestimage")
BOOT_LIMIT = 60.0

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None or not CODE.exists(), reason="needs QEMU and OVMF"),
]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    out = tmp_path_factory.mktemp("image")
    module = [sys.executable, "-m", "beastack.cloud.guestimage", "--workdir", str(WORK)]
    subprocess.run([*module, "--out", str(out / "guest.qcow2")], check=True, timeout=300)
    convert = ["qemu-img", "convert", "-O", "raw", str(out / "guest.qcow2"), str(out / "guest.raw")]
    subprocess.run(convert, check=True, timeout=60)
    return out / "guest.raw"


class Machine:
    """One guest and its console."""

    def __init__(self, folder: Path, image: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "BEASTACK_SIM": str(folder)}
        shutil.copyfile(image, folder / "root.raw")
        shutil.copyfile(VARS, folder / "vars.fd")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[str] | None = None
        self.console: socket.socket | None = None
        self.said = b""

    def start(self, *more: str) -> None:
        line = ["-A", "-H", "-P", "-u", "-w", "-c", "1", "-m", "256M", "-o", "pci.enable_bars=true"]
        line += ["-s", "0,hostbridge", "-s", "2,virtio-rnd"]
        line += ["-s", f"3,virtio-blk,{self.folder}/root.raw,bootindex=1", "-s", "31,lpc"]
        line += ["-l", f"com1,tcp=127.0.0.1:{self.port}", "-l", f"bootrom,{CODE},{self.folder}/vars.fd"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "beastack.sim.bhyve.main", *line, *more, "m1"],
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 20
        self.said = b""
        while True:
            try:
                self.console = socket.create_connection(("127.0.0.1", self.port), timeout=BOOT_LIMIT)
                return
            except ConnectionRefusedError:
                assert self.process.poll() is None and time.monotonic() < deadline
                time.sleep(0.01)

    def until(self, words: bytes) -> None:
        assert self.console is not None
        while words not in self.said:
            data = self.console.recv(65536)
            assert data, self.said
            self.said += data

    def up(self, *more: str) -> None:
        self.start(*more)
        self.until(b"guest# ")
        self.until(b"beastack-guest: ready")

    def type(self, text: str) -> None:
        assert self.console is not None
        self.console.sendall(text.encode() + b"\n")

    def ended(self) -> int:
        assert self.process is not None
        status = self.process.wait(30)
        if self.console is not None:
            self.console.close()
        return status

    def ctl(self, action: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "beastack.sim.bhyve.bhyvectl", "--vm=m1", f"--{action}"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.returncode, done.stdout + done.stderr

    def exists(self) -> bool:
        return (self.folder / "vmm" / "m1").exists()

    def children(self) -> list[int]:
        assert self.process is not None
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]


@pytest.fixture
def guest(tmp_path: Path, image: Path) -> Iterator[Machine]:
    made = Machine(tmp_path, image)
    yield made
    made.ctl("destroy")
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


def _await(condition: Callable[[], bool], limit: float = 5.0) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_life(guest: Machine) -> None:
    """Console, pause, reboot, start again, power-off."""
    guest.up()
    with socket.create_connection(("127.0.0.1", guest.port), timeout=5) as second:
        assert second.recv(100) == b"Socket already connected\n\0"
    guest.type("echo console-$((40+2))")
    guest.until(b"console-42")
    stats = guest.ctl("get-stats")[1]
    assert int(re.findall(r"Resident memory\s+(\d+)", stats)[0]) > 1 << 20
    assert guest.process is not None and guest.console is not None
    qemu = guest.children()[0]
    guest.process.send_signal(signal.SIGSTOP)
    _await(lambda: _state(qemu) == "T")
    guest.process.send_signal(signal.SIGCONT)
    guest.type("echo resumed-$((40+2))")
    guest.until(b"resumed-42")
    guest.type("reboot -f")
    assert guest.ended() == 0
    assert guest.exists()
    guest.up()  # firmware: the machine is initialised again
    guest.type("poweroff")
    assert guest.ended() == 1
    assert guest.exists()
    assert guest.ctl("destroy") == (0, "")
    assert not guest.exists()


def test_power_button(guest: Machine) -> None:
    guest.up("-D")
    assert guest.process is not None
    guest.process.terminate()
    guest.until(b"power button")
    assert guest.ended() == 1
    assert not guest.exists()


@pytest.mark.parametrize(
    ("action", "status", "stays"), [("force-reset", 0, True), ("force-poweroff", 1, True), ("destroy", 4, False)]
)
def test_bhyvectl_ends_it(guest: Machine, action: str, status: int, stays: bool) -> None:
    guest.start()
    assert guest.ctl(action) == (0, "")
    assert guest.ended() == status
    assert guest.exists() is stays


def test_killed(guest: Machine) -> None:
    guest.start()
    guest.until(b"BdsDxe")
    children = guest.children()
    assert len(children) == 2 and guest.process is not None
    guest.process.kill()
    assert guest.ended() == -signal.SIGKILL
    _await(lambda: all(_state(pid) in ("Z", "gone") for pid in children))
    assert guest.exists()
    again = subprocess.run(
        [sys.executable, "-m", "beastack.sim.bhyve.main", "-l", f"bootrom,{CODE}", "m1"],
        env=guest.environment, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (again.returncode, again.stderr) == (4, "bhyve: vm_openf: Device busy\n")
    assert guest.ctl("destroy") == (0, "")
    guest.start()


def test_the_button_before_the_kernel_is_ignored(guest: Machine) -> None:
    guest.start()
    assert guest.process is not None
    _await(lambda: len(guest.children()) == 2)
    guest.process.terminate()
    guest.until(b"guest# ")
    assert guest.process.poll() is None
