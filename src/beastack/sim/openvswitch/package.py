"""Owns where Open vSwitch's programs come from: Debian's packages, unpacked into a cache, never installed.

Installing them would start their services on the lab's machine and load a kernel module. apt checks what it downloads.
What is installed already is used as it is. Sources: dpkg-deb -c of the packages of Debian 12; apt-get(8).
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path("/var/cache/beastack/openvswitch")
# the programs, and the libraries that a Debian without them may lack
PACKAGES = (
    "openvswitch-switch",
    "openvswitch-common",
    "libbpf1",
    "libcap-ng0",
    "libelf1",
    "libevent-2.1-7",
    "libgmp10",
    "libhogweed6",
    "libnettle8",
    "libnuma1",
    "libunbound8",
    "libxdp1",
)
# FreeBSD's name -> the file below the root of the packages
PROGRAMS = {
    **{name: f"usr/bin/{name}" for name in ("ovs-appctl", "ovs-ofctl", "ovs-vsctl", "ovsdb-client", "ovsdb-tool")},
    "ovsdb-server": "usr/sbin/ovsdb-server",
    "ovs-vswitchd": "usr/lib/openvswitch-switch/ovs-vswitchd",
}
SCHEMA = "usr/share/openvswitch/vswitch.ovsschema"
_APT = ("apt-get", "-q", "-o", "APT::Sandbox::User=root")
_LIMIT = 300.0


class UnpackFailed(Exception):
    """The packages did not get here; the text says which command failed and its last words."""


def _complete(root: Path) -> bool:
    return all((root / name).exists() for name in (*PROGRAMS.values(), SCHEMA))


def root(cache: Path = CACHE) -> Path | None:
    """The root below which the programs are; None while there are none."""
    return next((one for one in (Path("/"), cache) if _complete(one)), None)


def command(program: str, base: Path) -> list[str]:
    """The words that start a program found below ``base``, with the libraries that came with it."""
    path = str(base / PROGRAMS[program])
    libraries = sorted(str(one) for one in (base / "usr/lib").glob("*-linux-gnu*")) if base != Path("/") else []
    return ["/usr/bin/env", f"LD_LIBRARY_PATH={':'.join(libraries)}", path] if libraries else [path]


def unpack(cache: Path = CACHE) -> Path:
    """Bring the programs here unless they are; UnpackFailed with the cause. A half-made cache is made anew."""
    found = root(cache)
    if found is not None:
        return found
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="openvswitch-", dir=cache.parent) as name:
        scratch = Path(name)
        try:
            _run([*_APT, "download", *PACKAGES], scratch)
        except UnpackFailed:
            # lists that are older than the mirror
            _run([*_APT, "update"], scratch)
            _run([*_APT, "download", *PACKAGES], scratch)
        for deb in sorted(scratch.glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(deb), str(scratch / "tree")], scratch)
        if not _complete(scratch / "tree"):
            raise UnpackFailed("Debian's packages of Open vSwitch have other files than expected")
        (scratch / "tree").chmod(0o755)
        shutil.rmtree(cache, ignore_errors=True)
        (scratch / "tree").rename(cache)
    return cache


def _run(argv: list[str], where: Path) -> None:
    try:
        done = subprocess.run(
            argv,
            cwd=where,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnpackFailed(f"{' '.join(argv)}: {error}") from error
    if done.returncode:
        words = "\n  ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-5:])
        raise UnpackFailed(f"{' '.join(argv)} failed with status {done.returncode}:\n  {words}")
