"""noVNC's web files, which nova-novncproxy serves: the operating system's package.

Debian's package wants nodejs and a WebSocket proxy of its own, 60 MB that nothing here uses: only its own file is
fetched, by apt, which checks it, and unpacked into the cache. FreeBSD's is installed (platform/packages.py).
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from beastack.cloud import commands
from beastack.cloud.errors import CloudError

PACKAGE = "novnc"
FREEBSD = Path("/usr/local/libexec/novnc")
INSTALLED = Path("/usr/share/novnc")
CACHE = Path("/var/cache/beastack/novnc")
PAGE = "vnc_lite.html"
_LIMIT = 120.0


def web_root(platform: str = sys.platform) -> Path:
    """Where the files are, or will be after ``ensure``."""
    if platform != "linux":
        return FREEBSD
    return INSTALLED if (INSTALLED / PAGE).exists() else CACHE / "usr/share/novnc"


def ensure(log: Path) -> str:
    """Bring them here unless they are; CloudError with the cause."""
    root = web_root()
    if (root / PAGE).exists():
        return str(root)
    if sys.platform != "linux":
        raise CloudError(f"{root / PAGE} is not there", remedy=f"pkg install {PACKAGE}")
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="novnc-", dir=CACHE.parent) as name:
        scratch = Path(name)
        _run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", PACKAGE], scratch, log)
        found = sorted(scratch.glob(f"{PACKAGE}_*.deb"))
        if len(found) != 1:
            raise CloudError(f"apt-get download {PACKAGE} brought {len(found)} files", log=log, remedy="apt-get update")
        _run(["dpkg-deb", "--extract", str(found[0]), str(scratch / "tree")], scratch, log)
        if not (scratch / "tree/usr/share/novnc" / PAGE).exists():
            raise CloudError(f"{found[0].name} has no {PAGE}", log=log, remedy=f"apt-get install {PACKAGE}")
        shutil.rmtree(CACHE, ignore_errors=True)  # half of an earlier one
        (scratch / "tree").rename(CACHE)
    return str(root)


def _run(argv: list[str], where: Path, log: Path) -> None:
    try:
        with log.open("ab") as file:
            done = commands.run(argv, _LIMIT, log=file, cwd=where)
    except (subprocess.TimeoutExpired, FileNotFoundError) as error:
        raise CloudError(f"{' '.join(argv)}: {error}", log=log, remedy=f"apt-get install {PACKAGE}") from error
    if done.rc:
        remedy = f"apt-get update, or apt-get install {PACKAGE}; then ./beastack up"
        raise CloudError(f"{' '.join(argv)} failed with status {done.rc}", log=log, remedy=remedy)
