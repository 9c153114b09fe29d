"""The plain Linux host of bench/compute: its files are its own, and nothing of it outlives whoever holds it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from bench.linux_host import ROOT, HostFailed, LinuxHost

from beastack.sim.host import lab

pytestmark = pytest.mark.root
BRIDGE = "bstbench"
HOLDER = """
import sys
from pathlib import Path
from bench.linux_host import LinuxHost
host = LinuxHost("linux1", Path(sys.argv[1]) / "log", Path(sys.argv[1]), Path(sys.argv[2]))
host.start()
host.card("eth0", sys.argv[3])
host.launch("sleeper", ["sh", "-c", "touch /run/here; exec sleep 600"])
host.until("sleeper", "its start", lambda: host.exists("/run/here"))
print(host.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    for name in ("usr/bin", "etc"):
        (tmp_path / "packages" / name).mkdir(parents=True)
    (tmp_path / "packages/etc/of-a-package").write_text("here\n")
    return tmp_path / "packages"


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep/mine").write_text("kept\n")
    return tmp_path / "keep"


@pytest.fixture
def bridge() -> Iterator[str]:
    subprocess.run(["ip", "link", "add", "name", BRIDGE, "type", "bridge"], check=True)
    yield BRIDGE
    subprocess.run(["ip", "link", "delete", "dev", BRIDGE], check=True)


def test_its_files_are_its_own(packages: Path, keep: Path) -> None:
    host = LinuxHost("linux1", keep / "log", keep, packages)
    host.start()
    try:
        assert host.run("hostname") == "linux1\n"
        assert host.run("cat", "/etc/of-a-package", str(keep / "mine")) == "here\nkept\n"
        host.run("touch", "/etc/written-inside", "/var/lib/written-inside", str(keep / "shared"))
        assert host.exists("/etc/written-inside")
        with pytest.raises(HostFailed, match="Read-only"):
            host.run("touch", "/usr/written-inside")
        host.launch("false", ["false"])
        with pytest.raises(HostFailed, match="false: the impossible: it ended"):
            host.until("false", "the impossible", lambda: False)
    finally:
        host.stop()
    assert not Path("/etc/written-inside").exists()
    assert not Path("/var/lib/written-inside").exists()
    assert not (packages / "etc/written-inside").exists()
    assert (keep / "shared").exists()


def _namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:  # it ended meanwhile
        return ""


def test_it_ends_with_who_holds_it(packages: Path, keep: Path, bridge: str) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(keep), str(packages), bridge],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert holder.stdout
    first = psutil.Process(int(holder.stdout.readline()))
    namespace = _namespace(first.pid)
    inside = [each for each in psutil.process_iter() if _namespace(each.pid) == namespace]
    assert len(inside) == 2
    assert lab.is_bridge(bridge)
    assert Path(f"/sys/class/net/{bridge}l").exists()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(10)
    _gone, alive = psutil.wait_procs(inside, timeout=10)
    assert alive == []
    # a network namespace goes a moment after its last process
    pause = subprocess.run(
        ["timeout", "10", "sh", "-c", 'while [ -e "$0" ]; do sleep 0.1; done', f"/sys/class/net/{bridge}l"], check=False
    )
    assert pause.returncode == 0
