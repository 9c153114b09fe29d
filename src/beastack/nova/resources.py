"""What the host has and what its guests take, in nova's terms (nova/virt/driver.py,
get_available_resource).
"""

import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import os_resource_classes as orc
from nova.objects import fields

from beastack.freebsd import bhyve, bhyve_json, pci
from beastack.freebsd.host import Host
from beastack.nova.stores.base import Space
from beastack.privsep import guest_conf
from beastack.privsep.guest_files import MACHINE, GuestFileError, read_regular
from nova import objects
from nova.virt import hardware

GIB = 1 << 30
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What does not change while the host is up."""

    cpus: int
    memory_mb: int
    model: str
    boot_time: int
    version: int

    @classmethod
    def read(cls, host: Host) -> "HostFacts":
        """From sysctl(8)."""

        def value(name: str) -> str:
            return host.run(["sysctl", "-n", name]).out.strip()

        boot = re.search(r"sec = (\d+)", value("kern.boottime"))
        release = re.match(r"(\d+)\.(\d+)", value("kern.osrelease"))
        if boot is None or release is None:
            raise ValueError("sysctl: kern.boottime or kern.osrelease has another form than on FreeBSD")
        return cls(
            cpus=int(value("hw.ncpu")),
            memory_mb=int(value("hw.physmem")) // MIB,
            model=value("hw.model"),
            boot_time=int(boot[1]),
            version=int(release[1]) * 1_000_000 + int(release[2]) * 1_000,
        )

    def uptime(self) -> str:
        """In the words of uptime(1), which nova hands on."""
        minutes = int(max(0.0, time.time() - self.boot_time)) // 60
        days, hours = minutes // 1440, minutes // 60 % 24
        load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
        now = time.strftime("%H:%M:%S")
        return f"{now} up {days} days, {hours}:{minutes % 60:02}, 0 users, load average: {load}"


def machines(instances: Path) -> dict[str, bhyve.Machine]:
    """Every guest that is defined on this host, by UUID. One that cannot be read is left out of the sums
    only.
    """
    found = {}
    for uuid in guest_uuids(instances):
        try:
            found[uuid] = bhyve_json.load(read_regular(instances / uuid / MACHINE, bhyve_json.MAX_BYTES).decode())
        except (FileNotFoundError, GuestFileError, bhyve.BadMachine, UnicodeDecodeError):
            continue  # removed meanwhile; or damaged, which starting it will tell
    return found


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def guest_uuids(instances: Path) -> list[str]:
    """The guests that are defined: folders with a machine.json."""
    return sorted(
        each.name
        for each in instances.iterdir()
        if _UUID.fullmatch(each.name) and not each.is_symlink() and (each / MACHINE).is_file()
    )


def passthrough(host: Host, options: Any) -> list[dict[str, Any]]:
    """Devices that guests may get, as nova's PCI tracker wants them; those that ppt(4) does not hold are left out."""
    allowed = guest_conf.passthrough(options)
    if not allowed:
        return []
    found = []
    for device in pci.list_devices(host):
        if f"{device.bus}/{device.slot}/{device.function}" not in allowed or device.driver != "ppt" or device.domain:
            continue
        found.append(
            {
                "dev_id": f"ppt{device.unit}",
                "address": f"{device.domain:04x}:{device.bus:02x}:{device.slot:02x}.{device.function:x}",
                "product_id": device.product,
                "vendor_id": device.vendor,
                "label": f"label_{device.vendor}_{device.product}",
                "numa_node": None,
                "dev_type": fields.PciDeviceType.STANDARD,
            }
        )
    return found


def numa(facts: HostFacts) -> str | None:
    """One cell with the processors for pinned guests, when nova.conf names some ([compute] cpu_dedicated_set)."""
    dedicated = hardware.get_cpu_dedicated_set() or set()
    if not dedicated:
        return None
    shared = (hardware.get_cpu_shared_set() or set(range(facts.cpus))) - dedicated
    pages = objects.NUMAPagesTopology(size_kb=4, total=facts.memory_mb * 256, used=0, reserved=0)
    cell = objects.NUMACell(
        id=0,
        cpuset=shared,
        pcpuset=dedicated,
        memory=facts.memory_mb,
        cpu_usage=0,
        memory_usage=0,
        pinned_cpus=set(),
        siblings=[],
        mempages=[pages],
        network_metadata=objects.NetworkMetadata(physnets=set(), tunneled=False),
        socket=0,
    )
    return str(objects.NUMATopology(cells=[cell])._to_json())


def available(
    facts: HostFacts, instances: Path, space: Space, name: str, devices: list[dict[str, Any]]
) -> dict[str, Any]:
    """The dictionary that the resource tracker wants."""
    guests = machines(instances)
    return {
        "vcpus": facts.cpus,
        "memory_mb": facts.memory_mb,
        "local_gb": space.total // GIB,
        "vcpus_used": sum(machine.topology.cpus for machine in guests.values()),
        "memory_mb_used": sum(machine.memory_mib for machine in guests.values()),
        "local_gb_used": space.promised // GIB,
        "disk_available_least": max(0, space.free - max(0, space.promised - space.taken)) // GIB,
        "hypervisor_type": fields.HVType.BHYVE,
        "hypervisor_version": facts.version,
        "hypervisor_hostname": name,
        "cpu_info": json.dumps({"arch": "x86_64", "model": facts.model, "topology": {"cores": facts.cpus}}),
        "supported_instances": [(fields.Architecture.X86_64, fields.HVType.BHYVE, fields.VMMode.HVM)],
        "numa_topology": numa(facts),
        "stats": {"uptime": facts.uptime()},
        **({"pci_passthrough_devices": json.dumps(devices)} if devices else {}),
    }


def inventory(
    facts: HostFacts, space: Space, ratios: dict[str, float], reserved: dict[str, int], dedicated: int = 0
) -> dict[str, dict[str, Any]]:
    """The inventory of the host's resource provider (as nova/virt/zvm/driver.py builds it)."""
    totals = {
        orc.VCPU: facts.cpus - dedicated,
        orc.PCPU: dedicated,
        orc.MEMORY_MB: facts.memory_mb,
        orc.DISK_GB: space.total // GIB,
    }
    return {
        name: {
            "total": total,
            "min_unit": 1,
            "max_unit": total,
            "step_size": 1,
            "allocation_ratio": ratios[name],
            "reserved": min(reserved[name], total),
        }
        for name, total in totals.items()
        if total > 0
    }
