"""Names of a guest's files that only root can change.

bhyve opens its disks by name, as root, and again at each reboot of the guest; the folder that they are in belongs to
nova-compute, which could put a link to a device or to another's file in the place of a disk at any time after the
check. So each checked file gets a second name (link(2)) in a folder of root's on the same file system, and bhyve is
told that one. The file is the same: what nova snapshots or measures is what the guest writes.

Where nova-compute is root itself (one user for everything) there is nobody to guard against, and no second names.
"""

import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

from beastack.freebsd.bhyve import Machine
from beastack.privsep import handed, trust
from beastack.privsep.checks import Refused


def needed(folder: Path) -> bool:
    """Whether another user owns the guest's folder."""
    return folder.lstat().st_uid != os.geteuid()


def unpin(base: str, uuid: str) -> None:
    """Remove the second names of a guest that does not run; none is fine. Raises Refused."""
    if base and (Path(base) / uuid).is_dir():
        trust.own_folder(Path(base))
        shutil.rmtree(Path(base) / uuid)


def pin(machine: Machine, folder: Path, base: str, uuid: str) -> Machine:
    """The machine with its files by names below ``base``/``uuid``. Raises Refused.

    ``folder`` is the guest's; the files in it have one name each until now, and are its owner's.
    """
    if not base or not Path(base).is_absolute():
        raise Refused(
            f"[beastack] guests_path = {base}: nova-compute is not root, so a folder of root's on the file system of "
            "instances_path must be configured"
        )
    own = trust.own_folder(trust.own_folder(Path(base)) / uuid)
    with handed.folder(folder) as inside:
        # a volume's device is root's own; nobody else can put another thing in its place
        theirs = [path for path in machine.file_paths() if Path(path).parent == folder]
        names = {path: _link(inside, Path(path).name, own) for path in theirs}
    return renamed(machine, names)


def _link(inside: int, name: str, own: Path) -> str:
    """Give the file ``name`` its second name, when it is a plain one. Raises Refused."""
    target = own / name
    try:
        # the name may mean another thing by now; what was linked is looked at afterwards, where nobody changes it
        os.link(name, target, src_dir_fd=inside, follow_symlinks=False)
    except OSError as e:
        raise Refused(f"{target}: {name} gets no second name: {e.strerror} (the same file system is needed)") from None
    found = target.lstat()
    plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 2 and found.st_uid == os.fstat(inside).st_uid
    if not plain:
        target.unlink()
        raise Refused(f"{name}: not a plain file of the folder's owner with one name")
    return str(target)


def renamed(machine: Machine, names: dict[str, str]) -> Machine:
    """The machine with other names for its files."""
    rom, cd = machine.bootrom, machine.cd
    return replace(
        machine,
        bootrom=rom if rom.variables is None else replace(rom, variables=names[rom.variables]),
        disks=tuple(replace(disk, path=names.get(disk.path, disk.path)) for disk in machine.disks),
        cd=None if cd is None else replace(cd, path=names[cd.path]),
    )
