"""What the guest's memory holds when its kernel starts: busybox, dropbear with its libraries, modules, our scripts."""

import re
from pathlib import Path

from beastack.cloud.guestimage import modules
from beastack.cloud.guestimage.cpio import Archive
from beastack.cloud.guestimage.errors import BuildFailed
from beastack.cloud.guestimage.tools import run

SCRIPTS = Path(__file__).parent / "guest"
# Where a script of guest/ goes, and its mode.
_PLACES = {
    "init": ("init", 0o755),
    "inittab": ("etc/inittab", 0o644),
    "rc": ("etc/rc", 0o755),
    "shell": ("bin/guest-shell", 0o755),
    "dhcp": ("etc/dhcp", 0o755),
    "metadata": ("bin/guest-metadata", 0o755),
    "powerbutton": ("bin/guest-powerbutton", 0o755),
    "profile": ("etc/profile", 0o644),
}
_FOLDERS = ("proc", "sys", "dev", "run", "tmp", "mnt", "var/run", "var/log", "etc/dropbear")
_TEXTS = {
    "etc/passwd": "root:*:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/shells": "/bin/sh\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
}
_LIBRARIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")
_LOADER = "lib64/ld-linux-x86-64.so.2"
_SSH = ("usr/sbin/dropbear", "usr/bin/dropbearkey")


def _needed(program: Path) -> list[str]:
    return re.findall(r"\(NEEDED\)\s+Shared library: \[([^\]]+)\]", run(["readelf", "-d", str(program)]))


def _libraries(tree: Path, programs: list[Path]) -> dict[str, Path]:
    """Every shared library that the programs need, by the name they ask for."""
    found: dict[str, Path] = {}
    left = [name for program in programs for name in _needed(program)]
    while left:
        name = left.pop()
        if name in found or name == Path(_LOADER).name:
            continue
        path = next((tree / place / name for place in _LIBRARIES if (tree / place / name).exists()), None)
        if path is None:
            raise BuildFailed(f"no package of the guest has {name}")
        found[name] = path
        left += _needed(path)
    return found


def _resolved(tree: Path, name: str) -> Path:
    """A file of the unpacked packages, wherever its links lead inside them."""
    path = tree / name
    for _ in range(8):
        if not path.is_symlink():
            return path
        target = str(path.readlink())
        path = tree / target.lstrip("/") if target.startswith("/") else path.parent / target
    raise BuildFailed(f"{name}: links without end")


def _busybox(archive: Archive, tree: Path) -> None:
    busybox = tree / "bin/busybox"
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    for applet in sorted(set(run([str(busybox), "--list"]).split()) - {"busybox"}):
        archive.link(f"bin/{applet}", "busybox")
    archive.link("sbin", "bin")


def make(tree: Path, release: str, version: str) -> bytes:
    """The archive, not compressed: unpacking costs more than reading it, on an emulated processor."""
    archive = Archive()
    for folder in _FOLDERS:
        archive.folder(folder)
    archive.folder("root", 0o700)
    archive.character_device("dev/console", 5, 1)
    _busybox(archive, tree)
    for name in _SSH:
        archive.file(f"bin/{Path(name).name}", (tree / name).read_bytes(), 0o755)
    archive.file(_LOADER, _resolved(tree, _LOADER).read_bytes(), 0o755)
    for name, path in sorted(_libraries(tree, [tree / name for name in _SSH]).items()):
        archive.file(f"lib/{name}", path.read_bytes(), 0o755)
    order = modules.ordered(tree / "lib/modules" / release)
    for path in order:
        archive.file(f"lib/modules/{path.name}", path.read_bytes())
    archive.file("etc/modules", "".join(f"/lib/modules/{path.name}\n" for path in order).encode())
    for name, text in sorted(_TEXTS.items()):
        archive.file(name, text.encode())
    archive.file("etc/beastack-guest", f"{version}\n".encode())
    for name, (place, mode) in sorted(_PLACES.items()):
        archive.file(place, (SCRIPTS / name).read_bytes(), mode)
    return archive.finish()
