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
from enum import Enum
from ipaddress import ip_address

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TAP = re.compile(r"tap[0-9a-f-]{1,12}")
_NMDM = re.compile(r"/dev/nmdm[0-9]{1,6}[AB]")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MAX_CPUS = 64
_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# struct sockaddr_un of FreeBSD holds 104 bytes with the NUL.
_MAX_SOCKET_PATH = 103
# Slots of bus 0: 0 host bridge, 1 channels, 2 random numbers, 3-12 disks, 13 CD, 14-28 nics, 29 frame
# buffer, 30 tablet, 31 LPC.
_CHANNEL_SLOT = 1
_MAX_CHANNELS = 16
_RANDOM_SLOT = 2
_FIRST_DISK_SLOT = 3
_CD_SLOT = 13
_FIRST_NIC_SLOT = 14
_MAX_DISKS = _CD_SLOT - _FIRST_DISK_SLOT
_MAX_NICS = 29 - _FIRST_NIC_SLOT


class BadMachine(ValueError):
    """The description cannot be a bhyve machine; the text says which value and why."""


def _require(good: bool, text: str) -> None:
    if not good:
        raise BadMachine(text)


def _check_path(path: str, what: str) -> None:
    """A path as an option of bhyve: absolute, without dots to climb, without what the option syntax splits
    at.
    """
    _require(path.startswith("/"), f"{what}: {path!r} is not an absolute path")
    _require(len(path) < 1024, f"{what}: the path is too long")
    _require(".." not in path.split("/"), f"{what}: {path!r} climbs")
    _require(
        all(character.isprintable() and character not in ",\\" for character in path),
        f"{what}: {path!r} has a comma, a backslash or a character that cannot be printed",
    )


def _check_socket(path: str, what: str) -> None:
    """The same for a unix socket that bhyve makes. A `=` or a colon would begin another part of the option."""
    _check_path(path, what)
    _require(not set("=:") & set(path), f"{what}: {path!r} has a colon or an equals sign")
    _require(len(path.encode()) <= _MAX_SOCKET_PATH, f"{what}: the path is too long for a socket")


def _check_port(port: int, what: str) -> None:
    _require(1024 <= port <= 65535, f"{what}: {port} is not a port between 1024 and 65535")


def _check_address(address: str, what: str) -> None:
    try:
        version = ip_address(address).version
    except ValueError as error:
        raise BadMachine(f"{what}: {address!r} is not an address") from error
    _require(version == 4, f"{what}: {address!r} is not an IPv4 address")


class DiskKind(Enum):
    """Emulations of a disk that a guest of ours may have."""

    VIRTIO = "virtio-blk"
    NVME = "nvme"
    AHCI = "ahci-hd"


@dataclass(frozen=True, slots=True)
class Topology:
    """`-c N,sockets=,cores=,threads=`: the product is the number of processors."""

    sockets: int
    cores: int
    threads: int

    def __post_init__(self) -> None:
        for number in (self.sockets, self.cores, self.threads):
            _require(1 <= number <= _MAX_CPUS, f"topology: {number} is out of range")

    @property
    def cpus(self) -> int:
        """How many processors the guest sees."""
        return self.sockets * self.cores * self.threads


@dataclass(frozen=True, slots=True)
class Bootrom:
    """UEFI code, and the guest's own variables file (it must exist and not be empty: exit 4 otherwise)."""

    code: str
    variables: str | None = None

    def __post_init__(self) -> None:
        _check_path(self.code, "bootrom")
        if self.variables is not None:
            _check_path(self.variables, "bootrom variables")


@dataclass(frozen=True, slots=True)
class Nic:
    """A virtio-net on a tap of the host."""

    tap: str
    mac: str
    mtu: int | None = None

    def __post_init__(self) -> None:
        _require(_TAP.fullmatch(self.tap) is not None, f"nic: {self.tap!r} is no tap of a port")
        _require(_MAC.fullmatch(self.mac) is not None, f"nic: {self.mac!r} is no MAC address")
        _require(not int(self.mac[:2], 16) & 1, f"nic: {self.mac} is a group address")
        _require(self.mtu is None or 68 <= self.mtu <= 65535, f"nic: MTU {self.mtu} is out of range")


@dataclass(frozen=True, slots=True)
class Disk:
    """A raw file or volume as a disk."""

    path: str
    kind: DiskKind = DiskKind.VIRTIO
    read_only: bool = False

    def __post_init__(self) -> None:
        _check_path(self.path, "disk")


@dataclass(frozen=True, slots=True)
class Cd:
    """An ISO image in an AHCI CD drive (Debian's cloud kernel has no AHCI: see the README of the
    transcripts).
    """

    path: str

    def __post_init__(self) -> None:
        _check_path(self.path, "cd")


