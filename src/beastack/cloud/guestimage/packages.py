"""Which Debian packages a guest is made of, and how they get here: downloaded, checked by apt, unpacked."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from beastack.cloud.guestimage.errors import BuildFailed
from beastack.cloud.guestimage.tools import run

# Installed on the machine that builds.
PACKAGES = ("binutils", "mtools", "qemu-utils")

KERNEL = "linux-image-cloud-amd64"
# Downloaded and unpacked; the kernel is the one that KERNEL depends on.
GUEST_PACKAGES = (
    "busybox-static",
    "systemd-boot-efi",
    "dropbear-bin",
    "libc6",
    "libcrypt1",
    "libtomcrypt1",
    "libtommath1",
    "libgmp10",
    "zlib1g",
)

_APT = ("apt-get", "-q", "-o", "APT::Sandbox::User=root")
_URI = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) (?P<hash>\S*)$")


@dataclass(frozen=True, slots=True)
class Deb:
    """One package file as apt will deliver it: its name holds the version, its hash the contents."""

    package: str
    file: str
    size: int
    hash: str


def _kernel_package() -> str:
    text = run(["apt-cache", "depends", "--important", KERNEL])
    found = re.search(r"Depends: (linux-image-[0-9][\w.+-]*-cloud-amd64)", text)
    if found is None:
        raise BuildFailed(f"{KERNEL}: apt knows no kernel behind it: {text.strip() or 'no such package'}")
    return found[1]


def _list(names: list[str]) -> list[Deb]:
    debs = []
    for line in run([*_APT, "download", "--print-uris", *names]).splitlines():
        found = _URI.match(line)
        if found is not None:
            package = found["file"].partition("_")[0]
            debs.append(Deb(package, found["file"], int(found["size"]), found["hash"]))
    missing = set(names) - {deb.package for deb in debs}
    if missing:
        raise BuildFailed(f"apt knows no {', '.join(sorted(missing))}")
    return sorted(debs, key=lambda deb: deb.package)


def resolve(log: Callable[[str], None]) -> list[Deb]:
    """The files that make up a guest, as the package lists know them; the lists are read anew if they know nothing."""
    try:
        return _list([_kernel_package(), *GUEST_PACKAGES])
    except BuildFailed as error:
        log(f"{error}; updating the package lists")
    run([*_APT, "update"])
    return _list([_kernel_package(), *GUEST_PACKAGES])


def download(debs: list[Deb], folder: Path, log: Callable[[str], None]) -> None:
    """Bring what is missing into the folder; apt checks what it downloads."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [deb for deb in debs if not _complete(folder / deb.file, deb)]
    if missing:
        log(f"downloading {', '.join(deb.package for deb in missing)}")
        run([*_APT, "download", *(deb.package for deb in missing)], cwd=folder)
    for deb in debs:
        if not _complete(folder / deb.file, deb):
            raise BuildFailed(f"{folder / deb.file}: not there after the download (apt-get update?)")


def _complete(path: Path, deb: Deb) -> bool:
    return path.is_file() and path.stat().st_size == deb.size


def unpack(debs: list[Deb], folder: Path, into: Path) -> None:
    """Unpack everything over each other; no script of a package runs."""
    if into.exists():
        shutil.rmtree(into)
    into.mkdir(parents=True)
    for deb in debs:
        run(["dpkg-deb", "--extract", str(folder / deb.file), str(into)])
