"""The system packages a cloud needs, and the package managers that bring them.

Standard library only: the launcher runs this before the environment is filled (``bootstrap.py``), in parallel with it.
Sources: dpkg-query(1), apt-get(8), pkg(8).
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

# Debian 12. The control plane's servers, the simulated host's tools, and what the guest image is built with.
DEBIAN = (
    "rabbitmq-server",
    "mariadb-server",
    "memcached",
    "qemu-system-x86",
    "qemu-utils",
    "ovmf",
    "dnsmasq-base",
    "haproxy",
    "radvd",
    "iproute2",
    "iputils-ping",
    "iputils-arping",
    "tcpdump",
    "openssh-client",
    "util-linux",
    "mtools",
    "dosfstools",
    "gdisk",
    "binutils",
    "cpio",
)
FREEBSD = (
    "rabbitmq",
    "mariadb118-server",
    "memcached",
    "edk2-bhyve",
    "qemu-tools",
    "dnsmasq",
    "haproxy",
    "radvd",
    "novnc",
)

# Seconds: a slow mirror is waited for, a dead one is not.
INSTALL_LIMIT = 900.0
LOCK_WAIT = 120
END_GRACE = 60.0
QUERY_LIMIT = 30.0


AGAIN = "mend what it names (network, disk space, a locked dpkg), and run the same beastack command again"


class PackageError(Exception):
    """A package could not be installed: which command and its last words, and what to do."""

    def __init__(self, words: str, remedy: str) -> None:
        super().__init__(f"{words}\nRemedy: {remedy}")
        self.words, self.remedy = words, remedy


@dataclass(frozen=True)
class Answer:
    """What a command said: exit status, standard output, standard error."""

    rc: int
    out: str
    err: str


Runner = Callable[[Sequence[str], float], Answer]


def run(argv: Sequence[str], limit: float, stopped: Callable[[], bool] = lambda: False) -> Answer:
    """Run one command to its end, at most ``limit`` seconds and until ``stopped()``; PackageError when it is ended.

    In a session of its own: Ctrl-C does not tear dpkg out of its work, apt-get is asked to end and may finish a step.
    """
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    command = " ".join(argv)
    try:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            start_new_session=True,
        )
    except FileNotFoundError as e:
        raise PackageError(f"{argv[0]} is not here", f"install {argv[0]}, {AGAIN}") from e
    deadline = time.monotonic() + limit
    try:
        while True:
            try:
                out, err = child.communicate(timeout=0.2)
                return Answer(child.returncode, out, err)
            except subprocess.TimeoutExpired:
                if stopped():
                    raise PackageError(f"{command} was interrupted", f"run it by hand, {AGAIN}") from None
                if time.monotonic() > deadline:
                    words = f"{command} did not end within {limit:.0f} s"
                    raise PackageError(words, f"is the package mirror reachable? {AGAIN}") from None
    finally:
        _end(child)


def _end(child: "subprocess.Popen[str]") -> None:
    """Ask it to end and wait; kill it when it does not."""
    for number, grace in ((signal.SIGTERM, END_GRACE), (signal.SIGKILL, QUERY_LIMIT)):
        if child.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=grace)


class PackageManager(Protocol):
    """Finds and installs system packages."""

    wanted: tuple[str, ...]

    def missing(self) -> list[str]:
        """Names of the wanted packages that are not installed."""
        ...

    def install(self, names: Sequence[str]) -> None:
        """Install ``names``; raise PackageError with the cause and the remedy."""
        ...


def _fail(argv: Sequence[str], answer: Answer, before: Answer | None = None) -> PackageError:
    """What the command said; apt-get update only warns of a mirror that it cannot reach, and install then suffers."""
    warned = before.err.strip().splitlines()[-3:] if before else []
    words = [*warned, *(answer.err.strip() or answer.out.strip()).splitlines()[-5:]]
    text = f"{' '.join(argv)} failed with status {answer.rc}:\n  " + "\n  ".join(words)
    return PackageError(text, f"run it by hand, {AGAIN}")


class Apt:
    """Debian's packages."""

    def __init__(self, wanted: tuple[str, ...] = DEBIAN, runner: Runner = run) -> None:
        self.wanted = wanted
        self._run = runner

    def missing(self) -> list[str]:
        """Those of the wanted packages that dpkg does not know as installed."""
        answer = self._run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *self.wanted], QUERY_LIMIT)
        present = {line.split()[0] for line in answer.out.splitlines() if line.endswith(" installed")}
        return [name for name in self.wanted if name not in present]

    def install(self, names: Sequence[str]) -> None:
        """Install without recommendations; the package lists are fetched first, as a fresh image has none."""
        if not names:
            return
        update = ["apt-get", "-q", "update"]
        updated = self._run(update, INSTALL_LIMIT)
        if updated.rc:
            raise _fail(update, updated)
        # another dpkg, an unattended upgrade say, is waited for
        lock = ["-o", f"DPkg::Lock::Timeout={LOCK_WAIT}"]
        argv = ["apt-get", "-q", "install", "-y", *lock, "--no-install-recommends", *names]
        answer = self._run(argv, INSTALL_LIMIT)
        if answer.rc:
            raise _fail(argv, answer, updated)


class Pkg:
    """FreeBSD's packages."""

    def __init__(self, wanted: tuple[str, ...] = FREEBSD, runner: Runner = run) -> None:
        self.wanted = wanted
        self._run = runner

    def missing(self) -> list[str]:
        """Those of the wanted packages that ``pkg info -e`` denies."""
        return [name for name in self.wanted if self._run(["pkg", "info", "-e", name], QUERY_LIMIT).rc]

    def install(self, names: Sequence[str]) -> None:
        """Install with ``pkg install -y``."""
        if not names:
            return
        argv = ["pkg", "install", "-y", *names]
        answer = self._run(argv, INSTALL_LIMIT)
        if answer.rc:
            raise _fail(argv, answer)


def detect(runner: Runner = run) -> PackageManager:
    """The machine's package manager; PackageError on a system that has neither apt-get nor pkg."""
    if shutil.which("apt-get") and shutil.which("dpkg-query"):
        return Apt(runner=runner)
    if shutil.which("pkg"):
        return Pkg(runner=runner)
    raise PackageError(
        "neither apt-get (Debian) nor pkg (FreeBSD) is here",
        "use Debian 12 or FreeBSD 14.3 or later, or install these yourself: " + ", ".join(DEBIAN),
    )
