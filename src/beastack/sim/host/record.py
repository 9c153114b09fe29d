"""Owns DIR/engine.json: which process is the engine, and whether it still is the one that was recorded."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Record:
    pid: int
    start_time: float
    name: str

    def alive(self) -> bool:
        """True only for the very process that was recorded: the number alone may have been given again."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.start_time) < 2.0 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def read(directory: Path) -> Record | None:
    """None when there is no record, or one that was cut off half-written."""
    try:
        fields = json.loads((directory / "engine.json").read_text())
        return Record(int(fields["pid"]), float(fields["start_time"]), str(fields["name"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write(directory: Path, record: Record) -> None:
    temporary = directory / "engine.json.new"
    temporary.write_text(json.dumps({"pid": record.pid, "start_time": record.start_time, "name": record.name}) + "\n")
    temporary.replace(directory / "engine.json")


def remove(directory: Path) -> None:
    for name in ("engine.json", "engine.json.new"):
        with contextlib.suppress(FileNotFoundError):
            (directory / name).unlink()


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One start or stop of a host at a time."""
    with open(directory / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def interface_name(directory: Path, prefix: str, number: int) -> str:
    """Names in the root namespace come from the folder, so that two clouds never meet: 3 + 10 + 1 or 2 characters."""
    digest = hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:10]
    return f"{prefix}{digest}{number}"
