"""Files that a service hands over in a folder of its own, read once and never trusted again.

The service may change its folder at any time: put a link where a file was, or another folder in the place of this
one. So every step is opened below the one before (openat(2)) without following links, and what was opened is looked
at, not what the name meant a moment ago. A second name (hard link) is refused: FreeBSD lets any user make one of a
file that it may not read. What programs of root's are to read is copied to a folder of root's.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beastack.privsep.checks import Refused

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def folder(path: Path) -> Iterator[int]:
    """A descriptor of the folder ``path``, none of whose parts is a symbolic link. Raises Refused."""
    if not path.is_absolute() or ".." in path.parts:
        raise Refused(f"path: {path} is not an absolute one without '..'")
    current = os.open("/", _FOLDER)
    try:
        for part in path.parts[1:]:
            try:
                below = os.open(part, _FOLDER, dir_fd=current)
            except OSError as e:
                raise Refused(f"{path}: {part}: not a folder, or a symbolic link ({e.strerror})") from None
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)


def read(inside: int, name: str, most: int) -> tuple[bytes, float] | None:
    """Content and time of change (seconds) of the file ``name`` in an open folder; None when there is none.

    Raises Refused unless it is a regular file with one name, of the folder's owner or root's, of at most ``most``
    bytes.
    """
    if "/" in name or name in ("", ".", ".."):
        raise Refused(f"file: {name!r} is no name in a folder")
    try:
        descriptor = os.open(name, _FILE, dir_fd=inside)
    except FileNotFoundError:
        return None
    except OSError as e:
        raise Refused(f"file: {name}: {e.strerror}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise Refused(f"file: {name}: not a plain file with one name")
        if found.st_uid not in (0, os.fstat(inside).st_uid):
            raise Refused(f"file: {name}: belongs to uid {found.st_uid}")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(most + 1)
    finally:
        os.close(descriptor)
    if len(data) > most:
        raise Refused(f"file: {name}: larger than {most} bytes")
    return data, found.st_mtime


def lines(data: bytes, name: str, longest: int) -> bytes:
    """``data`` when it is lines of printable text (UTF-8), each of at most ``longest`` characters. Raises Refused."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(f"file: {name}: not UTF-8") from None
    for line in text.split("\n"):
        if len(line) > longest or not line.replace("\t", " ").isprintable():
            raise Refused(f"file: {name}: a line that is too long or has control characters")
    return data


def write(path: Path, data: bytes, mode: int) -> None:
    """Write a file of root's, in a folder of root's, in one step: a reader sees the old content or the new one."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
    fresh.rename(path)
