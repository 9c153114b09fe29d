"""Whether a file of the privileged side's is its own: nobody but root (or the user that the helper runs as) may have
written it, or may put another one in its place (lstat(2), chmod(2) about sticky folders).
"""

import os
import stat
from pathlib import Path

from beastack.privsep.checks import Refused


def _own(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise Refused(f"{path}: belongs to uid {found.st_uid}, not to root")
    others_write = stat.S_IMODE(found.st_mode) & 0o022
    # in a sticky folder (/tmp) nobody removes or renames what is another's
    if others_write and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        raise Refused(f"{path}: others than its owner may write it (mode {stat.S_IMODE(found.st_mode):o})")


def check_chain(path: Path) -> os.stat_result:
    """``path`` and every folder above it are root's alone and no symbolic links. Raises Refused."""
    if not path.is_absolute() or ".." in path.parts:
        raise Refused(f"{path}: not an absolute path without '..'")
    found = None
    for step in [*reversed(path.parents), path]:
        try:
            found = step.lstat()
        except OSError as e:
            raise Refused(f"{step}: {e.strerror}") from None
        if stat.S_ISLNK(found.st_mode):
            raise Refused(f"{step}: a symbolic link: name the real path")
        _own(step, found)
    if found is None:
        raise Refused(f"{path}: no path")
    return found


def check_file(path: Path) -> Path:
    """``path`` when it is a regular file of root's, in folders of root's. Raises Refused."""
    if not stat.S_ISREG(check_chain(path).st_mode):
        raise Refused(f"{path}: not a regular file")
    return path


def own_folder(path: Path, mode: int = 0o700) -> Path:
    """``path`` as a folder of root's, made when it is not there. Raises Refused when it is anybody else's."""
    if not path.exists():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)  # whatever the umask is
    if not stat.S_ISDIR(check_chain(path).st_mode):
        raise Refused(f"{path}: not a folder")
    return path


def searchable(path: Path) -> None:
    """Every folder from ``/`` to ``path`` may be searched by any user. Raises Refused."""
    for step in [*reversed(path.parents), path]:
        if not step.stat().st_mode & stat.S_IXOTH:
            raise Refused(f"{step}: other users than root cannot search this folder (chmod o+x)")
