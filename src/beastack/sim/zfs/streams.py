"""`zfs send` and `zfs recv` of one snapshot: the written extents of its contents, after a line that describes it.

The form is this simulator's own; a real ZFS reads none of it, and the other way round.
"""

import contextlib
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from beastack.sim.zfs import contents, properties
from beastack.sim.zfs.errors import Refused, missing
from beastack.sim.zfs.table import SNAPSHOT, VOLUME, Dataset, Table, opened

_MAGIC = b"beastack-sim zfs stream 1\n"
_EXTENT = struct.Struct(">QQ")
_CHUNK = 1 << 20
_MAX_HEADER = 65536


def _extents(fd: int) -> Iterator[tuple[int, int]]:
    end = os.fstat(fd).st_size
    place = 0
    while place < end:
        try:
            start = os.lseek(fd, place, os.SEEK_DATA)
        except OSError:  # nothing but holes from here on
            return
        place = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, place - start


def send(directory: Path, name: str, out: BinaryIO) -> None:
    """The lock is given back before anything is written: the other end of the pipe may be a `recv` of this host."""
    if out.isatty():
        raise Refused("Error: Stream can not be written to a terminal.\nYou must redirect standard output.")
    with contextlib.ExitStack() as held:
        with opened(directory) as table:
            one = table.datasets.get(name)
            if one is None or one.kind != SNAPSHOT:
                raise missing(name)
            live = table.datasets[one.base]
            header = {"kind": live.kind, "mark": name.partition("@")[2]}
            source = None
            if one.content:
                source = held.enter_context(contents.path(table, one).open("rb"))
                header["volsize"] = str(os.fstat(source.fileno()).st_size)
                header["volblocksize"] = properties.value(table, live, "volblocksize")
        out.write(_MAGIC + json.dumps(header).encode() + b"\n")
        if source is not None:
            _copy_out(source, out)
        out.write(_EXTENT.pack(0, 0))
        out.flush()


def _copy_out(source: BinaryIO, out: BinaryIO) -> None:
    for start, length in _extents(source.fileno()):
        out.write(_EXTENT.pack(start, length))
        source.seek(start)
        while length:
            data = _exactly(source, min(length, _CHUNK))
            out.write(data)
            length -= len(data)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise Refused("cannot receive: failed to read from stream")
    return data


def _check_target(table: Table, target: str) -> None:
    above = target.rpartition("/")[0]
    if target in table.datasets:
        raise Refused(
            f"cannot receive new filesystem stream: destination '{target}' exists\nmust specify -F to overwrite it"
        )
    if above not in table.datasets:
        raise Refused(
            f"cannot open '{above}': dataset does not exist\n"
            "cannot receive new filesystem stream: unable to restore to destination"
        )


def receive(directory: Path, name: str, stream: BinaryIO) -> None:
    """A new dataset with one snapshot; nothing is left of a stream that was cut short."""
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise Refused("cannot receive: invalid stream (bad magic number)")
    header = json.loads(stream.readline(_MAX_HEADER))
    target, _at, mark = name.partition("@")
    shot = f"{target}@{mark or header['mark']}"
    volume = header["kind"] == VOLUME
    with opened(directory) as table:
        _check_target(table, target)
        made = Dataset(target, header["kind"], 0, 0, contents.make(table, int(header["volsize"])) if volume else "")
    try:
        if volume:
            _fill(stream, contents.path(table, made).open("r+b"), int(header["volsize"]))
        else:
            _exactly(stream, _EXTENT.size)
        with opened(directory) as table:
            _check_target(table, target)
            added = table.add(target, made.kind, made.content)
            if volume:
                added.local = {key: str(header[key]) for key in ("volsize", "volblocksize")}
            table.add(shot, SNAPSHOT, contents.copy(table, added) if volume else "")
            contents.nodes(table)
    except Refused:
        contents.drop(table, made)
        raise


def _fill(stream: BinaryIO, target: BinaryIO, size: int) -> None:
    with target:
        while True:
            start, length = _EXTENT.unpack(_exactly(stream, _EXTENT.size))
            if length == 0:
                return
            if start + length > size:
                raise Refused("cannot receive: invalid stream (extent beyond the volume)")
            target.seek(start)
            while length:
                data = _exactly(stream, min(length, _CHUNK))
                target.write(data)
                length -= len(data)
