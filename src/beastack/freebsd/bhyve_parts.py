"""The parts of a bhyve(8) machine, each checked when it is made: disks, nics, consoles, firmware, processors.

A value that bhyve would split at a comma, take for another option or only refuse at run time (a regular file or a unix
socket as com1 ends in exit 4) cannot be expressed. Standard library only (see bhyve.py).
"""

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_TAP = re.compile(r"tap[0-9a-f-]{1,12}")
_NMDM = re.compile(r"/dev/nmdm[0-9]{1,6}[AB]")
MAX_CPUS = 64
_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# struct sockaddr_un of FreeBSD holds 104 bytes with the NUL.
_MAX_SOCKET_PATH = 103
# Disks stand in the slots from 3 on, a CD after them.
FIRST_DISK_SLOT, CD_SLOT = 3, 13
LIMITED = ("pcpu", "readbps", "writebps", "readiops", "writeiops")


class BadMachine(ValueError):
    """The description cannot be a bhyve machine; the text says which value and why."""


def require(good: bool, text: str) -> None:
    """Raises BadMachine with this text unless ``good``."""
    if not good:
        raise BadMachine(text)


def _check_path(path: str, what: str) -> None:
    """A path as an option of bhyve: absolute, without dots to climb, without what the option syntax splits
    at.
    """
    require(path.startswith("/"), f"{what}: {path!r} is not an absolute path")
    require(len(path) < 1024, f"{what}: the path is too long")
    require(".." not in path.split("/"), f"{what}: {path!r} climbs")
    require(
        all(character.isprintable() and character not in ",\\" for character in path),
        f"{what}: {path!r} has a comma, a backslash or a character that cannot be printed",
    )


def _check_socket(path: str, what: str) -> None:
    """The same for a unix socket that bhyve makes. A `=` or a colon would begin another part of the option."""
    _check_path(path, what)
    require(not set("=:") & set(path), f"{what}: {path!r} has a colon or an equals sign")
    require(len(path.encode()) <= _MAX_SOCKET_PATH, f"{what}: the path is too long for a socket")


def _check_port(port: int, what: str) -> None:
    require(1024 <= port <= 65535, f"{what}: {port} is not a port between 1024 and 65535")


def _check_address(address: str, what: str) -> None:
    try:
        version = ip_address(address).version
    except ValueError as error:
        raise BadMachine(f"{what}: {address!r} is not an address") from error
    require(version == 4, f"{what}: {address!r} is not an IPv4 address")


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
            require(1 <= number <= MAX_CPUS, f"topology: {number} is out of range")

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


class NicKind(Enum):
    """Emulations of a card: bhyve(8) has these two. The guest of an e1000 is not told an MTU by it."""

    VIRTIO = "virtio-net"
    E1000 = "e1000"


@dataclass(frozen=True, slots=True)
class Nic:
    """A card on a tap of the host."""

    tap: str
    mac: str
    mtu: int | None = None
    kind: NicKind = NicKind.VIRTIO

    def __post_init__(self) -> None:
        require(_TAP.fullmatch(self.tap) is not None, f"nic: {self.tap!r} is no tap of a port")
        require(_MAC.fullmatch(self.mac) is not None, f"nic: {self.mac!r} is no MAC address")
        require(not int(self.mac[:2], 16) & 1, f"nic: {self.mac} is a group address")
        require(self.mtu is None or 68 <= self.mtu <= 65535, f"nic: MTU {self.mtu} is out of range")


@dataclass(frozen=True, slots=True)
class Disk:
    """A raw file or volume as a disk; without ``slot`` it stands where it is in the list of disks."""

    path: str
    kind: DiskKind = DiskKind.VIRTIO
    read_only: bool = False
    slot: int | None = None

    def __post_init__(self) -> None:
        _check_path(self.path, "disk")
        require(self.slot is None or FIRST_DISK_SLOT <= self.slot < CD_SLOT, f"disk: slot {self.slot}")


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A device of the host that ppt(4) holds, for the guest alone (`passthru`); it needs wired memory."""

    bus: int
    slot: int
    function: int

    def __post_init__(self) -> None:
        for number, most in ((self.bus, 255), (self.slot, 31), (self.function, 7)):
            require(0 <= number <= most, f"passthrough: {self.bus}/{self.slot}/{self.function} is no address")


@dataclass(frozen=True, slots=True)
class Pin:
    """A virtual processor that runs on one processor of the host only (`-p`)."""

    vcpu: int
    cpu: int

    def __post_init__(self) -> None:
        require(0 <= self.vcpu < MAX_CPUS and 0 <= self.cpu < 4096, f"pin: {self.vcpu}:{self.cpu} is out of range")


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of rctl(8) on the guest's process: percent of one processor, bytes or operations a second."""

    resource: str
    amount: int

    def __post_init__(self) -> None:
        require(self.resource in LIMITED, f"limit: {self.resource!r} is not one of {', '.join(LIMITED)}")
        require(0 < self.amount < 1 << 63, f"limit: {self.resource} {self.amount} is out of range")

    def rule(self, pid: int) -> str:
        """The rule as rctl(8) takes it (usr.bin/rctl/rctl.c): rates cannot be denied, only throttled."""
        action = "deny" if self.resource == "pcpu" else "throttle"
        return f"process:{pid}:{self.resource}:{action}={self.amount}"


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
        require(_NMDM.fullmatch(self.device) is not None, f"console: {self.device!r} is no nmdm(4) device")

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
        require(_CHANNEL.fullmatch(self.name) is not None, f"channel: {self.name!r} is no name of a port")
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
    require(640 <= width <= 1920, f"frame buffer: width {width} is out of range")
    require(480 <= height <= 1200, f"frame buffer: height {height} is out of range")
