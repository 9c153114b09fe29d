"""One lab of two networks for the tests that need root, and hosts in it; cleaned up before and after."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from . import replay

# A second run beside this one (another developer on the machine) names its own lab: a letter and an octet
OWN, OCTET = os.environ.get("BEASTACK_SIM_LAB", ":251").split(":")
MANAGEMENT, PROVIDER = f"bsmtest{OWN}", f"bsptest{OWN}"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAB = Path(f"/tmp/beastack-sim-tests{OWN}")


def sim(*arguments: str, check: bool = True, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "beastack.sim.main", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if check and done.returncode:
        raise AssertionError(f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


@dataclass
class Host:
    directory: Path

    def run(self, command: str, timeout: float = 60.0) -> tuple[str, int]:
        """One line for a fresh sh, standard error with standard output, as the transcripts were made."""
        # nsenter, as the tests of the programs should not spend their time in starting `beastack-sim`
        pid = str(json.loads((self.directory / "engine.json").read_text())["pid"])
        done = subprocess.run(
            ["nsenter", "-t", pid, "-m", "-n", "-u", "-p", "--", "sh", "-c", f"exec 2>&1; {command}"],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": f"{self.directory}/bin:{PATH}", "BEASTACK_SIM": str(self.directory)},
        )
        return done.stdout + done.stderr, done.returncode

    def ok(self, command: str, timeout: float = 60.0) -> str:
        out, rc = self.run(command, timeout)
        assert rc == 0, f"{command}: {rc}\n{out}\n{self.log()}"
        return out

    def log(self) -> str:
        return (self.directory / "engine.log").read_text()


def until(condition: Callable[[], bool], what: str, limit: float = 10.0) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"waited {limit} s for {what}"
        time.sleep(0.05)


def _clean() -> None:
    for directory in LAB.glob("*"):
        sim("host", "stop", "--dir", str(directory), check=False)
    for name in (MANAGEMENT, PROVIDER):
        sim("net", "down", "--name", name, check=False)
    shutil.rmtree(LAB, ignore_errors=True)


@pytest.fixture(scope="session")
def lab() -> Iterator[None]:
    if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        pytest.skip("needs root and /dev/net/tun")
    _clean()
    sim("net", "up", "--name", MANAGEMENT, "--address", f"100.64.{OCTET}.1/24")
    sim("net", "up", "--name", PROVIDER, "--address", f"198.18.{OCTET}.1/24")
    yield
    _clean()


@pytest.fixture
def make_host(lab: None) -> Iterator[Callable[..., Host]]:
    made: list[Path] = []

    def make(name: str, *nics: str, tunables: Sequence[str] = ()) -> Host:
        directory = LAB / name
        arguments = [word for nic in nics for word in ("--nic", nic)]
        arguments += [word for each in tunables for word in ("--tunable", each)]
        sim("host", "start", "--dir", str(directory), "--name", name, *arguments)
        made.append(directory)
        return Host(directory)

    yield make
    for directory in made:
        sim("host", "stop", "--dir", str(directory))


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    return make_host("fbsd1", f"vtnet0={MANAGEMENT}:100.64.{OCTET}.11/24", f"em0={PROVIDER}")


@pytest.fixture
def ovs_host(lab: None, make_host: Callable[..., Host]) -> Host:
    """A host whose Open vSwitch runs, with an empty database."""
    sim("packages", "openvswitch", timeout=300)
    shutil.rmtree(LAB / "ovs", ignore_errors=True)
    host = make_host("ovs", f"vtnet0={MANAGEMENT}:100.64.{OCTET}.11/24", f"em0={PROVIDER}")
    host.ok("service ovsdb-server onestart && service ovs-vswitchd onestart")
    return host


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if replay.REPORT:
        terminalreporter.write_line("\n" + replay.report())
