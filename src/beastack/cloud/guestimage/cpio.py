"""An initramfs archive (cpio "newc"), made in memory: same contents, same bytes."""

import stat

_ALIGN = 4


class Archive:
    """Collects files; parents of a path are added by themselves."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._known: set[str] = set()

    def _entry(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        raw = name.encode() + b"\0"
        inode = len(self._parts) + 1
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(raw), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        for part in (header + raw, data):
            self._parts.append(part + b"\0" * (-len(part) % _ALIGN))
        self._known.add(name)

    def _parents(self, name: str) -> None:
        above = name.rpartition("/")[0]
        if above and above not in self._known:
            self.folder(above)

    def folder(self, name: str, mode: int = 0o755) -> None:
        """A folder, once."""
        if name not in self._known:
            self._parents(name)
            self._entry(name, stat.S_IFDIR | mode)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """A regular file."""
        self._parents(name)
        self._entry(name, stat.S_IFREG | mode, data)

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self._parents(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name: str, major: int, minor: int) -> None:
        """A character device, mode 0600."""
        self._parents(name)
        self._entry(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def finish(self) -> bytes:
        """The whole archive."""
        self._entry("TRAILER!!!", 0)
        whole = b"".join(self._parts)
        return whole + b"\0" * (-len(whole) % 512)
