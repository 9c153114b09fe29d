"""What is on the host: the taps of ports, seen once an iteration, and which of them are not as they were left."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from beastack.freebsd.host import Host
from beastack.freebsd.ifnet import GROUP
from beastack.freebsd.ifnet_read import Interface, list_interfaces

PREFIX = "tap"


def ports(interfaces: Mapping[str, Interface]) -> set[str]:
    """Names of the host ends of ports: ours by group, ports by name."""
    return {n for n, i in interfaces.items() if n.startswith(PREFIX) and GROUP in i.groups}


def bridge_of(interfaces: Mapping[str, Interface], member: str) -> str | None:
    """The bridge that an interface is a member of."""
    return next((n for n, i in interfaces.items() if member in i.members), None)


@dataclass(frozen=True)
class Plugged:
    """How the agent left a port."""

    mac: str | None
    bridge: str


class DeviceWatch:
    """Snapshots of the host, and a generation for each device which grows when the device must be looked at again.

    CommonAgentLoop compares the generations as timestamps (_common_agent.py, _get_devices_locally_modified): a tap that
    was made anew, left its bridge or went down (bhyve ended, shared/freebsd 13) is an updated device.
    """

    def __init__(self, host: Host, clock: Callable[[], float] = time.monotonic) -> None:
        self._host = host
        self._clock = clock
        self._lock = threading.Lock()
        self._plugged: dict[str, Plugged] = {}
        self._generation: dict[str, int] = {}
        self._retry: dict[str, float] = {}
        self._touched: set[str] = set()
        self.interfaces: dict[str, Interface] = {}

    def scan(self) -> set[str]:
        """Look at the host; raises HostError when it cannot be read."""
        with self._lock:
            self._touched.clear()
            self.interfaces = list_interfaces(self._host)
            return ports(self.interfaces)

    def generations(self, devices: Iterable[str]) -> dict[str, int]:
        """The devices' generations, after the last scan."""
        with self._lock:
            now = self._clock()
            found = {}
            for device in devices:
                if self._changed(device) or self._retry.get(device, now + 1) <= now:
                    self._plugged.pop(device, None)
                    self._retry.pop(device, None)
                    self._generation[device] = self._generation.get(device, 0) + 1
                found[device] = self._generation.setdefault(device, 0)
            return found

    def _changed(self, device: str) -> bool:
        left, seen = self._plugged.get(device), self.interfaces.get(device)
        if left is None or seen is None:
            return False
        return not seen.is_up or Plugged(seen.mac, bridge_of(self.interfaces, device) or "") != left

    def is_plugged(self, device: str, bridge: str) -> bool:
        """Whether the last scan found the device as it was plugged, into this bridge."""
        with self._lock:
            left = self._plugged.get(device)
            return left is not None and left.bridge == bridge and not self._changed(device)

    def plugged(self, device: str, bridge: str) -> None:
        """The device is in the bridge now."""
        with self._lock:
            seen = self.interfaces.get(device)
            self._plugged[device] = Plugged(seen.mac if seen else None, bridge)
            self._retry.pop(device, None)

    def unplugged(self, device: str) -> None:
        """The device is in no bridge now, and is meant to be so."""
        with self._lock:
            self._plugged.pop(device, None)
            self._touched.add(device)

    def drop(self, names: Collection[str]) -> None:
        """These are gone: what the last scan saw of them counts no more."""
        with self._lock:
            self.interfaces = {n: i for n, i in self.interfaces.items() if n not in names}

    def is_touched(self, device: str) -> bool:
        """Whether the device may have left its bridge after the last scan."""
        with self._lock:
            return device in self._touched

    def forget(self, device: str) -> None:
        """The device is gone."""
        with self._lock:
            for known in (self._plugged, self._generation, self._retry):
                known.pop(device, None)

    def retry(self, device: str, seconds: float) -> None:
        """Look at the device again in a while."""
        with self._lock:
            self._retry[device] = self._clock() + seconds

    def all_plugged(self) -> list[str]:
        """Devices that were left in a bridge."""
        with self._lock:
            return sorted(self._plugged)
