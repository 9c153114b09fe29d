"""The system packages a cloud needs, and the package managers that bring them.

Standard library only: the launcher runs this before the environment is filled (``bootstrap.py``), in parallel with it.
Sources: dpkg-query(1), apt-get(8), pkg(8).
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
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
)

# Seconds: a slow mirror is waited for, a dead one is not.
INSTALL_LIMIT = 900.0
QUERY_LIMIT = 30.0


class PackageError(Exception):
    """A package could not be installed; the text says which command, its last words and what to do."""


@dataclass(frozen=True)
class Answer:
    """What a command said: exit status, standard output, standard error."""

    rc: int
    out: str
    err: str


Runner = Callable[[Sequence[str], float], Answer]


def run(argv: Sequence[str], limit: float) -> Answer:
    """Run one command to its end, at most ``limit`` seconds; raise PackageError when it does not end."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            list(argv),
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
            env=env,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as e:
        raise PackageError(
            f"{' '.join(argv)} did not end within {limit:.0f} s. Is the package mirror reachable?"
        ) from e
    return Answer(done.returncode, done.stdout, done.stderr)


class PackageManager(Protocol):
    """Finds and installs system packages."""

    wanted: tuple[str, ...]

    def missing(self) -> list[str]:
        """Names of the wanted packages that are not installed."""
        ...

    def install(self, names: Sequence[str]) -> None:
        """Install ``names``; raise PackageError with the cause and the remedy."""
        ...


def _fail(argv: Sequence[str], answer: Answer) -> PackageError:
    words = (answer.err.strip() or answer.out.strip()).splitlines()[-5:]
    return PackageError(
        f"{' '.join(argv)} failed with status {answer.rc}:\n  " + "\n  ".join(words) + "\nRemedy: run it by hand, mend"
        " what it names (network, disk space, a locked dpkg), and run the same beastack command again."
    )


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
        answer = self._run(update, INSTALL_LIMIT)
        if answer.rc:
            raise _fail(update, answer)
        argv = ["apt-get", "-q", "install", "-y", "--no-install-recommends", *names]
        answer = self._run(argv, INSTALL_LIMIT)
        if answer.rc:
            raise _fail(argv, answer)


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


def detect() -> PackageManager:
    """The machine's package manager; PackageError on a system that has neither apt-get nor pkg."""
    if shutil.which("apt-get") and shutil.which("dpkg-query"):
        return Apt()
    if shutil.which("pkg"):
        return Pkg()
    raise PackageError(
        "neither apt-get (Debian) nor pkg (FreeBSD) is here: install these yourself: " + ", ".join(DEBIAN)
    )
