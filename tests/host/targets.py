"""Which host the suite speaks to, from its URL: a simulated one of its own, this machine, or one reached by ssh."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from beastack.freebsd.errors import ProgramMissing, failure
from beastack.freebsd.host import DEFAULT_LIMIT, Completed, Host, JailHost, LocalHost
from beastack.freebsd.ssh_host import Address, SshHost

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_LIMIT = 60.0
_MISSING = 127
# loader.conf(5) of the simulated host
TUNABLES = ("kern.racct.enable=1", "pptdevs=2/0/0")


@dataclass(frozen=True)
class SimHost:
    """A simulated host, entered as ``beastack-sim host exec`` does it, without starting Python for every command."""

    directory: Path
    pid: int

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = DEFAULT_LIMIT, check: bool = True
    ) -> Completed:
        """See Host.run."""
        args = list(argv)
        enter = ["nsenter", "-t", str(self.pid), "-m", "-n", "-u", "-p", "--wd=/", "--", "env"]
        enter += [f"PATH={self.directory}/bin:{PATH}", f"BEASTACK_SIM={self.directory}"]
        done = LocalHost().run([*enter, *args], input=input, timeout=timeout, check=False)
        if done.rc == _MISSING and done.err.startswith("env:"):
            raise ProgramMissing(args[0])
        if check and done.rc:
            raise failure(args, done.rc, done.out, done.err)
        return Completed(tuple(args), done.rc, done.out, done.err)

    def jail(self, name: str) -> JailHost:
        """See Host.jail."""
        return JailHost(self, name)


@dataclass(frozen=True)
class Target:
    """``kind`` is sim, local or ssh: what only a real host has is skipped on a simulated one, with the reason."""

    url: str
    kind: str
    host: Host

    @property
    def simulated(self) -> bool:
        """Whether it is the simulation that answers."""
        return self.kind == "sim"


def sim(*arguments: str) -> str:
    """``beastack-sim``; its words when it fails."""
    argv = [sys.executable, "-m", "beastack.sim.main", *arguments]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=START_LIMIT, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise RuntimeError(f"beastack-sim {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def simulated(name: str = "conformance", nics: Sequence[str] = ()) -> Iterator[SimHost]:
    """A host of our own, without networks unless some are named (NAME=BRIDGE), that is gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="bsc-"))
    try:
        words = [word for n in nics for word in ("--nic", n)]
        words += [word for t in TUNABLES for word in ("--tunable", t)]
        sim("host", "start", "--dir", str(directory), "--name", name, *words)
        try:
            yield running(directory)
        finally:
            sim("host", "stop", "--dir", str(directory))
    finally:
        shutil.rmtree(directory)


def running(directory: Path) -> SimHost:
    """A simulated host that runs already."""
    return SimHost(directory, int(json.loads((directory / "engine.json").read_text())["pid"]))


@contextmanager
def open_target(url: str) -> Iterator[Target]:
    """``sim:`` (a fresh one), ``sim:DIR`` (one that runs), ``local:``, ``ssh://…``. Raises ValueError."""
    if url == "sim:":
        with simulated() as host:
            yield Target(url, "sim", host)
    elif url.startswith("sim:"):
        yield Target(url, "sim", running(Path(url.removeprefix("sim:"))))
    elif url == "local:":
        if not sys.platform.startswith("freebsd"):
            raise ValueError("--host local: needs a FreeBSD machine; this is none. Use sim: or ssh://…")
        yield Target(url, "local", LocalHost())
    elif url.startswith("ssh:"):
        with SshHost(Address.parse(url)) as there:
            there.run(["true"])
            yield Target(url, "ssh", there)
    else:
        raise ValueError(f"--host {url}: sim:, local: or ssh://USER@HOST:PORT?identity=FILE is wanted")
