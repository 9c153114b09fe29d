"""What the guest wrote on its serial console: a file of bounded size that keeps the end, never the whole."""

import os
from pathlib import Path

from beastack.privsep.guest_files import GuestFileError, open_own

LIMIT = 1 << 20
RECENT = 8 * 1024


class Journal:
    """Appends to `name`; at the limit the file becomes `name.1` (the one before is dropped) and a new one
    begins.
    """

    def __init__(self, name: str, *, owner: int | None = None, limit: int = LIMIT) -> None:
        self._name = name
        self._owner = owner
        self._limit = limit
        self._recent = b""
        self._file = self._open()
        self._size = os.fstat(self._file).st_size

    def _open(self) -> int:
        file = open_own(self._name, os.O_WRONLY | os.O_APPEND, 0o640)
        if self._owner is not None:
            os.fchown(file, self._owner, -1)
        return file

    def append(self, data: bytes) -> None:
        """Keep what was written; a full file system loses the log, never the guest."""
        self._recent = (self._recent + data)[-RECENT:]
        try:
            if self._size + len(data) > self._limit:
                Path(self._name).rename(f"{self._name}.1")
                fresh = self._open()
                os.close(self._file)
                self._file = fresh
                self._size = 0
            self._size += os.write(self._file, data)
        except (OSError, GuestFileError) as error:
            self._recent = (self._recent + f"\r\n[console log: {error}]\r\n".encode())[-RECENT:]

    @property
    def recent(self) -> bytes:
        """The last part, for a viewer that comes now."""
        return self._recent

    def close(self) -> None:
        """No more."""
        os.close(self._file)
