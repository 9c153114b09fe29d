"""A guest's life: made, started, stopped, paused, rebooted, rescued, removed."""

from dataclasses import replace
from typing import Any

from oslo_log import log as logging
from oslo_utils import excutils

from beastack.nova import config_drive, disks, refusals
from beastack.nova.base import Base
from beastack.nova.phases import Phases
from beastack.nova.stores.base import RESCUE
from nova import exception

LOG = logging.getLogger(__name__)
_SOFT_REBOOT_SECONDS = 60


class Life(Base):
    """Mix-in of BhyveDriver."""

    def spawn(
        self,
        context: Any,
        instance: Any,
        image_meta: Any,
        injected_files: Any,
        admin_password: Any,
        allocations: Any,
        network_info: Any = None,
        block_device_info: Any = None,
        power_on: bool = True,
        accel_info: Any = None,
    ) -> None:
        """Disks, taps, wait for the network, start. What an earlier, broken try left is replaced."""
        self._refuse_unbuilt(instance, image_meta, injected_files)
        vif_list: Any = network_info
        phases = Phases()
        try:
            folder = disks.make_folder(self._instances, str(instance.uuid))
            with phases.of("image"):
                disks.have_image(self._images, context, instance, image_meta)
            with phases.of("disk"):
                have = disks.create(self._store, instance, image_meta, block_device_info)
                disks.copy_variables(folder / disks.VARIABLES, self._options.bootrom_vars)
            with phases.of("network"):
                # nova asks neutron for the ports meanwhile; a look at them waits for the answer
                vif_list = network_info or []
            with phases.of("disk"):
                if config_drive.wanted(instance):
                    config_drive.write(instance, vif_list, injected_files, admin_password, folder)
                self._define(instance, vif_list, block_device_info, have)
            self._wire_and_start(instance, vif_list, power_on, phases)
            LOG.info("Spawned: %s", phases.words(), instance=instance)
        except Exception:
            with excutils.save_and_reraise_exception():
                LOG.exception("Spawning failed", instance=instance)
                self._undo_spawn(context, instance, vif_list)

    def prepare_for_spawn(self, instance: Any) -> None:
        """What cannot be is refused here, before volumes are attached, and without a try on another host."""
        try:
            self._refuse_unbuilt(instance, instance.image_meta, None)
        except (exception.BuildAbortException, exception.UnsupportedHardware, exception.InvalidInput) as error:
            raise exception.InstanceUnacceptable(instance_id=instance.uuid, reason=error.format_message()) from error

    def _refuse_unbuilt(self, instance: Any, image_meta: Any, injected_files: Any) -> None:
        """What cannot be is refused before anything is made."""
        self._wishes(instance.flavor, image_meta)
        reason = refusals.unbuilt(instance, injected_files, config_drive.wanted(instance))
        if reason:
            raise exception.BuildAbortException(instance_uuid=instance.uuid, reason=reason)

    def rebuild(
        self,
        context: Any,
        instance: Any,
        image_meta: Any,
        injected_files: Any,
        admin_password: Any,
        allocations: Any,
        bdms: Any,
        detach_block_devices: Any,
        attach_block_devices: Any,
        network_info: Any = None,
        evacuate: bool = False,
        block_device_info: Any = None,
        preserve_ephemeral: bool = False,
        accel_uuids: Any = None,
        reimage_boot_volume: bool = False,
    ) -> None:
        """Refuse an image that the guest could not start from while its disks are still there; the rest nova composes
        of destroy and spawn, as it does for a driver that answers so.
        """
        self._refuse_unbuilt(instance, image_meta, injected_files)
        raise NotImplementedError

    def _undo_spawn(self, context: Any, instance: Any, network_info: Any) -> None:
        """Clean up; what fails here must not hide why the spawn failed (nova calls destroy again)."""
        try:
            self.destroy(context, instance, network_info)
        except Exception:
            LOG.exception("Cleaning up after a failed spawn failed, too", instance=instance)

    def destroy(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        destroy_disks: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """End it and remove what it had; each step is repeatable, and a guest that is not there is no error."""
        self.cleanup(context, instance, network_info, block_device_info, destroy_disks)

    def cleanup(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        destroy_disks: bool = True,
        migrate_data: Any = None,
        destroy_vifs: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """The same; without ``destroy_disks`` (a resize on one host is taken back) only the machine ends."""
        if destroy_disks:
            self._purge(str(instance.uuid), network_info, vifs_too=destroy_vifs)
            return
        self._guest(instance).stop(0)
        if destroy_vifs:
            self._unplug(network_info)

    def delete_instance_files(self, instance: Any) -> bool:
        """All that this host still has of it (nova: after a migration that broke off)."""
        self._purge(str(instance.uuid))
        return True

    # -- power

    def _existing(self, instance: Any) -> Any:
        guest = self._guest(instance)
        if not guest.folder.is_dir():
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return guest

    def power_on(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        accel_info: Any = None,
        share_info: Any = None,
    ) -> None:
        """Start it as it is described now."""
        self._existing(instance)
        self._start_as_it_is(instance, network_info, block_device_info)

    def power_off(self, instance: Any, timeout: int = 0, retry_interval: int = 0) -> None:
        """Power button, after `timeout` seconds by force (the supervisor presses again every 10 s)."""
        guest = self._guest(instance)
        if guest.folder.is_dir():
            guest.stop(int(timeout or 0))

    def reboot(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        reboot_type: str,
        block_device_info: Any = None,
        bad_volumes_callback: Any = None,
        accel_info: Any = None,
        share_info: Any = None,
    ) -> None:
        """SOFT: shut down in order, then start. HARD: reset, or stop and start when the machine has changed."""
        guest = self._existing(instance)
        if reboot_type == "HARD" and guest.runs():
            self._runner.plug(instance, network_info)
            wanted = self._machine(instance, network_info, self._volumes(instance, block_device_info))
            if guest.is_as(wanted) and guest.reset():
                return
        guest.stop(_SOFT_REBOOT_SECONDS if reboot_type == "SOFT" else 0)
        self._start_as_it_is(instance, network_info, block_device_info)

    def resume_state_on_host_boot(
        self, context: Any, instance: Any, network_info: Any, share_info: Any, block_device_info: Any = None
    ) -> None:
        """After a boot of the host the taps are gone and nothing runs."""
        try:
            runs = self._guest(instance).runs()
        except exception.HypervisorUnavailable as error:
            LOG.error("Left as it is, since nobody knows whether it runs: %s", error, instance=instance)
            return
        if not runs:
            self.power_on(context, instance, network_info, block_device_info)

    def pause(self, instance: Any) -> None:
        """Stop its processors; memory and network stay as they are."""
        self._existing(instance).pause()

    def unpause(self, instance: Any) -> None:
        """Let it run on."""
        self._existing(instance).unpause()

    # -- rescue

    def rescue(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        image_meta: Any,
        rescue_password: Any,
        block_device_info: Any,
        share_info: Any,
    ) -> None:
        """Start from another image; the guest's own root is the second disk. It stays so until unrescue, also over a
        start of the host: the rescue disk says it.
        """
        guest = self._existing(instance)
        self._wishes(instance.flavor, image_meta)
        image_id = str(image_meta.id)
        size = self._images.ensure(context, image_id, str(image_meta.disk_format), None)
        guest.stop(0)
        self._end_rescue(guest)
        try:
            self._store.create(guest.uuid, RESCUE, max(size, disks.root_size(instance.flavor) or 0), image_id)
            if config_drive.wanted(instance):
                config_drive.write(instance, network_info, None, rescue_password, guest.folder)
            self._start_as_it_is(instance, network_info, block_device_info)
        except Exception:
            with excutils.save_and_reraise_exception():
                LOG.exception("The rescue failed", instance=instance)
                guest.stop(0)
                self._end_rescue(guest)

    def unrescue(self, context: Any, instance: Any) -> None:
        """Stop it and start it from its own root. Nova gives neither ports nor volumes here: the machine keeps its."""
        guest = self._existing(instance)
        guest.stop(0)
        machine = guest.machine()
        rescue = self._store.path(guest.uuid, RESCUE)
        self._end_rescue(guest)
        own = {
            disk.path: disk
            for disk in disks.layout(self._store, self._store.disks(guest.uuid), guest.folder, machine.disks[0].kind)
        }
        kept = [disk for disk in machine.disks if disk.path != rescue and disk.path not in own]
        variables = replace(machine.bootrom, variables=str(guest.folder / disks.VARIABLES))
        guest.define(replace(machine, disks=(*own.values(), *kept), bootrom=variables))
        self._start(guest)

    def _end_rescue(self, guest: Any) -> None:
        self._store.remove(guest.uuid, RESCUE)
        (guest.folder / disks.RESCUE_VARIABLES).unlink(missing_ok=True)
