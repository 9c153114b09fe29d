"""Opens a tap of the simulated host: the engine holds the other end of the guest's cable."""

import json

from beastack.sim.bhyve import engine, vmm
from beastack.sim.bhyve.errors import ERROR, Ended, device_failed


def open_tap(name: str) -> tuple[str, str]:
    """The two sockets of the cable, the guest's and the engine's; this process holds the tap until it ends."""
    failed = f"open of tap device /dev/{name} failed"
    if not vmm.has_engine():
        raise device_failed(failed, "No such file or directory")
    reply = engine.ask("@tap-open", [name], failed)
    if reply.get("rc"):
        raise Ended(ERROR, str(reply.get("err", "")))
    paths = json.loads(reply["out"])
    return str(paths["guest"]), str(paths["engine"])
