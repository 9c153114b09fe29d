"""Which console port belongs to which guest: a map kept in a file, changed under a lock; ports are never
scanned.
"""

import json
from pathlib import Path

from beastack.nova.files import locked
from beastack.privsep.guest_files import read_regular, write_whole

_SECONDS = 30.0
_MAX = 4 << 20


class NoPortLeft(Exception):
    """Every port of the range belongs to a guest."""


def _key(uuid: str, what: str) -> str:
    return f"{uuid}:{what}" if what else uuid


class ConsolePorts:
    """The map below the folder of the instances."""

    def __init__(self, instances: Path, ports: range) -> None:
        self._instances = instances
        self._file = instances / "console-ports.json"
        self._lock = instances / "console-ports.lock"
        self._ports = ports

    def _read(self) -> dict[str, int]:
        try:
            values = json.loads(read_regular(self._file, _MAX))
        except FileNotFoundError:
            return {}
        return {str(uuid): int(port) for uuid, port in values.items()}

    def _write(self, ports: dict[str, int]) -> None:
        write_whole(self._file, json.dumps(ports, indent=1, sort_keys=True).encode(), 0o600)

    def allocate(self, uuid: str, what: str = "") -> int:
        """The port of this guest (for `what`), the same at every call until it is released."""
        key = _key(uuid, what)
        with locked(self._lock, _SECONDS):
            ports = self._read()
            if ports.get(key) in self._ports:
                return ports[key]
            port = self._free(ports)
            if port is None:  # forget guests that are gone; normally each was released at its end
                ports = {k: port for k, port in ports.items() if (self._instances / k.partition(":")[0]).is_dir()}
                port = self._free(ports)
            if port is None:
                raise NoPortLeft(f"all {len(self._ports)} console ports are taken ([beastack] console_ports)")
            self._write({**ports, key: port})
            return port

    def _free(self, ports: dict[str, int]) -> int | None:
        taken = set(ports.values())
        return next((port for port in self._ports if port not in taken), None)

    def release(self, uuid: str, what: str = "") -> None:
        """The guest is gone."""
        with locked(self._lock, _SECONDS):
            ports = self._read()
            if ports.pop(_key(uuid, what), None) is not None:
                self._write(ports)
