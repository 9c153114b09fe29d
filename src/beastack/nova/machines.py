"""From nova's instance to a bhyve machine."""

from pathlib import Path
from typing import Any

from beastack.freebsd import bhyve
from beastack.nova import config_drive, vifs
from beastack.nova.wishes import Wishes
from nova import exception
from nova.virt import hardware


def _pins(instance: Any) -> tuple[bhyve.Pin, ...]:
    """Virtual processors on processors of their own (hw:cpu_policy=dedicated), as nova's scheduler chose them."""
    found: dict[int, int] = {}
    for cell in instance.numa_topology.cells if instance.numa_topology else ():
        found.update(cell.cpu_pinning or {})
    return tuple(bhyve.Pin(vcpu, cpu) for vcpu, cpu in sorted(found.items()))


def _passed_through(instance: Any) -> tuple[bhyve.PciDevice, ...]:
    found = []
    for device in instance.pci_devices.objects if instance.pci_devices else ():
        domain, bus, rest = str(device.address).split(":")
        slot, _, function = rest.partition(".")
        if int(domain, 16):
            raise exception.PciDeviceInvalidAddress(address=device.address)
        found.append(bhyve.PciDevice(int(bus, 16), int(slot, 16), int(function, 16)))
    return tuple(found)


def build(
    instance: Any,
    network_info: Any,
    folder: Path,
    console: bhyve.TcpConsole,
    bootrom: str,
    wishes: Wishes,
    disk: tuple[bhyve.Disk, ...],
    variables: Path,
) -> bhyve.Machine:
    """The machine of the instance. Its name is its UUID: unique, and known to the privileged side."""
    shape = hardware.get_best_cpu_topology(instance.flavor, instance.image_meta)
    drive = folder / config_drive.FILE
    try:
        devices = _passed_through(instance)
        return bhyve.Machine(
            name=str(instance.uuid),
            uuid=str(instance.uuid),
            topology=bhyve.Topology(shape.sockets, shape.cores, shape.threads),
            memory_mib=instance.flavor.memory_mb,
            bootrom=bhyve.Bootrom(bootrom, str(variables)),
            console=console,
            disks=disk,
            nics=tuple(
                bhyve.Nic(vifs.tap_name(vif), vif["address"].lower(), vifs.mtu(vif), wishes.nic_kind)
                for vif in network_info
            ),
            cd=bhyve.Cd(str(drive)) if wishes.cd and drive.is_file() else None,
            random=wishes.random,
            wired=wishes.wired or bool(devices),
            passthrough=devices,
            pins=_pins(instance),
            limits=wishes.limits,
        )
    except bhyve.BadMachine as error:
        raise exception.BuildAbortException(instance_uuid=instance.uuid, reason=str(error)) from error
