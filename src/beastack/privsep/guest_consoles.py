"""Which consoles a guest may have: places that only root reaches, each this guest's own."""

from pathlib import Path
from typing import Any

from beastack.freebsd import bhyve
from beastack.freebsd.host import LocalHost
from beastack.privsep import guest_conf, trust
from beastack.privsep.checks import Refused

LOOPBACK = "127.0.0.1"


def check(machine: bhyve.Machine, group: Any) -> None:
    """One serial console and at most one screen, at the configured places. Raises Refused."""
    ports = guest_conf.console_ports(group)
    console, screen = machine.console, machine.frame_buffer
    if isinstance(console, bhyve.NmdmConsole):
        if console.device not in {guest_conf.nmdm_device(number) for number in ports}:
            raise Refused(f"console: {console.device} is not one of {ports.start}-{ports.stop - 1}")
    else:
        _check_tcp("console", console.address, console.port, ports)
    if isinstance(screen, bhyve.SocketFrameBuffer):
        if screen.path != str(guest_conf.screen_socket(group, machine.uuid)):
            raise Refused(f"frame buffer: {screen.path} is not the guest's")
    elif screen is not None:
        _check_tcp("frame buffer", screen.address, screen.port, ports)
    if machine.more_consoles or machine.channels:
        raise Refused("consoles: one serial console and no channels are served")


def _check_tcp(what: str, address: str, port: int, ports: range) -> None:
    if address != LOOPBACK:
        raise Refused(f"{what}: only on {LOOPBACK}")
    if port not in ports:
        raise Refused(f"{what}: port {port} is not one of {ports.start}-{ports.stop - 1}")


def prepare(machine: bhyve.Machine) -> None:
    """What bhyve needs for them: the folder of the sockets, nmdm(4). Raises Refused, HostError."""
    if isinstance(machine.frame_buffer, bhyve.SocketFrameBuffer):
        trust.own_folder(Path(machine.frame_buffer.path).parent)
    if isinstance(machine.console, bhyve.NmdmConsole):
        LocalHost().run(["kldload", "-n", "nmdm"])
