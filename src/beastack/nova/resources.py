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

from beastack.freebsd import bhyve, bhyve_json
from beastack.freebsd.host import Host
from beastack.privsep.guest_files import MACHINE, GuestFileError, read_regular

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


def _disk_bytes(instances: Path, guests: dict[str, bhyve.Machine]) -> tuple[int, int]:
    """What the guests' disks may take and what they take now."""
    promised = taken = 0
    for uuid, machine in guests.items():
        for disk in machine.disks:
            try:
                found = (instances / uuid / Path(disk.path).name).stat()
            except FileNotFoundError:
                continue  # removed meanwhile
            promised += found.st_size
            taken += found.st_blocks * 512
    return promised, taken


def available(facts: HostFacts, instances: Path, name: str) -> dict[str, Any]:
    """The dictionary that the resource tracker wants."""
    guests = machines(instances)
    disk = os.statvfs(instances)
    free = disk.f_bavail * disk.f_frsize
    promised, taken = _disk_bytes(instances, guests)
    return {
        "vcpus": facts.cpus,
        "memory_mb": facts.memory_mb,
        "local_gb": disk.f_blocks * disk.f_frsize // GIB,
        "vcpus_used": sum(machine.topology.cpus for machine in guests.values()),
        "memory_mb_used": sum(machine.memory_mib for machine in guests.values()),
        "local_gb_used": promised // GIB,
        "disk_available_least": max(0, free - max(0, promised - taken)) // GIB,
        "hypervisor_type": fields.HVType.BHYVE,
        "hypervisor_version": facts.version,
        "hypervisor_hostname": name,
        "cpu_info": json.dumps({"arch": "x86_64", "model": facts.model, "topology": {"cores": facts.cpus}}),
        "supported_instances": [(fields.Architecture.X86_64, fields.HVType.BHYVE, fields.VMMode.HVM)],
        "numa_topology": None,
        "stats": {"uptime": facts.uptime()},
    }


def inventory(
    facts: HostFacts, instances: Path, ratios: dict[str, float], reserved: dict[str, int]
) -> dict[str, dict[str, Any]]:
    """The inventory of the host's resource provider (as nova/virt/zvm/driver.py builds it)."""
    disk = os.statvfs(instances)
    totals = {
        orc.VCPU: facts.cpus,
        orc.MEMORY_MB: facts.memory_mb,
        orc.DISK_GB: disk.f_blocks * disk.f_frsize // GIB,
    }
    return {
        name: {
            "total": total,
            "min_unit": 1,
            "max_unit": total,
            "step_size": 1,
            "allocation_ratio": ratios[name],
            "reserved": reserved[name],
        }
        for name, total in totals.items()
        if total > 0
    }
