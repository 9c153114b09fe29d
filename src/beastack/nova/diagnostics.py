"""What is known of a running guest: bhyve's counters (bhyvectl --get-stats), its cards, its disks."""

import time
from typing import Any

from nova.compute import power_state

from beastack.nova.base import Base
from beastack.privsep import guests as privileged
from nova import exception, objects

MIB = 1 << 20


class Diagnostics(Base):
    """Mix-in of BhyveDriver."""

    def get_diagnostics(self, instance: Any) -> dict[str, Any]:
        """As a plain dictionary (API before 2.48): the machine, its state, the counters as bhyve names them."""
        guest = self._guest(instance)
        machine, state = guest.machine(), guest.life()
        found: dict[str, Any] = {
            "state": "shutdown" if state is None else state.state,
            "restarts": 0 if state is None else state.restarts,
            "memory": machine.memory_mib * 1024,
            "cpus": machine.topology.cpus,
            "disks": len(machine.disks),
            "nics": len(machine.nics),
        }
        counters = privileged.guest_counters(guest.uuid)
        return {**found, **{name: counters[name] for name in sorted(counters)}}

    def get_instance_diagnostics(self, instance: Any) -> Any:
        """As nova's object. Its list of drivers does not know bhyve: ``libvirt`` would be a lie, so it stays open."""
        guest = self._guest(instance)
        machine, state = guest.machine(), guest.life()
        if state is None:
            raise exception.InstanceNotRunning(instance_id=instance.uuid)
        counters = privileged.guest_counters(guest.uuid)
        found = objects.Diagnostics(
            state=power_state.STATE_MAP[guest.power()],
            hypervisor="bhyve",
            hypervisor_os="freebsd",
            uptime=None if state.since is None else max(0, int(time.time() - state.since)),
            config_drive=bool(instance.config_drive),
        )
        for number in range(machine.topology.cpus):
            found.add_cpu(id=number)
        for nic in machine.nics:
            found.add_nic(mac_address=nic.mac)
        for _disk in machine.disks:
            found.add_disk()
        resident = counters.get("Resident memory")
        found.memory_details = objects.diagnostics.MemoryDiagnostics(
            maximum=machine.memory_mib, used=None if resident is None else resident // MIB
        )
        return found
