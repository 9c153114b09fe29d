"""When the agent's loop looks at the host: at each interval, and sooner while a port that is bound here has no tap yet.

Upstream's loop sleeps its whole interval, so that a new server waits half of one on average for its port to be found.
The server tells the agent of a port when it is bound to this host (port_update), which is shortly before nova-compute
makes the tap.
"""

import threading
import time
from collections.abc import Callable, Collection

# Seconds between two looks, and how long a tap is waited for: an image may have to be fetched first, and the loop
# finds the tap in any case.
SOON = 0.1
PATIENCE = 5.0


class Pace:
    """``interval``: seconds from one look to the next when nothing is expected."""

    def __init__(self, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._expected: dict[str, float] = {}
        self._looked: float | None = None

    def expect(self, device: str) -> None:
        """A tap of this name will be there soon."""
        with self._lock:
            self._expected[device] = self._clock() + PATIENCE
        self._changed.set()

    def found(self, devices: Collection[str]) -> None:
        """These are there."""
        with self._lock:
            for device in self._expected.keys() & set(devices):
                del self._expected[device]

    def left(self) -> float:
        """Seconds until the next look; 0 when it is due."""
        with self._lock:
            now = self._clock()
            self._expected = {device: until for device, until in self._expected.items() if until > now}
            if self._looked is None:
                return 0.0
            return max(0.0, self._looked + (min(SOON, self._interval) if self._expected else self._interval) - now)

    def wait(self) -> None:
        """Return when the next look is due, which counts as done then."""
        while (left := self.left()) > 0:
            self._changed.wait(left)
            self._changed.clear()
        with self._lock:
            self._looked = self._clock()
