"""How long each phase of a longer work took, for one line of the log and for bench/compute.py."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Phases:
    """Seconds by phase, in the order in which they began. A phase within another is not counted in it."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = {}
        self._inside: list[str] = []
        self._since = time.monotonic()

    def _count(self) -> None:
        now = time.monotonic()
        if self._inside:
            self._spent[self._inside[-1]] += now - self._since
        self._since = now

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Count what happens within as ``name``."""
        self._count()
        self._spent.setdefault(name, 0.0)
        self._inside.append(name)
        try:
            yield
        finally:
            self._count()
            self._inside.pop()

    def words(self) -> str:
        """`image 0.01 s, disk 0.20 s`."""
        return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self._spent.items())
