"""The host as nova sees it: start, health, resources, traits, shared storage, image cache."""

import os
import tempfile
from pathlib import Path
from typing import Any

import nova.context
import os_resource_classes as orc
import os_traits
from nova.conf import CONF
from oslo_log import log as logging

from beastack.freebsd.host import LocalHost
from beastack.nova import resources
from beastack.nova.base import Base
from beastack.nova.health import Health
from nova import exception
from nova.virt import hardware, imagecache

LOG = logging.getLogger(__name__)
_HERE = "shared-storage-"
# Beside those that upstream makes of the capabilities.
TRAITS = (
    os_traits.COMPUTE_STORAGE_BUS_VIRTIO,
    os_traits.COMPUTE_STORAGE_BUS_SATA,
    os_traits.COMPUTE_NET_VIF_MODEL_VIRTIO,
    os_traits.COMPUTE_NET_VIF_MODEL_E1000,
    os_traits.COMPUTE_FIRMWARE_UEFI,
)


class HostSide(Base):
    """Mix-in of BhyveDriver."""

    _facts: resources.HostFacts | None = None
    _health: Health | None = None

    def init_host(self, host: str) -> None:
        """Check the configuration, mend what a crash left, and watch the guests that run.

        A configuration that contradicts itself ends the service; a hypervisor that cannot be used disables the host,
        with the reason in `service list`, and is looked at again at every update of the resources.
        """
        theirs = self._options.instances_path
        if theirs and Path(theirs) != self._instances:
            raise exception.HypervisorUnavailable(
                f"[beastack] instances_path = {theirs}, but instances_path = {self._instances}"
            )
        self._instances.mkdir(mode=0o711, parents=True, exist_ok=True)
        if self._instances.resolve() != self._instances:
            raise exception.HypervisorUnavailable(f"instances_path {self._instances} is not a real, absolute path")
        self._health = Health(self._options, self._store, self._runner, self.virtapi)
        usable = self._health.look() == ""
        for left in self._instances.glob(f"{_HERE}*"):
            left.unlink(missing_ok=True)
        self._images.sweep()
        for uuid in self.list_instance_uuids():
            if usable and self._runner.mend(uuid):
                self._runner.watch(uuid)
        self._reopen_offers()

    def _reopen_offers(self) -> None:
        """Moving overrides it."""

    def _host_facts(self) -> resources.HostFacts:
        if self._facts is None:
            self._facts = resources.HostFacts.read(LocalHost())
        return self._facts

    def get_available_nodes(self, refresh: bool = False) -> list[str]:
        """One node: the host."""
        return [CONF.host]

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        """For the resource tracker, once a minute; and a look at the host's health."""
        if self._health is not None:
            self._health.tell(nova.context.get_admin_context())
        return resources.available(
            self._host_facts(), self._instances, self._store.space(), nodename, self._passed_through()
        )

    def _passed_through(self) -> list[dict[str, Any]]:
        return resources.passthrough(LocalHost(), self._options)

    def update_provider_tree(self, provider_tree: Any, nodename: str, allocations: Any = None) -> None:
        """For placement."""
        ratios = self._get_allocation_ratios(provider_tree.data(nodename).inventory)
        reserved = {
            orc.VCPU: CONF.reserved_host_cpus,
            orc.PCPU: 0,
            orc.MEMORY_MB: CONF.reserved_host_memory_mb,
            orc.DISK_GB: self._get_reserved_host_disk_gb_from_config(),
        }
        dedicated = len(hardware.get_cpu_dedicated_set() or ())
        found = resources.inventory(self._host_facts(), self._store.space(), ratios, reserved, dedicated)
        provider_tree.update_inventory(nodename, found)
        known = {name for name, value in self.capabilities_as_traits().items() if value}
        unknown = {name for name, value in self.capabilities_as_traits().items() if not value}
        provider_tree.add_traits(nodename, *known, *TRAITS)
        provider_tree.remove_traits(nodename, *unknown)

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
        return sorted({*resources.guest_uuids(self._instances), *self._runner.strays()})

    def get_info(self, instance: Any, use_cache: bool = True) -> Any:
        """The power state, or InstanceNotFound."""
        return hardware.InstanceInfo(state=self._guest(instance).power())

    def instance_on_disk(self, instance: Any) -> bool:
        """Whether its disk is here."""
        return "root" in self._store.disks(str(instance.uuid))

    # -- whether two hosts share the disks (only when they are one host)

    def check_instance_shared_storage_local(self, context: Any, instance: Any) -> Any:
        """Leave a file that the other host looks for."""
        if not self._guest(instance).folder.is_dir():
            return None
        descriptor, name = tempfile.mkstemp(prefix=_HERE, dir=self._instances)
        os.close(descriptor)
        return {"filename": Path(name).name}

    def check_instance_shared_storage_remote(self, context: Any, data: Any) -> bool:
        """Whether the other host's file is here."""
        name = str(data["filename"])
        return name.startswith(_HERE) and "/" not in name and (self._instances / name).exists()

    def check_instance_shared_storage_cleanup(self, context: Any, data: Any) -> None:
        """Remove it."""
        (self._instances / Path(str(data["filename"])).name).unlink(missing_ok=True)

    # -- the image cache

    def cache_image(self, context: Any, image_id: str) -> bool:
        """Fetch an image ahead of need; False when it was here."""
        if self._store.image_size(str(image_id)) is not None:
            self._images.touch(str(image_id))
            return False
        from nova.image import glance

        found = glance.API().get(context, image_id)
        self._images.ensure(context, str(image_id), str(found["disk_format"]), None)
        return True

    def manage_image_cache(self, context: Any, all_instances: Any) -> None:
        """Age the images (nova calls it every [image_cache] manager_interval)."""
        if not CONF.image_cache.remove_unused_base_images:
            return
        running = imagecache.ImageCacheManager()._list_running_instances(
            context, [each for each in all_instances if each.host == CONF.host]
        )
        age = CONF.image_cache.remove_unused_original_minimum_age_seconds
        for image_id in self._images.age({str(each) for each in running["used_images"]}, age):
            LOG.info("Image %s was not used for %s s and is removed from the cache", image_id, age)
