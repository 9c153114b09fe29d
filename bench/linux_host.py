"""A plain Linux host of a cloud: namespaces, cards in the cloud's bridges, and programs in it.

What runs in it cannot outlive the bench: its PID 1 waits for the end of a pipe that the bench holds, and with PID 1 the
kernel ends every process of the host, its mounts and its cards. Root. (unshare(1), nsenter(1), mount(8), ip-link(8))
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from beastack.sim.linux.namespaces import MS_BIND, MS_REC, mount

ROOT = Path(__file__).resolve().parents[1]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# what packages' programs write there is the host's own and goes with it
FRESH = ("/var/lib", "/var/cache", "/var/log", "/run")


class HostFailed(Exception):
    """The host or a program in it did not do what was asked; the text has its last words."""


def overlays(packages: Path, upper: Path) -> list[list[str]]:
    """The mount commands that lay the packages' files over this machine's: /usr to read, /etc to write, too."""
    options = f"lowerdir={packages}/etc:/etc,upperdir={upper}/etc,workdir={upper}/work"
    return [
        ["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={packages}/usr:/usr,ro", "/usr"],
        ["mount", "-t", "tmpfs", "tmpfs", str(upper)],
        ["mkdir", f"{upper}/etc", f"{upper}/work"],
        ["mount", "-t", "overlay", "overlay", "-o", options, "/etc"],
    ]


def _init(name: str, packages: Path, keep: Path) -> None:
    """PID 1: make the host's files, say so, and wait for the end of standard input. ``keep``: a folder that stays."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps whom nobody waits for

    def run(*argv: str) -> None:
        subprocess.run(argv, check=True, timeout=30, stdin=subprocess.DEVNULL)

    socket.sethostname(name)
    kept = os.open(keep, os.O_PATH)
    for argv in overlays(packages, Path("/mnt")):
        run(*argv)
    for folder in FRESH:
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
    keep.mkdir(parents=True, exist_ok=True)
    # not by mount(8), which makes the name of it that was there before
    mount(f"/proc/self/fd/{kept}", str(keep), None, MS_BIND | MS_REC)
    os.close(kept)
    run("mount", "-t", "sysfs", "sysfs", "/sys")
    run("ip", "link", "set", "dev", "lo", "up")
    print("ready", flush=True)
    sys.stdin.buffer.read()


class LinuxHost:
    """One host. ``folder``, below ``keep``, has the logs of what runs in it; ``packages``: see debs.py."""

    def __init__(self, name: str, folder: Path, keep: Path, packages: Path) -> None:
        self.name, self.folder, self.keep, self.packages = name, folder, keep, packages
        self.pid = 0
        self._unshare: subprocess.Popen[bytes] | None = None
        self._programs: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Make it. Raises HostFailed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        described = json.dumps([self.name, str(self.packages), str(self.keep)])
        command = ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
        with (self.folder / "init.log").open("wb") as log:
            self._unshare = subprocess.Popen(
                [*command, "--propagation", "private", sys.executable, "-m", "bench.linux_host", described],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
            )
        said: IO[bytes] = self._unshare.stdout  # type: ignore[assignment]
        if said.readline() != b"ready\n":
            raise HostFailed(f"{self.name} did not start: {self._words(self.folder / 'init.log')}")
        self.pid = psutil.Process(self._unshare.pid).children()[0].pid

    def stop(self) -> None:
        """End it and all that is in it."""
        if self._unshare is None:
            return
        if self._unshare.stdin:
            self._unshare.stdin.close()
        try:
            self._unshare.wait(20)
        except subprocess.TimeoutExpired:
            self._unshare.kill()
            self._unshare.wait(20)
        for program in self._programs.values():
            program.wait(20)

    def card(self, name: str, bridge: str, address: str | None = None) -> None:
        """A network card (veth) whose cable ends in a bridge of the machine."""
        outside = f"{bridge}l"
        for argv in (
            ("add", "name", outside, "type", "veth", "peer", "name", name, "netns", str(self.pid)),
            ("set", "dev", outside, "master", bridge, "up"),
        ):
            subprocess.run(["ip", "link", *argv], check=True, timeout=30)
        self.run("ip", "link", "set", "dev", name, "up")
        if address:
            self.run("ip", "address", "add", address, "dev", name)

    def _inside(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "--net", "--mount", "--pid", "--uts", "--", *argv]

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        return {"PATH": f"{Path(sys.executable).parent}:{PATH}", "LC_ALL": "C.UTF-8", "HOME": "/root", **more}

    def run(self, *argv: str, limit: float = 60.0) -> str:
        """One command to its end; its output. Raises HostFailed."""
        done = subprocess.run(
            self._inside(argv), capture_output=True, text=True, timeout=limit, check=False, env=self._environment({})
        )
        if done.returncode:
            raise HostFailed(f"{self.name}: {' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def log(self, program: str) -> Path:
        """Where a program that was started in the background writes."""
        return self.folder / f"{program}.log"

    def launch(self, program: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Start a program that stays."""
        with self.log(program).open("wb") as log:
            self._programs[program] = subprocess.Popen(
                self._inside(argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=self._environment(env or {}),
            )

    def until(self, program: str, what: str, true: Callable[[], bool], limit: float = 90.0) -> None:
        """Wait for something that a launched program brings about. Raises HostFailed when it ends or time runs out."""
        deadline = time.monotonic() + limit
        while not true():
            ended = self._programs[program].poll() is not None
            if ended or time.monotonic() > deadline:
                why = "it ended" if ended else f"not within {limit:.0f} s"
                raise HostFailed(f"{program}: {what}: {why}: {self._words(self.log(program))}")
            time.sleep(0.2)

    def exists(self, path: str) -> bool:
        """Whether the host has this file."""
        with contextlib.suppress(HostFailed):
            self.run("test", "-e", path)
            return True
        return False

    @staticmethod
    def _words(log: Path) -> str:
        return log.read_text(errors="replace")[-2000:] if log.exists() else "it said nothing"


if __name__ == "__main__":
    given_name, given_packages, given_keep = json.loads(sys.argv[1])
    _init(given_name, Path(given_packages), Path(given_keep))
