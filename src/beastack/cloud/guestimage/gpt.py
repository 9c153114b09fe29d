"""A disk with one EFI system partition, written by hand: no loop device, and the same bytes every time."""

import struct
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
FIRST = 2048
_ENTRIES, _ENTRY_SIZE = 128, 128
_TABLE_SECTORS = _ENTRIES * _ENTRY_SIZE // SECTOR
_EFI_SYSTEM = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
_NAMESPACE = uuid.UUID("6b6f1f2c-5f0e-4bb1-9c44-0d6a3c1e7a10")


@dataclass(frozen=True, slots=True)
class _Layout:
    sectors: int
    part_sectors: int

    @property
    def last(self) -> int:
        return self.sectors - 1


def _header(layout: _Layout, here: int, other: int, table: int, disk_id: uuid.UUID, entries: bytes) -> bytes:
    first_usable, last_usable = 2 + _TABLE_SECTORS, layout.last - _TABLE_SECTORS - 1

    def pack(crc: int) -> bytes:
        return struct.pack(
            "<8sIIIIQQQQ16sQIII",
            b"EFI PART",
            0x10000,
            92,
            crc,
            0,
            here,
            other,
            first_usable,
            last_usable,
            disk_id.bytes_le,
            table,
            _ENTRIES,
            _ENTRY_SIZE,
            zlib.crc32(entries),
        )

    return pack(zlib.crc32(pack(0))).ljust(SECTOR, b"\0")


def write(disk: Path, partition: Path, label: str) -> int:
    """Write a disk that holds the partition's contents; its size in bytes."""
    size = partition.stat().st_size
    if size % SECTOR:
        raise ValueError(f"{partition}: not whole sectors")
    mib = 1 << 20
    total = (FIRST * SECTOR + size + (_TABLE_SECTORS + 1) * SECTOR + mib - 1) // mib * mib
    layout = _Layout(total // SECTOR, size // SECTOR)
    disk_id, part_id = (uuid.uuid5(_NAMESPACE, f"{what} {label}") for what in ("disk", "partition"))
    entry = struct.pack(
        "<16s16sQQQ72s",
        _EFI_SYSTEM.bytes_le,
        part_id.bytes_le,
        FIRST,
        FIRST + layout.part_sectors - 1,
        0,
        label.encode("utf-16-le")[:72],
    )
    entries = entry.ljust(_ENTRIES * _ENTRY_SIZE, b"\0")
    protective = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, min(layout.last, 0xFFFFFFFF))
    backup_table = layout.last - _TABLE_SECTORS
    with open(disk, "wb") as out:
        out.truncate(total)
        out.write((b"\0" * 446 + protective).ljust(510, b"\0") + b"\x55\xaa")
        out.write(_header(layout, 1, layout.last, 2, disk_id, entries) + entries)
        out.seek(FIRST * SECTOR)
        out.write(partition.read_bytes())
        out.seek(backup_table * SECTOR)
        out.write(entries + _header(layout, layout.last, 1, backup_table, disk_id, entries))
    return total
