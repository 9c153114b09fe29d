"""A guest's folder as the driver sees it, whatever runs the guest: machine.json, the console's log."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from beastack.freebsd import bhyve, bhyve_json
from beastack.privsep import guest_files
from nova import exception

_CONSOLE_BYTES = 100 * 1024
_LOG_BYTES = 2 << 20


class GuestFolder:
    """A guest by its UUID, whether it is there or not."""

    def __init__(self, instances: Path, uuid: str) -> None:
        self.uuid = uuid
        self.folder = instances / uuid

    def is_defined(self) -> bool:
        """Whether the host knows it: it has a machine.json."""
        return (self.folder / guest_files.MACHINE).is_file()

    def machine(self) -> bhyve.Machine:
        """What machine.json says. Raises InstanceNotFound, BadMachine."""
        try:
            text = guest_files.read_regular(self.folder / guest_files.MACHINE, bhyve_json.MAX_BYTES)
        except FileNotFoundError:
            raise exception.InstanceNotFound(instance_id=self.uuid) from None
        return bhyve_json.load(text.decode(errors="replace"))

    def is_as(self, machine: bhyve.Machine) -> bool:
        """Whether machine.json says the same."""
        try:
            return self.machine() == machine
        except (exception.InstanceNotFound, bhyve.BadMachine, guest_files.GuestFileError):
            return False

    def define(self, machine: bhyve.Machine, ports: Mapping[str, str] | None = None) -> bool:
        """Write machine.json; True when it says something new. ``ports`` are for runners that make taps."""
        path, text = self.folder / guest_files.MACHINE, bhyve_json.dump(machine).encode()
        if path.is_file() and guest_files.read_regular(path, bhyve_json.MAX_BYTES) == text:
            return False
        guest_files.write_whole(path, text, 0o600)
        return True

    def taps(self) -> list[str]:
        """Taps that its last machine had."""
        with suppress(exception.InstanceNotFound, bhyve.BadMachine, guest_files.GuestFileError):
            return [nic.tap for nic in self.machine().nics]
        return []

    def console_output(self) -> bytes:
        """The end of what it wrote on its serial console."""
        data = b""
        for name in (f"{guest_files.CONSOLE_LOG}.1", guest_files.CONSOLE_LOG):
            try:
                data += guest_files.read_regular(self.folder / name, _LOG_BYTES)
            except FileNotFoundError:
                continue  # not that much was written yet
        return data[-_CONSOLE_BYTES:]
