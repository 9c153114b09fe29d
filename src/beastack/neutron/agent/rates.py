"""Limits of what ports send: what the server wants, and that it is so on the host.

Upstream's ``qos`` extension says what it wants by events, and takes a limit away before it gives the next one: here
its calls are only noted, and done once an iteration of the loop, when the host is compared with them. So a restart or
a change of another rule does not touch a limit that is right.

A port whose limit cannot be set stays up, with an alarm: a limit shares out what there is, and protects nobody's data;
a tenant whose server is cut off has lost more than its neighbours gain. Filtering is another matter (``manager``).
"""

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager

from oslo_concurrency import lockutils
from oslo_log import log as logging

from beastack.privsep import rates as privileged

LOG = logging.getLogger(__name__)
# upstream's: the extension has it from when it takes a limit away until it has given the next one
_EXTENSION = "qos-port"


class Rates:
    """Limits of one host's ports. ``lock`` is held while a port's guard or limit is changed."""

    def __init__(
        self,
        lock: AbstractContextManager[object],
        alarm: Callable[[str], None],
        retry_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = lock
        self._alarm = alarm
        self._retry_seconds = retry_seconds
        self._clock = clock
        # device -> kbit a second, kbit at once
        self._wanted: dict[str, tuple[int, int]] = {}
        # device -> when it is to be compared
        self._due: dict[str, float] = {}
        self._failed: dict[str, str] = {}
        self._limited: set[str] = set()

    def want(self, device: str, kbps: int, burst_kb: int) -> None:
        """The port's limit is to be this."""
        with self._lock:
            self._wanted[device] = kbps, burst_kb
            self.mark([device])

    def unwant(self, device: str) -> None:
        """The port is to have no limit."""
        with self._lock:
            if self._wanted.pop(device, None) is not None:
                self.mark([device])

    def mark(self, devices: Iterable[str]) -> None:
        """Compare these with the host at once."""
        with self._lock:
            self._due |= dict.fromkeys(devices, self._clock())

    def settle(self, present: Collection[str]) -> None:
        """Make the limits of those that are due, and on the host, as they are wanted."""
        if not self._due:
            return
        with lockutils.lock(_EXTENSION), self._lock:
            now = self._clock()
            due = [device for device, when in self._due.items() if device in present and when <= now]
            if not due:
                return
            try:
                there = privileged.list_rates()
            except Exception as e:  # noqa: BLE001 - whatever it was, ports stay up and it is tried again
                for device in due:
                    self._not_done(device, e)
                return
            for device in sorted(due):
                try:
                    self._compare(device, device in there)
                except Exception as e:  # noqa: BLE001 - the same
                    self._not_done(device, e)
                else:
                    self._due.pop(device)
                    self._failed.pop(device, None)

    def _compare(self, device: str, limited: bool) -> None:
        wanted = self._wanted.get(device)
        if wanted is not None:
            self._limited.add(device)
            privileged.set_rate(device, *wanted)
        elif limited:
            privileged.clear_rate(device)
            self._limited.discard(device)

    def _not_done(self, device: str, error: Exception) -> None:
        self._due[device] = self._clock() + self._retry_seconds
        reason = f"{type(error).__name__}: {error}"
        if self._failed.get(device) == reason:
            return
        self._failed[device] = reason
        wanted = self._wanted.get(device)
        if wanted is None:
            LOG.warning("Whether %s is limited, as it should not be, is unknown; tried again: %s", device, reason)
        else:
            self._alarm(f"{device}: its limit of {wanted[0]} kbit/s is not known to be in force; tried again: {reason}")

    def check(self, plugged: Collection[str]) -> None:
        """One look at the limits of these ports: those that are lost or left over are due. Raises nothing."""
        with self._lock:
            try:
                there = privileged.list_rates()
            except Exception as e:  # noqa: BLE001 - it concerns no filtering, and is looked at again
                LOG.warning("The limits of ports could not be looked at: %s", e)
                return
            lost = {d for d in self._wanted if d in plugged and not there.get(d) and d not in self._due}
            for device in sorted(lost):
                self._alarm(f"{device} had lost its limit; it is set again")
            self.mark(lost | {d for d in there if d in plugged and d not in self._wanted})

    def gone(self, device: str) -> None:
        """The port's interface is gone: what of a limit hung behind its guard is removed."""
        with self._lock:
            for known in (self._wanted, self._due, self._failed):
                known.pop(device, None)
            if device in self._limited:
                privileged.clear_rate(device)
                self._limited.discard(device)

    def sweep(self, present: Collection[str]) -> None:
        """Remove the limits of ports that are not there."""
        with self._lock:
            for device in sorted(set(privileged.list_rates()) - set(present)):
                privileged.clear_rate(device)
