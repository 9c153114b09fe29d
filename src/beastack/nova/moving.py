"""Resize and cold migration, on this host and to another, with confirm and revert.

On one host the disks are kept as they are (a ZFS snapshot; a copy, shared where the file system can) until the change
is confirmed. To another host they go over as a stream (handover.py); here they stay as they were until then. A machine
that has moved away is no guest of this host any more: its machine.json waits under another name.
"""

import json
from typing import Any

from nova.conf import CONF
from oslo_log import log as logging
from oslo_utils import excutils

from beastack.nova import disks, handover, volumes, wishes
from beastack.nova.base import Base
from beastack.nova.certificate import Certificate
from beastack.privsep import guest_files
from nova import exception
from nova.virt import driver as virt_driver

LOG = logging.getLogger(__name__)
MOVED = "machine.moved.json"


class Moving(Base):
    """Mix-in of BhyveDriver."""

    _server: handover.DiskServer | None = None

    def _disk_server(self) -> handover.DiskServer:
        if self._server is None:
            certificate = Certificate(self._instances / "handover.pem", str(CONF.host))
            port = int(self._options.handover_port)
            self._server = handover.DiskServer(self._instances, self._store, str(CONF.my_ip), port, certificate)
        return self._server

    def _reopen_offers(self) -> None:
        """After a restart: what was offered is still offered."""
        if any(self._instances.glob(f"*/{handover.OFFER}")):
            self._disk_server().ensure_open()

    def _disconnect(self, instance: Any, block_device_info: Any) -> None:
        for mapping in virt_driver.block_device_info_get_mapping(block_device_info):
            volumes.disconnect(self._guest(instance).folder, mapping["connection_info"])

    # -- away from this host

    def migrate_disk_and_power_off(
        self,
        context: Any,
        instance: Any,
        dest: Any,
        flavor: Any,
        network_info: Any,
        block_device_info: Any = None,
        timeout: int = 0,
        retry_interval: int = 0,
    ) -> str:
        """Stop it, keep its disks; what the other side needs to know, as JSON."""
        disks.check_resize(instance.flavor, flavor)
        try:
            if str(dest) == self.get_host_ip_addr():
                self._wishes(flavor, instance.image_meta)
            else:
                wishes.read(flavor, instance.image_meta)  # the other host may run guests in the other way
        except (exception.UnsupportedHardware, exception.InvalidInput) as error:
            raise exception.InstanceFaultRollback(error) from error
        guest = self._guest(instance)
        guest.stop(int(timeout or 0))
        if str(dest) == self.get_host_ip_addr():
            self._store.keep(guest.uuid)
            return json.dumps({"same_host": True})
        self._drop_old_taps(guest, network_info)
        self._unplug(network_info)
        self._disconnect(instance, block_device_info)
        address, port, fingerprint = self._disk_server().ensure_open()
        secret = handover.offer(guest.folder)
        (guest.folder / guest_files.MACHINE).rename(guest.folder / MOVED)
        return json.dumps({"address": address, "port": port, "fingerprint": fingerprint, "secret": secret})

    # -- to this host

    def finish_migration(
        self,
        context: Any,
        migration: Any,
        instance: Any,
        disk_info: str,
        network_info: Any,
        image_meta: Any,
        resize_instance: bool,
        allocations: Any,
        block_device_info: Any = None,
        power_on: bool = True,
        share_info: Any = None,
    ) -> None:
        """Take the disks when they come from elsewhere, fit them to the flavor, start it."""
        told = json.loads(disk_info)
        same_host = bool(told.get("same_host"))
        try:
            if not same_host:
                self._guest(instance).forget()
                self._store.remove_all(str(instance.uuid))
                folder = disks.make_folder(self._instances, str(instance.uuid))
                handover.fetch(told, folder, self._store)
            disks.fit(self._store, instance, block_device_info)
            self._begin(instance, network_info, block_device_info, power_on)
        except Exception:
            with excutils.save_and_reraise_exception():
                LOG.exception("The migration could not be finished", instance=instance)
                if not same_host:  # the disks are still whole on the source
                    self._purge(str(instance.uuid), network_info)

    def _begin(self, instance: Any, network_info: Any, block_device_info: Any, power_on: bool) -> None:
        guest = self._guest(instance)
        disks.copy_variables(guest.folder / disks.VARIABLES, self._options.bootrom_vars)
        self._define(instance, network_info, block_device_info)
        self._wire_and_start(instance, network_info, power_on)

    # -- the end of it

    def confirm_migration(self, context: Any, migration: Any, instance: Any, network_info: Any) -> None:
        """On the source: what was kept goes; all of it when the guest lives on another host now."""
        guest = self._guest(instance)
        handover.withdraw(guest.folder)
        if migration.source_compute == migration.dest_compute:
            self._store.forget(guest.uuid)
        else:
            self._purge(guest.uuid, network_info)
        if self._server is not None:
            self._server.close_if_idle()

    def finish_revert_migration(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        migration: Any,
        block_device_info: Any = None,
        power_on: bool = True,
        share_info: Any = None,
    ) -> None:
        """On the source: the guest as it was before. Also asked at the start after a crash amid it (any step)."""
        guest = self._guest(instance)
        if not guest.folder.is_dir():
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        guest.stop(0)
        handover.withdraw(guest.folder)
        if self._server is not None:
            self._server.close_if_idle()
        self._store.restore(guest.uuid)
        moved = guest.folder / MOVED
        if moved.exists() and not guest.is_defined():
            moved.rename(guest.folder / guest_files.MACHINE)
        moved.unlink(missing_ok=True)
        self._begin(instance, network_info, block_device_info, power_on)
