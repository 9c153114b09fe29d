"""Debian packages that only a bench wants: downloaded and checked by apt, unpacked into a folder, never installed.

No script of a package runs, so no service of theirs starts, and the machine's own package database stays as it was.
Whoever runs the programs lays the folder over /usr and /etc of a mount namespace (linux_host.py).
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

CACHE = Path("/var/cache/beastack/bench")
# the programs of a compute host with upstream's libvirt driver and its Open vSwitch agent
LIBVIRT = ("libvirt-daemon", "libvirt-daemon-driver-qemu", "python3-libvirt", "openvswitch-switch", "conntrack")
LIMIT = 600.0
_URI = re.compile(r"^'[^']+' (?P<file>\S+\.deb) \d+ \S*$")


class NotFetched(Exception):
    """The packages are not here and could not be brought; the text says which command failed and how."""


def files(print_uris: str) -> list[str]:
    """The names of the files that apt-get's ``--print-uris`` lists."""
    return sorted(found["file"] for line in print_uris.splitlines() if (found := _URI.match(line)))


def _run(*argv: str) -> str:
    env = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=False, env=env)
    except subprocess.TimeoutExpired as error:
        raise NotFetched(f"{' '.join(argv)}: no end within {LIMIT:.0f} s") from error
    if done.returncode:
        raise NotFetched(f"{' '.join(argv)}:\n{done.stderr[-2000:]}")
    return done.stdout


def unpacked(names: Sequence[str] = LIBVIRT, cache: Path = CACHE) -> Path:
    """A folder with ``usr`` and ``etc`` of these packages and of what they need that this machine lacks.

    Made once, and used for as long as apt would bring the same files, also without a network. Raises NotFetched.
    """
    debs, nothing, root, mark = (cache / name for name in ("debs", "nothing", "root", "root.list"))
    for folder in (debs, nothing):
        (folder / "partial").mkdir(parents=True, exist_ok=True)
    # what is in apt's folder it does not list, so it looks at an empty one
    wanted = files(_run(*_install(nothing), "--print-uris", *names))
    if root.is_dir() and mark.exists() and mark.read_text().split() == wanted:
        return root
    mark.unlink(missing_ok=True)
    _run(*_install(debs), "--download-only", *names)
    unpack([debs / name for name in wanted], root)
    mark.write_text("\n".join(wanted))
    return root


def _install(archives: Path) -> tuple[str, ...]:
    """--reinstall: what is installed already comes, too."""
    options = ("-q", "-y", "-o", f"Dir::Cache::archives={archives}", "-o", "APT::Sandbox::User=root")
    return ("apt-get", *options, "install", "--reinstall", "--no-install-recommends")


def unpack(debs: Sequence[Path], into: Path) -> None:
    """Unpack everything over each other; /bin, /sbin and /lib go below /usr, where Debian 12 has them."""
    if into.exists():
        shutil.rmtree(into)
    into.mkdir(parents=True)
    (into / "usr").mkdir()
    (into / "etc").mkdir()
    for name in ("bin", "sbin", "lib"):
        (into / "usr" / name).mkdir()
        (into / name).symlink_to(f"usr/{name}")
    for deb in debs:
        tar = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE)
        done = subprocess.run(
            ["tar", "-x", "--keep-directory-symlink", "-C", str(into)], stdin=tar.stdout, check=False, timeout=LIMIT
        )
        if tar.wait(LIMIT) or done.returncode:
            raise NotFetched(f"{deb} cannot be unpacked")
