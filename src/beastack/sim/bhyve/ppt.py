"""A device of the host for the guest alone (ppt(4)): the engine knows which there are and who has them."""

from beastack.sim.bhyve import engine
from beastack.sim.bhyve.config import Config
from beastack.sim.bhyve.errors import ERROR, Ended, device_failed
from beastack.sim.bhyve.machine import Device


def assign(config: Config, device: Device) -> str:
    """QEMU's device of the same kind, or the end that bhyve's pci_passthru.c has."""
    if not config.flag("memory.wired"):
        raise device_failed("bhyve: passthru requires guest memory to be wired", "No error: 0")
    numbers = [device.text(name) for name in ("bus", "slot", "func")]
    reply = engine.ask("@ppt-assign", [*numbers, config.get("name") or ""], "vm_assign_pptdev")
    if reply.get("rc"):
        raise Ended(ERROR, str(reply.get("err", "")))
    return str(reply["out"])
