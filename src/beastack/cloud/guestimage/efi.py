"""Joins kernel, initramfs and command line into one EFI program, and puts it on a FAT file system."""

import re
from collections.abc import Sequence
from pathlib import Path

from beastack.cloud.guestimage.errors import BuildFailed
from beastack.cloud.guestimage.tools import run

_MIB = 1 << 20
_EPOCH = {"SOURCE_DATE_EPOCH": "1700000000", "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}


def _end_of_stub(stub: Path) -> int:
    """The first address after the stub's own sections."""
    ends = []
    for line in run(["objdump", "-h", str(stub)]).splitlines():
        found = re.match(r"\s*\d+ \S+\s+([0-9a-f]{8})\s+([0-9a-f]{16})\s", line)
        if found is not None:
            ends.append(int(found[1], 16) + int(found[2], 16))
    if not ends:
        raise BuildFailed(f"{stub}: objdump lists no sections")
    return max(ends)


def join(stub: Path, parts: Sequence[tuple[str, Path]], program: Path) -> None:
    """Add the parts as sections to the stub, each at its own place in memory."""
    address = -(-_end_of_stub(stub) // _MIB) * _MIB
    argv = ["objcopy"]
    for section, path in parts:
        argv += ["--add-section", f"{section}={path}", "--change-section-vma", f"{section}={address:#x}"]
        address = -(-(address + path.stat().st_size) // _MIB) * _MIB
    run([*argv, str(stub), str(program)])


def file_system(program: Path, image: Path) -> None:
    """A FAT file system that boots the program from the place where firmware looks by itself."""
    size = -(-(program.stat().st_size + _MIB) // _MIB) * _MIB
    with open(image, "wb") as out:
        out.truncate(size)
    run(["mformat", "-i", str(image), "-v", "BEASTACK", "-N", "be57ac00", "-T", str(size // 512), "::"], env=_EPOCH)
    run(["mmd", "-i", str(image), "::/EFI", "::/EFI/BOOT"], env=_EPOCH)
    run(["mcopy", "-i", str(image), str(program), "::/EFI/BOOT/BOOTX64.EFI"], env=_EPOCH)
