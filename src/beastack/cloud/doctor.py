"""What this machine can and cannot do for a cloud, and what to do about it.

Each check looks at one thing and returns a ``Finding``; none changes anything. ``up`` refuses on a ``fail`` before it
starts anything, with the same words.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from beastack.cloud import doctor_freebsd
from beastack.cloud.finding import Finding
from beastack.cloud.platform.packages import PackageError, detect
from beastack.freebsd.host import LocalHost

GIB = 1024**3
# What a cloud with one small guest needs: measured in docs/performance.md, rounded up.
MEMORY_NEEDED = 3 * GIB
DISK_NEEDED = 2 * GIB
CORES_WISHED = 4


def check_root(euid: int | None = None) -> Finding:
    """Namespaces, TAPs, jails and pf need root."""
    uid = os.geteuid() if euid is None else euid
    if uid == 0:
        return Finding("root", "ok", "running as root")
    return Finding("root", "fail", f"running as uid {uid}", "run the same command as root (su, sudo or doas)")


def check_tun(path: Path = Path("/dev/net/tun")) -> Finding:
    """The simulated host's interfaces are TAPs (Linux only)."""
    if not path.exists():
        return Finding(
            "TAP device",
            "fail",
            f"{path} does not exist",
            "modprobe tun; in a container start it with the device: --device /dev/net/tun --cap-add NET_ADMIN",
        )
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError as e:
        return Finding("TAP device", "fail", f"{path}: {e.strerror}", "allow this container or user to open it")
    return Finding("TAP device", "ok", f"{path} opens")


def check_namespaces(unshare: str | None = None) -> Finding:
    """A simulated host is a set of Linux namespaces."""
    program = unshare or shutil.which("unshare")
    if program is None:
        return Finding("namespaces", "fail", "unshare(1) is not here", "apt-get install util-linux")
    argv = [program, "--net", "--mount", "--uts", "--pid", "--fork", "true"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        return Finding("namespaces", "fail", f"{' '.join(argv)}: {e}", "see the kernel's log")
    if done.returncode:
        return Finding(
            "namespaces",
            "fail",
            done.stderr.strip() or f"status {done.returncode}",
            "this kernel or container forbids namespaces: use a virtual machine, or a privileged container",
        )
    return Finding("namespaces", "ok", "network, mount, UTS and pid namespaces can be made")


def check_memory(total: int | None = None) -> Finding:
    """Physical memory, bytes."""
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if total is None else total
    text = f"{have / GIB:.1f} GiB"
    if have < MEMORY_NEEDED:
        return Finding("memory", "warn", text, f"at least {MEMORY_NEEDED // GIB} GiB is wished for")
    return Finding("memory", "ok", text)


def check_disk(folder: Path, free: int | None = None) -> Finding:
    """Free space where the run folder is (or will be), bytes."""
    while not folder.exists():
        folder = folder.parent
    have = shutil.disk_usage(folder).free if free is None else free
    text = f"{have / GIB:.1f} GiB free on {folder}"
    if have < DISK_NEEDED:
        return Finding(
            "disk", "fail", text, f"free at least {DISK_NEEDED // GIB} GiB, or use --run-dir on another disk"
        )
    return Finding("disk", "ok", text)


def check_cores(cores: int | None = None) -> Finding:
    """Start-up is parallel: cores are seconds."""
    have = cores or os.cpu_count() or 1
    if have < CORES_WISHED:
        return Finding("cores", "warn", str(have), f"works, but start-up is slower than with {CORES_WISHED}")
    return Finding("cores", "ok", str(have))


def check_packages() -> Finding:
    """The system packages; ``up`` installs what is missing."""
    try:
        missing = detect().missing()
    except PackageError as e:
        return Finding("packages", "fail", e.words, e.remedy)
    if missing:
        return Finding("packages", "warn", "missing: " + ", ".join(missing), "./beastack up installs them (as root)")
    return Finding("packages", "ok", "all installed")


def check_kvm(path: Path = Path("/dev/kvm")) -> Finding:
    """Hardware virtualisation is used where it works, and not needed."""
    if path.exists() and os.access(path, os.R_OK | os.W_OK):
        return Finding("KVM", "ok", f"{path} is here; it is used if a guest really starts with it")
    return Finding("KVM", "ok", "not here: guests run in software emulation, which is slower and works")


def check_loopback() -> Finding:
    """Sockets can be bound at all (some sandboxes forbid it)."""
    try:
        with socket.create_server(("127.0.0.1", 0)):
            return Finding("sockets", "ok", "loopback ports can be bound")
    except OSError as e:
        return Finding("sockets", "fail", f"cannot bind a loopback port: {e.strerror}", "is lo up? ip link set lo up")


def examine(run_dir: Path) -> list[Finding]:
    """All checks that apply to this system, in the order in which to mend them."""
    checks: list[Callable[[], Finding]] = [check_root]
    if sys.platform == "linux":
        checks += [check_tun, check_namespaces, check_kvm]
    checks += [check_packages, check_memory, lambda: check_disk(run_dir), check_cores, check_loopback]
    found = [check() for check in checks]
    if sys.platform.startswith("freebsd"):
        found += doctor_freebsd.checks(LocalHost())
    return found
