"""What every part of the driver stands on: configuration, the store of disks, guests, the machine of an instance."""

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nova.conf import CONF
from oslo_log import log as logging

from beastack.freebsd import bhyve, bhyve_json
from beastack.freebsd.host import LocalHost
from beastack.nova import disks, machines, vifs, volumes, wishes
from beastack.nova.console_places import ConsolePlaces
from beastack.nova.guests import Guest
from beastack.nova.image_cache import ImageCache
from beastack.nova.stores.base import DiskStore
from beastack.nova.stores.files import FileStore
from beastack.nova.stores.volumes import VolumeStore
from beastack.nova.watch import GuestWatch
from beastack.privsep import guest_conf, guest_files, interfaces
from beastack.privsep import guests as privileged
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
        self._watch = GuestWatch(self._instances, self._guest_ended)
        root = str(self._options.zfs_root or "")
        self._store: DiskStore = VolumeStore(root) if root else FileStore(self._instances)
        self._images = ImageCache(self._store, self._instances)

    def _guest(self, instance: Any) -> Guest:
        return Guest(self._instances, str(instance.uuid))

    def _guest_ended(self, uuid: str, state: guest_files.GuestState) -> None:
        self.emit_event(virt_event.LifecycleEvent(uuid, virt_event.EVENT_LIFECYCLE_STOPPED))

    # -- the machine

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
        wish = wishes.read(instance.flavor, instance.image_meta)
        folder = self._guest(instance).folder
        console = bhyve.TcpConsole(self._consoles.number(str(instance.uuid)))
        have = self._store.disks(folder.name) if have is None else have
        disk = disks.layout(self._store, have, folder, wish.disk_kind, attached)
        code, variables = self._options.bootrom, disks.variables(have, folder)
        machine = machines.build(instance, network_info, folder, console, code, wish, disk, variables)
        return self._consoles.onto(machine, instance.image_meta)

    def _define(
        self, instance: Any, network_info: Any, block_device_info: Any = None, have: Collection[str] | None = None
    ) -> bool:
        """Write the machine; True when it is another one than before."""
        attached = self._volumes(instance, block_device_info)
        return self._guest(instance).define(self._machine(instance, network_info or [], attached, have))

    def _start(self, guest: Guest) -> None:
        guest.start()
        self._watch.add(guest.uuid)

    def _start_as_it_is(self, instance: Any, network_info: Any, block_device_info: Any) -> None:
        """Define and start a guest that is stopped; its taps are made when the host has lost them."""
        guest = self._guest(instance)
        disks.copy_variables(disks.variables(self._store.disks(guest.uuid), guest.folder), self._options.bootrom_vars)
        self._drop_old_taps(guest, network_info)
        vifs.plug(instance, network_info or [])
        self._define(instance, network_info, block_device_info)
        self._start(guest)

    def _drop_old_taps(self, guest: Guest, network_info: Any) -> None:
        """Taps of ports that were detached while the guest ran, when it could not let go of them."""
        kept = {vifs.tap_name(vif) for vif in network_info or ()}
        for tap in _taps(guest):
            if tap not in kept:
                interfaces.destroy_interface(tap)

    # -- the end

    def _purge(self, uuid: str, network_info: Any = None, *, vifs_too: bool = True) -> None:
        """End the guest and remove all that the host has of it. Every step may be repeated; what names the next one is
        removed last, so that a purge that was cut off can be done again.
        """
        guest = Guest(self._instances, uuid)
        privileged.forget_guest(uuid)
        if vifs_too:
            self._drop_old_taps(guest, None)
            vifs.unplug(network_info)
        volumes.disconnect_all(guest.folder)
        self._store.remove_all(uuid)
        disks.remove_folder(guest.folder)
        self._consoles.release(uuid)


def _taps(guest: Guest) -> list[str]:
    """Taps that its last machine had."""
    with suppress(FileNotFoundError, bhyve.BadMachine, guest_files.GuestFileError, UnicodeDecodeError):
        path = guest.folder / guest_files.MACHINE
        machine = bhyve_json.load(guest_files.read_regular(path, bhyve_json.MAX_BYTES).decode())
        return [nic.tap for nic in machine.nics]
    return []


def read_json(path: Path, most: int = 64 * 1024) -> dict[str, Any] | None:
    """A file of ours; None when it is not there or damaged."""
    try:
        value = json.loads(guest_files.read_regular(path, most))
    except (FileNotFoundError, ValueError, guest_files.GuestFileError) as error:
        if not isinstance(error, FileNotFoundError):
            LOG.warning("%s: %s", path, error)
        return None
    return value if isinstance(value, dict) else None
