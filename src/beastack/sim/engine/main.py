"""Owns the engine's life: PID 1 of a simulated host, from the first interface to the last reaped child.

Started by `beastack.sim.host.start` inside fresh namespaces, with its configuration as one JSON argument.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from beastack.sim.engine.devices import prepare_mounts
from beastack.sim.engine.jails import reap
from beastack.sim.engine.pci import Pci
from beastack.sim.engine.server import listen, serve
from beastack.sim.engine.state import State
from beastack.sim.engine.vnet import Route
from beastack.sim.linux.namespaces import sethostname
from beastack.sim.net.interface import Inet, Kind
from beastack.sim.zfs import contents


def _configure(state: State, config: dict[str, object]) -> None:
    """What loader.conf(5) says, and the interfaces that the machine was built with."""
    tunables = config["tunables"]
    assert isinstance(tunables, dict)  # noqa: S101 - written by host/start.py
    state.pci = Pci(str(tunables.pop("pptdevs", "")).split())
    state.sysctls.values.update(tunables)
    nics = config["nics"]
    assert isinstance(nics, list)  # noqa: S101 - written by host/start.py
    for unit, nic in enumerate(nics):
        name, address, cable = nic["name"], nic["address"], nic["cable"]
        kind = Kind.VTNET if address else Kind.EM
        interface = state.make(kind, int(name.lstrip("abcdefghijklmnopqrstuvwxyz") or unit), name, state.host)
        interface.administratively_up = True
        if address:
            own = ipaddress.IPv4Interface(address)
            interface.mac = interface.hardware_mac = bytes.fromhex(nic["mac"])
            interface.inet.append(Inet(own.ip, own.network.prefixlen, own.network.broadcast_address))
            state.stacks.adopt(interface, name)
        else:
            interface.cable = cable
            state.watch(cable, lambda one=interface, fd=cable: state.wire.read_cable(one, fd))  # type: ignore[misc]
        state.changed(interface)
    loopback = state.make(Kind.LOOPBACK, 0, "lo0", state.host)
    loopback.administratively_up = True
    loopback.inet.append(Inet(ipaddress.IPv4Address("127.0.0.1"), 8, None))
    state.stacks.adopt(loopback, "lo")
    state.changed(loopback)
    default = config.get("route")
    if default:
        gateway = ipaddress.IPv4Address(str(default))
        via = state.host.connected(gateway)
        if via is None:
            raise SystemExit(f"default route: {gateway} is not on any interface's network")
        state.host.routes.append(Route(ipaddress.IPv4Network("0.0.0.0/0"), gateway, via))
        state.stacks.restore_routes(state.host)


async def _run(config: dict[str, object]) -> None:
    loop = asyncio.get_running_loop()

    def watch(fd: int, callback: Callable[[], None]) -> None:
        loop.add_reader(fd, callback)

    def unwatch(fd: int) -> None:
        loop.remove_reader(fd)

    state = State(str(config["name"]), str(config["directory"]), watch, unwatch, loop.call_later)
    _configure(state, config)
    loop.add_signal_handler(signal.SIGCHLD, reap)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sock = listen(str(config["directory"]))
    server = await serve(state, sock)
    print(f"engine of {state.name} answers", flush=True)
    await stop.wait()
    server.close()


def main() -> None:
    config = json.loads(sys.argv[1])
    # the launcher gives one byte when the cables are in place
    go = int(config["go"])
    with contextlib.closing(os.fdopen(go, "rb")) as pipe:
        if pipe.read(1) != b"!":
            raise SystemExit("the launcher ended before the host was ready")
    sethostname(str(config["name"]))
    prepare_mounts(Path(str(config["directory"])))
    contents.put_right(Path(str(config["directory"])))
    asyncio.run(_run(config))


if __name__ == "__main__":
    main()
