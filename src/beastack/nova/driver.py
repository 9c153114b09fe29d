"""BhyveDriver: nova's compute driver for FreeBSD hosts (contract: nova/virt/driver.py, ComputeDriver).

Loaded as `compute_driver = beastack.BhyveDriver`. What is not overridden here is not built: upstream's base
class answers NotImplementedError, and no capability promises it.
"""

from pathlib import Path
from typing import Any

import os_resource_classes as orc
from nova.conf import CONF
from oslo_log import log as logging
from oslo_utils import excutils

from beastack.freebsd.host import LocalHost
from beastack.nova import disks, machines, resources, vifs
from beastack.nova.guests import Guest
from beastack.nova.ports import ConsolePorts
from beastack.nova.watch import GuestWatch
from beastack.privsep import guest_conf, guest_files
from beastack.privsep import guests as privileged
from nova import exception
from nova.virt import driver as virt_driver
from nova.virt import event as virt_event
from nova.virt import hardware

LOG = logging.getLogger(__name__)
_SOFT_REBOOT_SECONDS = 60


class BhyveDriver(virt_driver.ComputeDriver):
    """Guests under bhyve(8), each with a supervisor of its own (beastack.nova.guest)."""

    capabilities = {  # noqa: RUF012 upstream's form
        **virt_driver.ComputeDriver.capabilities,
        "supports_image_type_raw": True,
        "supports_image_type_qcow2": True,
    }

    def __init__(self, virtapi: Any) -> None:
        super().__init__(virtapi)
        self._options = guest_conf.register(CONF)
        self._instances = Path(CONF.instances_path)
        self._ports = ConsolePorts(self._instances, guest_conf.console_ports(self._options))
        self._watch = GuestWatch(self._instances, self._guest_ended)
        self._facts: resources.HostFacts | None = None

    def _guest(self, instance: Any) -> Guest:
        return Guest(self._instances, str(instance.uuid))

    # -- the host

    def init_host(self, host: str) -> None:
        """Check the configuration, mend what a crash left, and watch the guests that run."""
        for name in ("bootrom", "bootrom_vars"):
            path = getattr(self._options, name)
            if not path or not Path(path).is_file():
                raise exception.HypervisorUnavailable(f"[beastack] {name} = {path}: there is no such file")
        theirs = self._options.instances_path
        if theirs and Path(theirs) != self._instances:
            raise exception.HypervisorUnavailable(
                f"[beastack] instances_path = {theirs}, but instances_path = {self._instances}"
            )
        self._instances.mkdir(mode=0o711, parents=True, exist_ok=True)
        if self._instances.resolve() != self._instances:
            raise exception.HypervisorUnavailable(f"instances_path {self._instances} is not a real, absolute path")
        privileged.prepare_host()
        for uuid in self.list_instance_uuids():
            answer = privileged.mend_guest(uuid)
            if answer.get("state") in guest_files.LIVE_STATES:
                self._watch.add(uuid)

    def _host_facts(self) -> resources.HostFacts:
        if self._facts is None:
            self._facts = resources.HostFacts.read(LocalHost())
        return self._facts

    def get_available_nodes(self, refresh: bool = False) -> list[str]:
        """One node: the host."""
        return [CONF.host]

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        """For the resource tracker."""
        return resources.available(self._host_facts(), self._instances, nodename)

    def update_provider_tree(self, provider_tree: Any, nodename: str, allocations: Any = None) -> None:
        """For placement."""
        ratios = self._get_allocation_ratios(provider_tree.data(nodename).inventory)
        reserved = {
            orc.VCPU: CONF.reserved_host_cpus,
            orc.MEMORY_MB: CONF.reserved_host_memory_mb,
            orc.DISK_GB: self._get_reserved_host_disk_gb_from_config(),
        }
        found = resources.inventory(self._host_facts(), self._instances, ratios, reserved)
        provider_tree.update_inventory(nodename, found)

    def get_host_uptime(self) -> str:
        """In the words of uptime(1)."""
        return self._host_facts().uptime()

    def get_host_ip_addr(self) -> str:
        """Where other hosts reach this one."""
        return str(CONF.my_ip)

    # -- guests as they are

    def list_instances(self) -> list[str]:
        """Names of the virtual machines: their UUIDs."""
        return self.list_instance_uuids()

    def list_instance_uuids(self) -> list[str]:
        """Guests that are defined here, running or not."""
        return resources.guest_uuids(self._instances)

    def get_info(self, instance: Any, use_cache: bool = True) -> Any:
        """The power state, or InstanceNotFound."""
        return hardware.InstanceInfo(state=self._guest(instance).power())

    def instance_on_disk(self, instance: Any) -> bool:
        """Whether its disk is here."""
        return (self._guest(instance).folder / disks.ROOT).is_file()

    def get_console_output(self, context: Any, instance: Any) -> bytes:
        """The end of the serial console's log."""
        guest = self._guest(instance)
        if not guest.is_defined():
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return guest.console_output()

    def get_serial_console(self, context: Any, instance: Any) -> Any:
        """Not through a proxy yet."""
        raise exception.ConsoleTypeUnavailable(
            "The serial console is not offered through nova-serialproxy yet; on the host use"
            f" 'beastack-guest attach --dir {self._guest(instance).folder}'",
            console_type="serial",
        )

    def get_vnc_console(self, context: Any, instance: Any) -> Any:
        """Guests have no screen yet."""
        raise exception.ConsoleTypeUnavailable(console_type="vnc")

    # -- life

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
        """Disk, taps, wait for the network, start."""
        machines.refuse_unbuilt(instance, block_device_info)
        if injected_files:
            raise exception.BuildAbortException(
                instance_uuid=instance.uuid, reason="the bhyve driver does not inject files"
            )
        vif_list = network_info or []
        try:
            disks.create(context, instance, image_meta, self._instances, self._options.bootrom_vars)
            guest = self._guest(instance)
            machine = self._machine(instance, vif_list)
            vifs.plug_and_wait(self.virtapi, instance, vif_list)
            guest.define(machine)
            if power_on:
                self._start(guest)
        except Exception:
            with excutils.save_and_reraise_exception():
                LOG.exception("Spawning failed", instance=instance)
                self._undo_spawn(context, instance, vif_list)

    def _undo_spawn(self, context: Any, instance: Any, network_info: Any) -> None:
        """Clean up; what fails here must not hide why the spawn failed (nova calls destroy again)."""
        try:
            self.destroy(context, instance, network_info)
        except Exception:
            LOG.exception("Cleaning up after a failed spawn failed, too", instance=instance)

    def _machine(self, instance: Any, network_info: Any) -> Any:
        port = self._ports.allocate(str(instance.uuid))
        folder = self._guest(instance).folder
        return machines.build(instance, network_info, folder, port, self._options.bootrom)

    def _start(self, guest: Guest) -> None:
        guest.start()
        self._watch.add(guest.uuid)

    def destroy(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        destroy_disks: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """End it and remove what it had; each step is repeatable, and a guest that is not there is no
        error.
        """
        privileged.forget_guest(str(instance.uuid))
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
        """What is left when bhyve has ended."""
        if destroy_vifs:
            vifs.unplug(network_info)
        if destroy_disks:
            self.delete_instance_files(instance)

    def delete_instance_files(self, instance: Any) -> bool:
        """Remove its folder, and give its console port back."""
        disks.remove(self._guest(instance).folder)
        self._ports.release(str(instance.uuid))
        return True

    def power_on(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        accel_info: Any = None,
        share_info: Any = None,
    ) -> None:
        """Start it as it is described now; its taps are made when the host has lost them."""
        guest = self._guest(instance)
        if not guest.folder.is_dir():
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        disks.copy_variables(guest.folder, self._options.bootrom_vars)
        vifs.plug(instance, network_info)
        guest.define(self._machine(instance, network_info))
        self._start(guest)

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
        """SOFT: shut down in order, then start. HARD: reset, or stop and start when the machine has
        changed.
        """
        guest = self._guest(instance)
        if not guest.folder.is_dir():
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        running = guest_files.is_supervised(guest.folder)
        if running and reboot_type == "HARD":
            vifs.plug(instance, network_info)
            changed = guest.define(self._machine(instance, network_info))
            if not changed and guest.reset():
                return
        guest.stop(_SOFT_REBOOT_SECONDS if reboot_type == "SOFT" else 0)
        self.power_on(context, instance, network_info)

    def resume_state_on_host_boot(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        share_info: Any,
        block_device_info: Any = None,
    ) -> None:
        """After a boot of the host the taps are gone and nothing runs."""
        if not guest_files.is_supervised(self._guest(instance).folder):
            self.power_on(context, instance, network_info)

    # -- the network

    def plug_vifs(self, instance: Any, network_info: Any) -> None:
        """Taps for its ports."""
        vifs.plug(instance, network_info)

    def unplug_vifs(self, instance: Any, network_info: Any) -> None:
        """Remove them; bhyve must not hold them."""
        vifs.unplug(network_info)

    # -- events

    def _guest_ended(self, uuid: str, state: guest_files.GuestState) -> None:
        self.emit_event(virt_event.LifecycleEvent(uuid, virt_event.EVENT_LIFECYCLE_STOPPED))
