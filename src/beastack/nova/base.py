"""What every part of the driver stands on: configuration, the store of disks, guests, the machine of an instance."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from nova.conf import CONF
from oslo_log import log as logging
from oslo_utils import excutils

from beastack.freebsd import bhyve
from beastack.freebsd.host import LocalHost
from beastack.nova import disks, machines, vifs, volumes, wishes
from beastack.nova.console_places import ConsolePlaces
from beastack.nova.image_cache import ImageCache
from beastack.nova.libvirt.runner import LibvirtRunner
from beastack.nova.native import NativeRunner
from beastack.nova.phases import Phases
from beastack.nova.seam import Guest, Runner
from beastack.nova.stores.base import DiskStore
from beastack.nova.stores.files import FileStore
from beastack.nova.stores.volumes import VolumeStore
from beastack.privsep import guest_conf, guest_files
from nova import exception
from nova.virt import driver as virt_driver
from nova.virt import event as virt_event

LOG = logging.getLogger(__name__)


class Base(virt_driver.ComputeDriver):
    """State and helpers of the parts (mix-ins) of BhyveDriver."""

    def __init__(self, virtapi: Any) -> None:
        super().__init__(virtapi)
        self._options = guest_conf.register(CONF)
        self._instances = Path(CONF.instances_path)
        self._consoles = ConsolePlaces(CONF, self._instances, LocalHost())
        self._runner = self._make_runner()
        root = str(self._options.zfs_root or "")
        self._store: DiskStore = VolumeStore(root) if root else FileStore(self._instances)
        self._images = ImageCache(self._store, self._instances)

    def _make_runner(self) -> Runner:
        if self._options.hypervisor == "libvirt":
            return LibvirtRunner(self._instances, self._consoles, self._guest_ended)
        return NativeRunner(self._instances, self._consoles, self._guest_ended)

    def _guest(self, instance: Any) -> Guest:
        return self._runner.guest(str(instance.uuid))

    def _guest_ended(self, uuid: str) -> None:
        self.emit_event(virt_event.LifecycleEvent(uuid, virt_event.EVENT_LIFECYCLE_STOPPED))

    # -- the machine

    def _wishes(self, flavor: Any, image: Any) -> wishes.Wishes:
        """What is asked of the machine. Raises UnsupportedHardware, InvalidInput for what cannot be had here."""
        wish = wishes.read(flavor, image)
        refused = self._runner.refused(wish)
        if refused:
            raise exception.UnsupportedHardware(model="; ".join(refused), virt="bhyve through libvirt")
        return wish

    def _volumes(self, instance: Any, block_device_info: Any) -> list[disks.Volume]:
        """Its volumes, with a session for each."""
        found = []
        for mapping in virt_driver.block_device_info_get_mapping(block_device_info):
            device = volumes.connect(self._guest(instance).folder, mapping["connection_info"])
            found.append(disks.Volume(device, str(mapping["mount_device"])))
        return found

    def _machine(
        self,
        instance: Any,
        network_info: Any,
        attached: Sequence[disks.Volume] = (),
        have: Collection[str] | None = None,
    ) -> bhyve.Machine:
        """As it is to be at its next start. The image is what the instance's own record says; ``have`` are its disks,
        where they are known already.
        """
        wish = self._wishes(instance.flavor, instance.image_meta)
        folder = self._guest(instance).folder
        console = bhyve.TcpConsole(self._consoles.number(str(instance.uuid)))
        have = self._store.disks(folder.name) if have is None else have
        disk = disks.layout(self._store, have, folder, wish.disk_kind, attached)
        code, variables = self._options.bootrom, disks.variables(have, folder)
        machine = machines.build(instance, network_info, folder, console, code, wish, disk, variables)
        return self._runner.fit(machine, instance.image_meta)

    def _define(
        self, instance: Any, network_info: Any, block_device_info: Any = None, have: Collection[str] | None = None
    ) -> bool:
        """Write the machine; True when it is another one than before."""
        attached = self._volumes(instance, block_device_info)
        ports = {vifs.tap_name(vif): str(vif["id"]) for vif in network_info or ()}
        return self._guest(instance).define(self._machine(instance, network_info or [], attached, have), ports)

    def _start(self, guest: Guest) -> None:
        guest.start()
        self._runner.watch(guest.uuid)

    def _start_as_it_is(self, instance: Any, network_info: Any, block_device_info: Any) -> None:
        """Define and start a guest that is stopped; its taps are made when the host has lost them."""
        guest = self._guest(instance)
        disks.copy_variables(disks.variables(self._store.disks(guest.uuid), guest.folder), self._options.bootrom_vars)
        self._drop_old_taps(guest, network_info)
        self._runner.plug(instance, network_info or [])
        self._define(instance, network_info, block_device_info)
        self._start(guest)

    def _end_quietly(self, guest: Guest) -> None:
        """What fails here must not hide why the guest is ended (nova calls destroy, or stop, again)."""
        try:
            guest.stop(0)
        except Exception:
            LOG.exception("Guest %s was not ended", guest.uuid)

    def _drop_old_taps(self, guest: Guest, network_info: Any) -> None:
        """Taps of ports that were detached while the guest ran, when it could not let go of them."""
        kept = {vifs.tap_name(vif) for vif in network_info or ()}
        self._runner.unplug([tap for tap in guest.taps() if tap not in kept])

    def _unplug(self, network_info: Any) -> None:
        self._runner.unplug([vifs.tap_name(vif) for vif in network_info or ()])

    def _wire_and_start(self, instance: Any, network_info: Any, power_on: bool, phases: Phases | None = None) -> None:
        """Ports, the wait for neutron to wire them, the start; where starting makes the taps, the wait comes after."""
        guest, vif_list, phases = self._guest(instance), network_info or [], phases or Phases()
        if self._runner.taps_first or not power_on:
            with phases.of("network"):
                vifs.plug_and_wait(
                    self.virtapi, instance, vif_list if self._runner.taps_first else [], self._runner.plug
                )
            if power_on:
                with phases.of("start"):
                    self._start(guest)
            return

        def start(*_: Any) -> None:
            self._runner.plug(instance, vif_list)
            self._start(guest)

        try:
            with phases.of("start"):
                vifs.plug_and_wait(self.virtapi, instance, vif_list, start)
        except Exception:
            with excutils.save_and_reraise_exception():
                LOG.exception("The guest does not run with its ports wired, and is ended", instance=instance)
                self._end_quietly(guest)

    # -- the end

    def _purge(self, uuid: str, network_info: Any = None, *, vifs_too: bool = True) -> None:
        """End the guest and remove all that the host has of it. Every step may be repeated; what names the next one is
        removed last, so that a purge that was cut off can be done again.
        """
        guest = self._runner.guest(uuid)
        guest.forget()
        if vifs_too:
            self._drop_old_taps(guest, None)
            self._unplug(network_info)
        volumes.disconnect_all(guest.folder)
        self._store.remove_all(uuid)
        disks.remove_folder(guest.folder)
        self._consoles.release(uuid)


def read_json(path: Path, most: int = 64 * 1024) -> dict[str, Any] | None:
    """A file of ours; None when it is not there or damaged."""
    try:
        value = json.loads(guest_files.read_regular(path, most))
    except (FileNotFoundError, ValueError, guest_files.GuestFileError) as error:
        if not isinstance(error, FileNotFoundError):
            LOG.warning("%s: %s", path, error)
        return None
    return value if isinstance(value, dict) else None
