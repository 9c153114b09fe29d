"""Owns the engine's requests that are no program of FreeBSD's: the greeting, and opening a tap for bhyve."""

import json
from pathlib import Path

from beastack.sim.net.interface import Kind
from beastack.sim.programs.base import Reply, Request


def hello(request: Request) -> Reply:
    return Reply(json.dumps({"name": request.state.name}))


def tap_open(request: Request) -> Reply:
    """Open /dev/tapN for the calling process, as bhyve does; the words are bhyve's own."""
    if len(request.argv) != 1:
        return Reply(err="@tap-open: one interface name is wanted\n", rc=64)
    wanted = request.argv[0].removeprefix("/dev/")
    state = request.state
    interface = next(
        (
            one
            for one in state.interfaces()
            if one.kind is Kind.TAP and wanted in (one.name, one.device) and one.vnet is request.vnet
        ),
        None,
    )
    failure = f"open of tap device /dev/{wanted} failed\nDevice emulation initialization error: "
    if interface is None:
        return Reply(err=failure + "No such file or directory\n", rc=4)
    if interface.holder is not None:
        return Reply(err=failure + "Device busy\n", rc=4)
    if request.pid <= 0 or not Path(f"/proc/{request.pid}").exists():
        return Reply(err=failure + "No such process\n", rc=4)
    holder = state.taps.open(interface, request.pid)
    if state.sysctls.values["net.link.tap.up_on_open"] != "0":
        interface.administratively_up = True
    state.changed(interface)
    paths = {"engine": holder.engine_path, "guest": holder.guest_path}
    return Reply(json.dumps(paths))
