"""A typed description of a bhyve machine and the command line that it means: bhyve(8), bhyve_config(5).

The forms are those of shared/freebsd/15.1/10-bhyve.txt (parsed by the real program with `-o config.dump=1`)
and 15-bhyve-uefi.txt (which booted guests). A description is checked when it is made: a value that bhyve
would split at a comma, take for another option or only refuse at run time (a regular file or a unix socket as
com1 ends in exit 4) cannot be expressed. Standard library only: the guest supervisor, which must stay small,
imports this.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from beastack.freebsd.bhyve_parts import (
    CD_SLOT,
    FIRST_DISK_SLOT,
    LIMITED,
    MAX_CPUS,
    BadMachine,
    Bootrom,
    Cd,
    Channel,
    Console,
    Disk,
    DiskKind,
    FrameBuffer,
    Limit,
    Nic,
    NicKind,
    NmdmConsole,
    PciDevice,
    Pin,
    SocketFrameBuffer,
    TcpConsole,
    Topology,
    require,
)

__all__ = [
    "LIMITED",
    "BadMachine",
    "Bootrom",
    "Capabilities",
    "Cd",
    "Channel",
    "Console",
    "Disk",
    "DiskKind",
    "FrameBuffer",
    "Limit",
    "Machine",
    "Nic",
    "NicKind",
    "NmdmConsole",
    "PciDevice",
    "Pin",
    "SocketFrameBuffer",
    "TcpConsole",
    "Topology",
    "argv",
    "needs",
]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# Slots of bus 0: 0 host bridge, 1 channels, 2 random numbers, 3-12 disks, 13 CD, 14-28 nics (and, from 28 down, passed
# through devices), 29 frame buffer, 30 tablet, 31 LPC.
_CHANNEL_SLOT = 1
_MAX_CHANNELS = 16
_RANDOM_SLOT = 2
_FIRST_NIC_SLOT = 14
_MAX_DISKS = CD_SLOT - FIRST_DISK_SLOT
_MAX_NICS = 29 - _FIRST_NIC_SLOT


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the bhyve of a release can do, as far as it was seen or is documented in its man page."""

    tcp_console: bool
    bootindex: bool
    socket_frame_buffer: bool = True
    variables: bool = True
    options: bool = True

    @classmethod
    def of_release(cls, major: int, minor: int) -> "Capabilities":
        """Consoles on TCP and screens on unix sockets were seen on 15.1 (10, 15); bhyve(8) of 14.0 is the first with
        bootindex, `-o` and a variables file. What was neither seen nor documented counts as missing.
        """
        seen, documented = (major, minor) >= (15, 1), major >= 14
        return cls(
            tcp_console=seen,
            bootindex=documented,
            socket_frame_buffer=seen,
            variables=documented,
            options=documented,
        )


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything that makes a guest's command line. ``console`` is com1; ``more_consoles`` are com2 to com4."""

    name: str
    uuid: str
    topology: Topology
    memory_mib: int
    bootrom: Bootrom
    console: Console
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    cd: Cd | None = None
    frame_buffer: FrameBuffer | SocketFrameBuffer | None = None
    random: bool = True
    wired: bool = False
    more_consoles: tuple[Console, ...] = ()
    channels: tuple[Channel, ...] = ()
    passthrough: tuple[PciDevice, ...] = ()
    pins: tuple[Pin, ...] = ()
    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        require(_NAME.fullmatch(self.name) is not None, f"name: {self.name!r} is no name of a machine")
        require(_UUID.fullmatch(self.uuid) is not None, f"uuid: {self.uuid!r} is no UUID in lower case")
        require(self.topology.cpus <= MAX_CPUS, f"cpus: {self.topology.cpus} are more than {MAX_CPUS}")
        require(32 <= self.memory_mib <= 1 << 24, f"memory: {self.memory_mib} MiB is out of range")
        require(len(self.disks) <= _MAX_DISKS, f"disks: more than {_MAX_DISKS}")
        require(len(set(self.disk_slots())) == len(self.disks), "disks: one slot twice")
        require(
            len(self.nics) + len(self.passthrough) <= _MAX_NICS, f"nics and passed through devices: over {_MAX_NICS}"
        )
        require(len(set(self.passthrough)) == len(self.passthrough), "passthrough: one device twice")
        require(self.wired or not self.passthrough, "passthrough: the memory must be wired")
        require(all(pin.vcpu < self.topology.cpus for pin in self.pins), "pins: there is no such processor")
        require(len({pin.vcpu for pin in self.pins}) == len(self.pins), "pins: one processor twice")
        require(len({limit.resource for limit in self.limits}) == len(self.limits), "limits: one resource twice")
        require(len({nic.tap for nic in self.nics}) == len(self.nics), "nics: one tap twice")
        require(len({nic.mac for nic in self.nics}) == len(self.nics), "nics: one MAC address twice")
        require(len({disk.path for disk in self.disks}) == len(self.disks), "disks: one path twice")
        require(len(self.more_consoles) <= 3, "consoles: more than four")
        require(len(self.channels) <= _MAX_CHANNELS, f"channels: more than {_MAX_CHANNELS}")
        require(len({c.name for c in self.channels}) == len(self.channels), "channels: one name twice")
        # 15: a port or device that is used twice ends in exit 4
        places = [console.option() for console in self.consoles()] + [channel.path for channel in self.channels]
        if self.frame_buffer is not None:
            places.append(self.frame_buffer.option().removeprefix("rfb=unix:"))
        require(len(set(places)) == len(places), "consoles, channels and frame buffer: one place twice")

    def disk_slots(self) -> tuple[int, ...]:
        """Where the disks stand on bus 0."""
        places = enumerate(self.disks, start=FIRST_DISK_SLOT)
        return tuple(place if disk.slot is None else disk.slot for place, disk in places)

    def consoles(self) -> tuple[Console, ...]:
        """com1 and the others, in order."""
        return (self.console, *self.more_consoles)

    def file_paths(self) -> Iterator[str]:
        """Files of the guest's own that bhyve will open for it (the shared bootrom code is not one of
        them).
        """
        if self.bootrom.variables is not None:
            yield self.bootrom.variables
        for disk in self.disks:
            yield disk.path
        if self.cd is not None:
            yield self.cd.path


