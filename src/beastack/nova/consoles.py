"""Consoles as nova asks for them."""

from typing import Any

from beastack.nova.base import Base
from nova import exception


class Consoles(Base):
    """Mix-in of BhyveDriver."""

    def get_console_output(self, context: Any, instance: Any) -> bytes:
        """The end of the serial console's log."""
        guest = self._guest(instance)
        if not guest.is_defined():
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return guest.console_output()

    def get_serial_console(self, context: Any, instance: Any) -> Any:
        """The way to its serial console, for nova-serialproxy."""
        return self._consoles.serial(self._guest(instance))

    def get_vnc_console(self, context: Any, instance: Any) -> Any:
        """The way to its screen, for nova-novncproxy."""
        why = self._runner.cannot.get("get_vnc_console")
        if why:
            raise exception.ConsoleTypeUnavailable(console_type=f"vnc: {why}")
        return self._consoles.screen(self._guest(instance))
