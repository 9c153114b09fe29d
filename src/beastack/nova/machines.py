"""From nova's instance to a bhyve machine; what bhyve cannot give is refused, never left out in silence."""

from pathlib import Path
from typing import Any

from beastack.freebsd import bhyve
from beastack.nova import disks, vifs
from nova import exception
from nova.virt import configdrive, hardware
from nova.virt import driver as virt_driver

_DISK_KINDS = {None: bhyve.DiskKind.VIRTIO, "virtio": bhyve.DiskKind.VIRTIO, "sata": bhyve.DiskKind.AHCI}


def _property(image: Any, name: str) -> Any:
    return image.properties.get(name) if image is not None else None


def refuse_unbuilt(instance: Any, block_device_info: Any) -> None:
    """Wishes that this driver cannot fulfil yet end the build with clear words."""
    asked = []
    if virt_driver.block_device_info_get_mapping(block_device_info):
        asked.append("volumes")
    if virt_driver.block_device_info_get_ephemerals(block_device_info) or instance.flavor.ephemeral_gb:
        asked.append("an ephemeral disk")
    if instance.flavor.swap:
        asked.append("a swap disk")
    if configdrive.required_by(instance):
        asked.append("a config drive")
    if asked:
        reason = f"the bhyve driver cannot give {' and '.join(asked)} yet"
        raise exception.BuildAbortException(instance_uuid=instance.uuid, reason=reason)


def _refuse_hardware(image: Any) -> None:
    for name, known in (
        ("hw_disk_bus", (None, "virtio", "sata")),
        ("hw_vif_model", (None, "virtio")),
        ("hw_firmware_type", (None, "uefi")),
        ("hw_architecture", (None, "x86_64")),
    ):
        value = _property(image, name)
        if value not in known:
            raise exception.UnsupportedHardware(model=f"{name}={value}", virt="bhyve")


def build(instance: Any, network_info: Any, folder: Path, port: int, bootrom: str) -> bhyve.Machine:
    """The machine of the instance. Its name is its UUID: unique, and known to the privileged side."""
    image = instance.image_meta
    _refuse_hardware(image)
    shape = hardware.get_best_cpu_topology(instance.flavor, image)
    try:
        return bhyve.Machine(
            name=str(instance.uuid),
            uuid=str(instance.uuid),
            topology=bhyve.Topology(shape.sockets, shape.cores, shape.threads),
            memory_mib=instance.flavor.memory_mb,
            bootrom=bhyve.Bootrom(bootrom, str(folder / disks.VARIABLES)),
            console=bhyve.TcpConsole(port),
            disks=(bhyve.Disk(str(folder / disks.ROOT), _DISK_KINDS[_property(image, "hw_disk_bus")]),),
            nics=tuple(bhyve.Nic(vifs.tap_name(vif), vif["address"].lower(), vifs.mtu(vif)) for vif in network_info),
        )
    except bhyve.BadMachine as error:
        raise exception.BuildAbortException(instance_uuid=instance.uuid, reason=str(error)) from error