def needs(machine: Machine, can: Capabilities) -> Sequence[str]:
    """What the machine asks for and this release cannot give; empty when it can run."""
    missing = []
    if any(isinstance(console, TcpConsole) for console in machine.consoles()) and not can.tcp_console:
        missing.append("a console on TCP (-l com1,tcp=…)")
    if isinstance(machine.frame_buffer, SocketFrameBuffer) and not can.socket_frame_buffer:
        missing.append("a frame buffer on a unix socket (-s N,fbuf,rfb=unix:…)")
    if machine.bootrom.variables is not None and not can.variables:
        missing.append("UEFI variables in a file (-l bootrom,CODE,VARS)")
    return missing


def _devices(machine: Machine, can: Capabilities) -> Iterator[str]:
    """Devices at fixed slots, so that a guest's disks and nics keep their places when another one comes or
    goes.
    """
    yield "0,hostbridge"
    if machine.channels:
        ports = ",".join(f"{channel.name}={channel.path}" for channel in machine.channels)
        yield f"{_CHANNEL_SLOT},virtio-console,{ports}"
    if machine.random:
        yield f"{_RANDOM_SLOT},virtio-rnd"
    for index, (slot, disk) in enumerate(zip(machine.disk_slots(), machine.disks, strict=True)):
        options = [disk.path]
        if disk.read_only:
            options.append("ro")
        if can.bootindex and index == 0:
            options.append("bootindex=1")
        yield f"{slot},{disk.kind.value},{','.join(options)}"
    if machine.cd is not None:
        yield f"{CD_SLOT},ahci-cd,{machine.cd.path},ro"
    for slot, nic in enumerate(machine.nics, start=_FIRST_NIC_SLOT):
        mtu = "" if nic.mtu is None or nic.kind is NicKind.E1000 else f",mtu={nic.mtu}"
        yield f"{slot},{nic.kind.value},{nic.tap},mac={nic.mac}{mtu}"
    for slot, device in zip(range(28, 28 - len(machine.passthrough), -1), machine.passthrough, strict=True):
        yield f"{slot},passthru,{device.bus}/{device.slot}/{device.function}"
    screen = machine.frame_buffer
    if screen is not None:
        wait = ",wait" if screen.wait else ""
        yield f"29,fbuf,{screen.option()},w={screen.width},h={screen.height}{wait}"
        yield "30,xhci,tablet"
    yield "31,lpc"


def argv(machine: Machine, can: Capabilities) -> list[str]:
    """The command line of bhyve(8) for this machine.

    `-w` because Linux writes machine registers that bhyve does not know ("wrmsr to register 0xc0011029");
    `pci.enable_bars` because the UEFI firmware finds no disk without it (15-bhyve-uefi.txt).
    """
    missing = needs(machine, can)
    require(not missing, f"this release of FreeBSD lacks {', '.join(missing)}")
    shape = machine.topology
    line = ["bhyve", "-A", "-H", "-P", "-u", "-w"]
    if machine.wired:
        line.append("-S")
    line += ["-c", f"{shape.cpus},sockets={shape.sockets},cores={shape.cores},threads={shape.threads}"]
    for pin in machine.pins:
        line += ["-p", f"{pin.vcpu}:{pin.cpu}"]
    line += ["-m", f"{machine.memory_mib}M", "-U", machine.uuid]
    if can.options:
        line += ["-o", "pci.enable_bars=true"]
    for device in _devices(machine, can):
        line += ["-s", device]
    for number, console in enumerate(machine.consoles(), start=1):
        line += ["-l", f"com{number},{console.option()}"]
    rom = [machine.bootrom.code]
    if machine.bootrom.variables is not None:
        rom.append(machine.bootrom.variables)
    line += ["-l", ",".join(["bootrom", *rom]), machine.name]
    return line