@dataclass(frozen=True, slots=True)
class TcpConsole:
    """`-l com1,tcp=ADDRESS:PORT`: one client at a time, nothing kept."""

    port: int
    address: str = "127.0.0.1"

    def __post_init__(self) -> None:
        _check_port(self.port, "console")
        _check_address(self.address, "console")

    def option(self) -> str:
        """The backend as `-l com1,…` names it."""
        return f"tcp={self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class NmdmConsole:
    """One side of a null-modem pair, nmdm(4)."""

    device: str

    def __post_init__(self) -> None:
        _require(_NMDM.fullmatch(self.device) is not None, f"console: {self.device!r} is no nmdm(4) device")

    def option(self) -> str:
        """The backend as `-l com1,…` names it."""
        return self.device


Console = TcpConsole | NmdmConsole


@dataclass(frozen=True, slots=True)
class Channel:
    """A virtio-console port: a device of this name in the guest, a unix socket on the host (made by bhyve)."""

    name: str
    path: str

    def __post_init__(self) -> None:
        _require(_CHANNEL.fullmatch(self.name) is not None, f"channel: {self.name!r} is no name of a port")
        _check_socket(self.path, "channel")


@dataclass(frozen=True, slots=True)
class FrameBuffer:
    """A VNC screen with a tablet. No password: it would stand in the process list, so keep it on the host."""

    port: int
    address: str = "127.0.0.1"
    width: int = 1024
    height: int = 768
    wait: bool = False

    def __post_init__(self) -> None:
        _check_port(self.port, "frame buffer")
        _check_address(self.address, "frame buffer")
        _check_size(self.width, self.height)

    def option(self) -> str:
        """Where it listens, as `-s N,fbuf,…` names it."""
        return f"tcp={self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class SocketFrameBuffer:
    """The same on a unix socket, which bhyve makes (a file left there does no harm)."""

    path: str
    width: int = 1024
    height: int = 768
    wait: bool = False

    def __post_init__(self) -> None:
        _check_socket(self.path, "frame buffer")
        _check_size(self.width, self.height)

    def option(self) -> str:
        """Where it listens, as `-s N,fbuf,…` names it."""
        return f"rfb=unix:{self.path}"


def _check_size(width: int, height: int) -> None:
    _require(640 <= width <= 1920, f"frame buffer: width {width} is out of range")
    _require(480 <= height <= 1200, f"frame buffer: height {height} is out of range")


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

    def __post_init__(self) -> None:
        _require(_NAME.fullmatch(self.name) is not None, f"name: {self.name!r} is no name of a machine")
        _require(_UUID.fullmatch(self.uuid) is not None, f"uuid: {self.uuid!r} is no UUID in lower case")
        _require(self.topology.cpus <= _MAX_CPUS, f"cpus: {self.topology.cpus} are more than {_MAX_CPUS}")
        _require(32 <= self.memory_mib <= 1 << 24, f"memory: {self.memory_mib} MiB is out of range")
        _require(len(self.disks) <= _MAX_DISKS, f"disks: more than {_MAX_DISKS}")
        _require(len(self.nics) <= _MAX_NICS, f"nics: more than {_MAX_NICS}")
        _require(len({nic.tap for nic in self.nics}) == len(self.nics), "nics: one tap twice")
        _require(len({nic.mac for nic in self.nics}) == len(self.nics), "nics: one MAC address twice")
        _require(len({disk.path for disk in self.disks}) == len(self.disks), "disks: one path twice")
        _require(len(self.more_consoles) <= 3, "consoles: more than four")
        _require(len(self.channels) <= _MAX_CHANNELS, f"channels: more than {_MAX_CHANNELS}")
        _require(len({c.name for c in self.channels}) == len(self.channels), "channels: one name twice")
        # 15: a port or device that is used twice ends in exit 4
        places = [console.option() for console in self.consoles()] + [channel.path for channel in self.channels]
        if self.frame_buffer is not None:
            places.append(self.frame_buffer.option().removeprefix("rfb=unix:"))
        _require(len(set(places)) == len(places), "consoles, channels and frame buffer: one place twice")

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
    for index, disk in enumerate(machine.disks):
        options = [disk.path]
        if disk.read_only:
            options.append("ro")
        if can.bootindex and index == 0:
            options.append("bootindex=1")
        yield f"{_FIRST_DISK_SLOT + index},{disk.kind.value},{','.join(options)}"
    if machine.cd is not None:
        yield f"{_CD_SLOT},ahci-cd,{machine.cd.path},ro"
    for slot, nic in enumerate(machine.nics, start=_FIRST_NIC_SLOT):
        mtu = "" if nic.mtu is None else f",mtu={nic.mtu}"
        yield f"{slot},virtio-net,{nic.tap},mac={nic.mac}{mtu}"
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
    _require(not missing, f"this release of FreeBSD lacks {', '.join(missing)}")
    shape = machine.topology
    line = ["bhyve", "-A", "-H", "-P", "-u", "-w"]
    if machine.wired:
        line.append("-S")
    line += ["-c", f"{shape.cpus},sockets={shape.sockets},cores={shape.cores},threads={shape.threads}"]
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
