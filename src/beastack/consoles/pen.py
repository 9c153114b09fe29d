"""One writer at a time: who types first has the pen, until it leaves or has been quiet for a while.

Standard library only: the guest's supervisor uses it for the serial console, the console service for the screen.
"""

from collections.abc import Hashable

QUIET_SECONDS = 60.0


class Pen:
    """Belongs to one console; a viewer is anything that can be compared."""

    def __init__(self, quiet: float = QUIET_SECONDS) -> None:
        self._quiet = quiet
        self._holder: Hashable | None = None
        self._used = 0.0

    def take(self, viewer: Hashable, now: float) -> bool:
        """Whether the viewer may write now (``now`` in monotonic seconds); then it has the pen."""
        if self._holder is not None and self._holder != viewer and now - self._used < self._quiet:
            return False
        self._holder, self._used = viewer, now
        return True

    def has(self, viewer: Hashable) -> bool:
        """Whether the viewer wrote last and is still here."""
        return self._holder == viewer

    @property
    def free(self) -> bool:
        """Whether nobody has it."""
        return self._holder is None

    def leave(self, viewer: Hashable) -> None:
        """The viewer has gone, or will write no more."""
        if self._holder == viewer:
            self._holder = None
