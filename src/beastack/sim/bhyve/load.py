"""bhyveload(8): `python -m beastack.sim.bhyve.load OPTIONS -d DISK VM`.

The real one runs FreeBSD's boot loader and leaves a kernel in the machine's memory. Here the entry is made and the
disk remembered; the bhyve that follows without `-l bootrom` starts the machine through the firmware of this Linux.
"""

import getopt
import os
import sys
from pathlib import Path

from beastack.sim.bhyve import vmm

USAGE = (
    "usage: bhyveload [-S][-c <console-device>] [-d <disk-path>] [-e <name=value>]\n"
    "                 [-h <host-path>] [-l <loader>] [-m mem-size] <vmname>\n"
)
_FIRMWARE = ("OVMF/OVMF_CODE.fd", "OVMF/OVMF_CODE_4M.fd", "edk2/x64/OVMF_CODE.4m.fd", "edk2-ovmf/OVMF_CODE.fd")


def firmware() -> str | None:
    """The firmware that stands for a boot loader, if this machine has one; BEASTACK_SIM_FIRMWARE names another."""
    named = os.environ.get("BEASTACK_SIM_FIRMWARE")
    paths = [Path(named)] if named else [Path("/usr/share") / name for name in _FIRMWARE]
    return next((str(path) for path in paths if path.is_file()), None)


def run(argv: list[str]) -> tuple[int, str]:
    """Exit status, words on standard error."""
    try:
        pairs, rest = getopt.getopt(argv, "CSc:d:e:h:l:m:")
    except getopt.GetoptError:
        return 64, USAGE
    if len(rest) != 1:
        return 64, USAGE
    disks = [value for flag, value in pairs if flag == "-d"]
    if not disks or any(flag in ("-h", "-l") for flag, _value in pairs):
        return 70, "bhyveload: without a disk, or with a loader of its own: not simulated\n"
    for disk in disks:
        if not os.access(disk, os.R_OK):
            return 64, f"bhyveload: Could not open '{disk}'\n"
    if firmware() is None:
        return 70, "bhyveload: not simulated without OVMF: install the package ovmf\n"
    try:
        entry = vmm.Machine(rest[0])
    except vmm.NoSuchMachine:
        return 1, "vm_create: Invalid argument\n"
    if not vmm.loaded():
        return 1, "vm_create: No such file or directory\n"
    if not entry.exists():
        entry.create()
    elif entry.runs() or entry.dirty:
        return 1, "vm_reinit: Device busy\n"
    entry.set_loaded(True)
    return 0, ""


def main() -> int:
    status, words = run(sys.argv[1:])
    sys.stderr.write(words)
    return status


if __name__ == "__main__":
    sys.exit(main())
