"""Interfaces and volumes that come and go. bhyve has no hot-plug: what comes is there at the next stop and start (or
hard reboot), and what a running guest holds cannot be taken from it.
"""

from typing import Any

from oslo_log import log as logging

from beastack.nova import vifs, volumes
from beastack.nova.base import Base
from nova import exception

LOG = logging.getLogger(__name__)
LATER = "bhyve has no hot-plug: the guest has %s from its next stop and start or hard reboot on"
STOP_FIRST = "bhyve cannot take %s from a running guest: stop the server first"


class Attaching(Base):
    """Mix-in of BhyveDriver."""

    def _runs(self, instance: Any) -> bool:
        return self._guest(instance).runs()

    def plug_vifs(self, instance: Any, network_info: Any) -> None:
        """Taps for its ports."""
        self._runner.plug(instance, network_info)

    def unplug_vifs(self, instance: Any, network_info: Any) -> None:
        """Remove them; bhyve must not hold them."""
        self._unplug(network_info)

    def attach_interface(self, context: Any, instance: Any, image_meta: Any, vif: Any) -> None:
        """A tap for it now, a card in the guest at its next start."""
        self._runner.plug(instance, [vif])
        if self._runs(instance):
            LOG.warning(LATER, f"the card {vif['address']}", instance=instance)

    def detach_interface(self, context: Any, instance: Any, vif: Any) -> None:
        """Of a guest that does not run; otherwise refused: it holds the tap."""
        tap = vifs.tap_name(vif)
        if self._runs(instance) and any(nic.tap == tap for nic in self._guest(instance).machine().nics):
            LOG.error(STOP_FIRST, f"the card {vif['address']}", instance=instance)
            raise exception.InterfaceDetachFailed(
                f"Failed to detach port {vif['id']} from {instance.uuid}: {STOP_FIRST % 'a card'}"
            )
        self._unplug([vif])

    def get_volume_connector(self, instance: Any) -> dict[str, Any]:
        """For cinder."""
        return volumes.connector()

    def attach_volume(
        self,
        context: Any,
        connection_info: Any,
        instance: Any,
        mountpoint: Any,
        disk_bus: Any = None,
        device_type: Any = None,
        encryption: Any = None,
    ) -> None:
        """A session now, a disk in the guest at its next start."""
        if encryption:
            raise exception.InvalidVolume(reason="the bhyve driver cannot decrypt volumes")
        volumes.connect(self._guest(instance).folder, connection_info)
        if self._runs(instance):
            LOG.warning(LATER, f"the volume at {mountpoint}", instance=instance)

    def detach_volume(
        self, context: Any, connection_info: Any, instance: Any, mountpoint: Any, encryption: Any = None
    ) -> None:
        """From a guest that does not run; otherwise refused when it has the disk."""
        guest = self._guest(instance)
        if self._runs(instance):
            device = volumes.connect(guest.folder, connection_info)
            if any(disk.path == device for disk in guest.machine().disks):
                raise exception.DeviceDetachFailed(device=mountpoint, reason=STOP_FIRST % "a disk")
        volumes.disconnect(guest.folder, connection_info)
