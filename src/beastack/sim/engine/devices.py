"""Owns the host's own view of /proc, /sys and /dev: made once, before the engine answers."""

import os
from pathlib import Path

from beastack.sim.linux.namespaces import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    mount,
)
from beastack.sim.openvswitch import package

_NODES = ("null", "zero", "full", "random", "urandom", "tty", "net/tun", "kvm")
_FOLDERS = ("pts", "shm")
# ptmx(4) by its path would make terminals of another devpts than the one that is seen here
_LINKS = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}


# name of the folder in the host's own, its place, whether the host's stop leaves it
_FOLDERS_OF_OVS = (("run", "/run/openvswitch", False), ("db", "/var/db/openvswitch", True))


def _open_vswitch(directory: Path) -> None:
    """Open vSwitch's folders have fixed names, and the machine's own switch may use them: each host has its own."""
    own = directory / "openvswitch"
    own.mkdir(mode=0o700, exist_ok=True)
    for name, place, kept in _FOLDERS_OF_OVS:
        # /var/run is /run
        Path(place).mkdir(mode=0o755, parents=True, exist_ok=True)
        if kept:
            (own / name).mkdir(mode=0o700, exist_ok=True)
            mount(str(own / name), place, None, MS_BIND)
        else:
            mount("beastack-ovs", place, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=16m")


def prepare_mounts(directory: Path) -> None:
    """Everything is private from here on: what the host mounts is seen nowhere else."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    if package.root() is not None:
        _open_vswitch(directory)
    # what of the old /dev is wanted is held open, as the new tmpfs hides it
    wanted = [name for name in (*_NODES, *_FOLDERS) if Path("/dev", name).exists()]
    held = {name: os.open(f"/dev/{name}", os.O_PATH | os.O_CLOEXEC) for name in wanted}
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)
    mount("beastack-dev", "/dev", "tmpfs", MS_NOSUID, "mode=755,size=64m")
    for name, fd in held.items():
        target = Path("/dev", name)
        target.parent.mkdir(exist_ok=True)
        if name in _FOLDERS:
            target.mkdir()
        else:
            target.touch()
        mount(f"/proc/self/fd/{fd}", str(target), None, MS_BIND | MS_REC)
        os.close(fd)
    for name, source in _LINKS.items():
        Path("/dev", name).symlink_to(source)
