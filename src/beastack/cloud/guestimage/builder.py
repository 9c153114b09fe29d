"""From packages to an image, once per version of what goes in."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from beastack.cloud.guestimage import efi, gpt, initramfs, packages
from beastack.cloud.guestimage.errors import BuildFailed
from beastack.cloud.guestimage.tools import run

__all__ = ["BuildFailed", "GuestImage", "build"]

CMDLINE = "console=ttyS0 quiet loglevel=3 mitigations=off audit=0 random.trust_cpu=on 8250.nr_uarts=1 net.ifnames=0"
MIN_RAM_MIB = 192


@dataclass(frozen=True, slots=True)
class GuestImage:
    """A finished image; `disk_bytes` is what the disk holds, so the least size of a root disk."""

    path: Path
    format: str
    disk_bytes: int
    version: str
    min_ram_mib: int = MIN_RAM_MIB


def _version(debs: list[packages.Deb]) -> str:
    """A key over everything that goes in: packages, scripts, and the code that joins them."""
    digest = hashlib.sha256()
    for deb in debs:
        digest.update(f"{deb.file} {deb.size} {deb.hash}\n".encode())
    here = Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *initramfs.SCRIPTS.iterdir()]):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _kernel(tree: Path) -> tuple[Path, str]:
    found = sorted((tree / "boot").glob("vmlinuz-*"))
    if len(found) != 1:
        raise BuildFailed(f"{tree / 'boot'}: {len(found)} kernels instead of one")
    return found[0], found[0].name.removeprefix("vmlinuz-")


def _make(tree: Path, scratch: Path, image: Path, version: str) -> None:
    kernel, release = _kernel(tree)
    texts = {
        ".osrel": f'ID=beastack-guest\nNAME="Beastack guest"\nVERSION_ID={version}\n',
        ".cmdline": CMDLINE,
    }
    parts = []
    for section, text in texts.items():
        path = scratch / section.lstrip(".")
        path.write_text(text)
        parts.append((section, path))
    initrd = scratch / "initrd"
    initrd.write_bytes(initramfs.make(tree, release, version))
    program, file_system, disk = scratch / "guest.efi", scratch / "esp", scratch / "disk.raw"
    stub = tree / "usr/lib/systemd/boot/efi/linuxx64.efi.stub"
    efi.join(stub, [*parts, (".linux", kernel), (".initrd", initrd)], program)
    efi.file_system(program, file_system)
    gpt.write(disk, file_system, "beastack-guest")
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", str(disk), str(image)])


def _disk_bytes(image: Path) -> int:
    """The virtual size in the header of a qcow2 image that we made ourselves."""
    with open(image, "rb") as file:
        head = file.read(32)
    if head[:4] != b"QFI\xfb":
        raise BuildFailed(f"{image}: no qcow2 image")
    return int.from_bytes(head[24:32], "big")


def _deliver(kept: Path, out: Path) -> None:
    if out.exists() and out.samefile(kept):
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    new = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.copyfile(kept, new)
    new.replace(out)


def build(workdir: Path, out: Path, log: Callable[[str], None]) -> GuestImage:
    """Build the image into `out`, or copy the one that was built of the same inputs before.

    `workdir` keeps the packages and the images; raises BuildFailed.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    debs = packages.resolve(log)
    version = _version(debs)
    kept = workdir / f"guest-{version}.qcow2"
    if not kept.exists():
        packages.download(debs, workdir / "debs", log)
        log(f"building the guest image, version {version}")
        with tempfile.TemporaryDirectory(prefix="build-", dir=workdir) as name:
            scratch = Path(name)
            packages.unpack(debs, workdir / "debs", scratch / "tree")
            made = scratch / "guest.qcow2"
            _make(scratch / "tree", scratch, made, version)
            made.replace(kept)
    _deliver(kept, out)
    return GuestImage(out, "qcow2", _disk_bytes(kept), version)
