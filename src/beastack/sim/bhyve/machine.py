"""From settings to the arguments of qemu-system-x86_64: the equivalent machine, device by device.

Each device keeps its PCI slot. The machine is a q35, whose slots 1 to 30 are free as those of bhyve are. Files go in
as JSON (`-blockdev`), so that no path is split at a comma. Descriptors that QEMU inherits are named by number.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from beastack.sim.bhyve import vmm
from beastack.sim.bhyve.config import Config, Tree
from beastack.sim.bhyve.errors import ERROR, USAGE, Ended, device_failed, not_simulated

COMS = ("com1", "com2", "com3", "com4")
# What bhyve gives is the processor of the host. This is what most systems ask for at least, and quick to emulate.
_CPU = {"tcg": "Nehalem", "kvm": "host"}
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_SIZE = re.compile(r"(\d+)([kKmMgGtT]?)[bB]?")
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_FIRMWARE_PAGE = 4096


@dataclass(slots=True)
class Device:
    """One `pci.B.S.F` node."""

    slot: int
    function: int
    emulation: str
    settings: Tree

    @property
    def name(self) -> str:
        """Short and unique, for QEMU's names."""
        return f"{self.slot}f{self.function}"

    def text(self, name: str, default: str = "") -> str:
        """A setting; `default` when it is missing."""
        value = self.settings.get(name)
        return value if isinstance(value, str) else default

    def flag(self, name: str) -> bool:
        """A setting that is a switch."""
        return self.text(name, "false").lower() in ("true", "on", "yes", "1")

    def children(self, name: str) -> Iterator[tuple[int, Tree]]:
        """Numbered nodes below, such as `port.0`."""
        below = self.settings.get(name)
        for number, value in below.items() if isinstance(below, dict) else ():
            if number.isdigit() and isinstance(value, dict):
                yield int(number), value


@dataclass(slots=True)
class Cables:
    """What the process has opened for QEMU: its side of each thing."""

    taps: dict[str, tuple[str, str]] = field(default_factory=dict)  # device name -> guest path, engine path
    coms: dict[str, int] = field(default_factory=dict)  # com1 -> descriptor
    qmp: int = -1
    passed: dict[str, str] = field(default_factory=dict)  # device name -> QEMU's device of the same kind


def memory_bytes(text: str) -> int:
    """A size as vm_parse_memsize(3) reads it: a number without a unit that is small means MiB."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise Ended(USAGE, f"bhyve: invalid memsize '{text}'\n")
    number = int(found[1]) << _UNITS[found[2].lower()]
    return number << 20 if not found[2] and number < 1 << 20 else number


def topology(config: Config) -> tuple[int, int, int, int]:
    """Processors, sockets, cores, threads."""

    def number(name: str, default: int) -> int:
        text = config.get(name)
        if text is None:
            return default
        if not text.isdigit() or not 1 <= int(text) <= 65535:
            raise Ended(ERROR, f"bhyve: Invalid value for {name}: '{text}'\n")
        return int(text)

    cpus = number("cpus", 0)
    cores, threads = number("cores", 1), number("threads", 1)
    sockets = number("sockets", cpus or 1)
    product = sockets * cores * threads
    if cpus and cpus != product:
        shape = f"{sockets} sockets, {cores} cores, {threads} threads"
        raise Ended(ERROR, f"bhyve: Topology ({shape}) does not match {cpus} vCPUs\n")
    return product, sockets, cores, threads


def devices(config: Config) -> list[Device]:
    """All PCI devices in the order of their places, which is the order in which bhyve sets them up."""
    found = []
    buses = config.node("pci") or {}
    for bus, slots in buses.items():
        if not isinstance(slots, dict):
            continue  # a setting such as pci.enable_bars
        if bus != "0":
            raise not_simulated(f"PCI bus {bus}")
        for slot, functions in slots.items():
            for function, settings in functions.items() if isinstance(functions, dict) else ():
                if isinstance(settings, dict):
                    emulation = config.get(f"pci.{bus}.{slot}.{function}.device") or ""
                    found.append(Device(int(slot), int(function), emulation, settings))
    return sorted(found, key=lambda one: (one.slot, one.function))


def check_files(device: Device) -> None:
    """End as bhyve does when a disk of the device cannot be opened."""
    paths = []
    if device.emulation in ("virtio-blk", "nvme"):
        paths = [device.text("path")]
    elif device.emulation == "ahci":
        paths = [str(port.get("path", "")) for _, port in device.children("port")]
    for path in filter(None, paths):
        try:
            with open(path, "rb"):
                continue
        except OSError as error:
            words = f"bhyve: Could not open backing file: {path}: {error.strerror}"
            raise device_failed(words, error.strerror or "") from error


def mac_address(device: Device, name: str) -> str:
    """The given one, or the one that bhyve makes of the place and the machine's name."""
    given = device.text("mac")
    if given:
        if not re.fullmatch(r"[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}", given):
            raise device_failed(f"Invalid MAC address {given}", "Invalid argument")
        return ":".join(f"{int(part, 16):02x}" for part in given.split(":"))
    seed = f"{device.slot}-{device.function}-{name}".encode()
    return bytes((0x58, 0x9C, 0xFC, *hashlib.md5(seed, usedforsecurity=False).digest()[:3])).hex(":")


class _Arguments:
    """Collects QEMU's arguments."""

    def __init__(self, config: Config, cables: Cables) -> None:
        self._config, self._cables = config, cables
        self.line: list[str] = []
        self._all = devices(config)
        self._several = {one.slot for one in self._all if one.function}
        self._order = self._boot_order()

    def _boot_order(self) -> dict[str, int]:
        """bootindex as given, then every other disk, then CDs: firmware never waits for the network."""
        given: dict[str, int] = {}
        rest: list[tuple[int, str]] = []
        for one in self._all:
            if one.emulation in ("virtio-blk", "nvme"):
                names = [(one.name, one.text("bootindex"), 0)]
            elif one.emulation == "ahci":
                names = [
                    (f"{one.name}p{number}", str(port.get("bootindex", "")), int(port.get("type") == "cd"))
                    for number, port in one.children("port")
                ]
            else:
                continue
            for name, index, cd in names:
                if index.isdigit():
                    given[name] = int(index)
                else:
                    rest.append((cd, name))
        following = max(given.values(), default=0) + 1
        return given | {name: following + place for place, (_, name) in enumerate(sorted(rest, key=lambda it: it[0]))}

    def _place(self, device: Device) -> str:
        many = ",multifunction=on" if device.slot in self._several and not device.function else ""
        return f"bus=pcie.0,addr={device.slot:#x}.{device.function}{many}"

    def _disk(self, name: str, path: str, read_only: bool, direct: bool = False) -> str:
        block = Path(path).is_block_device()
        cache = {"direct": direct, "no-flush": False}
        lower: dict[str, object] = {
            "driver": "host_device" if block else "file",
            "filename": path,
            "locking": "off",
            "discard": "unmap",
            "cache": cache,
        }
        node = {
            "driver": "raw",
            "node-name": f"disk{name}",
            "read-only": read_only,
            "discard": "unmap",
            "cache": cache,
            "file": lower | {"read-only": read_only},
        }
        self.line += ["-blockdev", json.dumps(node)]
        boot = self._order.get(name)
        return f"drive=disk{name}" + ("" if boot is None else f",bootindex={boot}")

    def add(self, device: Device) -> None:
        """One device at its place."""
        adder = _ADDERS.get(device.emulation)
        if adder is None:
            raise not_simulated(f"pci slot 0:{device.slot}:{device.function}: {device.emulation}")
        adder(self, device)

    def nothing(self, _device: Device) -> None:
        """QEMU's machine has it: host bridge, LPC."""

    def net(self, device: Device) -> None:
        guest, engine = self._cables.taps[device.name]
        backend = {
            "type": "dgram",
            "id": f"net{device.name}",
            "local": {"type": "unix", "path": guest},
            "remote": {"type": "unix", "path": engine},
        }
        mac = mac_address(device, self._config.get("name") or "")
        model = "e1000-82545em" if device.emulation == "e1000" else "virtio-net-pci"
        mtu = f",host_mtu={device.text('mtu')}" if device.text("mtu") and device.emulation != "e1000" else ""
        self.line += ["-netdev", json.dumps(backend)]
        self.line += ["-device", f"{model},netdev=net{device.name},mac={mac}{mtu},romfile=,{self._place(device)}"]

    def block(self, device: Device) -> None:
        drive = self._disk(device.name, device.text("path"), device.flag("ro"), device.flag("direct"))
        serial = hashlib.md5(device.text("path").encode(), usedforsecurity=False).hexdigest()[:12].upper()
        serial = device.text("ser") or f"BHYVE-{serial[:4]}-{serial[4:8]}-{serial[8:]}"
        if device.emulation == "nvme":
            self.line += ["-device", f"nvme,{drive},serial={serial[:20]},{self._place(device)}"]
        else:
            self.line += ["-device", f"virtio-blk-pci,{drive},serial={serial[:20]},{self._place(device)}"]

    def ahci(self, device: Device) -> None:
        self.line += ["-device", f"ich9-ahci,id=ahci{device.name},{self._place(device)}"]
        for number, port in device.children("port"):
            name, path, kind = f"{device.name}p{number}", port.get("path"), port.get("type")
            bus = f"bus=ahci{device.name}.{number}"
            if not isinstance(path, str):
                if kind == "cd":
                    self.line += ["-device", f"ide-cd,{bus}"]
                continue
            read_only = kind == "cd" or port.get("ro") == "true"
            self.line += ["-device", f"ide-{kind},{bus},{self._disk(name, path, read_only)}"]

    def random(self, device: Device) -> None:
        self.line += ["-object", f"rng-builtin,id=rng{device.name}"]
        self.line += ["-device", f"virtio-rng-pci,rng=rng{device.name},{self._place(device)}"]

    def console(self, device: Device) -> None:
        self.line += ["-device", f"virtio-serial-pci,id=vc{device.name},{self._place(device)}"]
        for number, port in device.children("port"):
            path = str(port.get("path", "")).replace(",", ",,")
            label = str(port.get("name", "")).replace(",", ",,")
            channel = f"vc{device.name}p{number}"
            self.line += ["-chardev", f"socket,id={channel},path={path},server=on,wait=off"]
            self.line += [
                "-device",
                f"virtserialport,bus=vc{device.name}.0,nr={number + 1},chardev={channel},name={label}",
            ]

    def screen(self, device: Device) -> None:
        size = f"xres={device.text('w', '1024')},yres={device.text('h', '768')}"
        self.line += ["-device", f"VGA,edid=on,{size},romfile=,{self._place(device)}"]
        password = device.text("password")
        suffix = ""
        if password:
            self.line += ["-object", f"secret,id=vnc,data={password.replace(',', ',,')}"]
            suffix = ",password-secret=vnc"
        where = device.text("rfb") or device.text("tcp") or "127.0.0.1:5900"
        if where.startswith("unix:"):
            self.line += ["-vnc", f"{where.replace(',', ',,')}{suffix}"]
            return
        address, _, port = where.rpartition(":")
        if not port.isdigit() or int(port) < 5900:
            raise not_simulated(f"a frame buffer on a port below 5900 ({where})")
        self.line += ["-vnc", f"{address or '127.0.0.1'}:{int(port) - 5900}{suffix}"]

    def passed_through(self, device: Device) -> None:
        self.line += ["-device", f"{self._cables.passed[device.name]},{self._place(device)}"]

    def usb(self, device: Device) -> None:
        self.line += ["-device", f"qemu-xhci,id=usb{device.name},{self._place(device)}"]
        for _, slot in device.children("slot"):
            if slot.get("device") != "tablet":
                raise not_simulated(f"xhci,{slot.get('device')}")
            self.line += ["-device", f"usb-tablet,bus=usb{device.name}.0"]

    def firmware(self) -> str:
        """Code and variables as two flash chips; the words for `-machine`."""
        words = ""
        for number, (key, read_only) in enumerate((("bootrom", True), ("bootvars", False))):
            path = self._config.get(key)
            if path:
                node = {
                    "driver": "raw",
                    "node-name": f"flash{number}",
                    "read-only": read_only,
                    "file": {"driver": "file", "filename": path, "locking": "off", "read-only": read_only},
                }
                self.line += ["-blockdev", json.dumps(node)]
                words += f",pflash{number}=flash{number}"
        return words


_ADDERS = {
    "hostbridge": _Arguments.nothing,
    "amd_hostbridge": _Arguments.nothing,
    "lpc": _Arguments.nothing,
    "virtio-net": _Arguments.net,
    "e1000": _Arguments.net,
    "virtio-blk": _Arguments.block,
    "nvme": _Arguments.block,
    "ahci": _Arguments.ahci,
    "virtio-rnd": _Arguments.random,
    "virtio-console": _Arguments.console,
    "fbuf": _Arguments.screen,
    "xhci": _Arguments.usb,
    "passthru": _Arguments.passed_through,
}


def check_simulated(config: Config) -> None:
    """Refuse what only the real one can do, before anything is opened."""
    for device in devices(config):
        if device.emulation not in _ADDERS or (device.emulation == "passthru" and not vmm.has_engine()):
            raise not_simulated(f"pci slot 0:{device.slot}:{device.function}: {device.emulation}")
    for node in ("tpm", "gdb"):
        if config.node(node) is not None:
            raise not_simulated(node)


def check_firmware(config: Config) -> None:
    """End as bhyve does when the firmware cannot be used."""
    code, variables = config.get("bootrom"), config.get("bootvars")
    for what, path, mode in (("bootrom", code, "rb"), ("bootrom variable file", variables, "r+b")):
        if path is None:
            continue
        try:
            with open(path, mode):
                size = Path(path).stat().st_size
        except OSError as error:
            raise Ended(ERROR, f'Error opening {what} "{path}": {error.strerror}\n') from error
        if not size or size % _FIRMWARE_PAGE:
            raise Ended(ERROR, f"Invalid {what} size {size}\n")


def waits_for_viewer(config: Config) -> bool:
    """Whether the frame buffer holds the boot until somebody looks."""
    return any(one.emulation == "fbuf" and one.flag("wait") for one in devices(config))


def arguments(config: Config, cables: Cables, accelerator: str) -> list[str]:
    """QEMU's whole command line."""
    made = _Arguments(config, cables)
    cpus, sockets, cores, threads = topology(config)
    flash = made.firmware()
    for device in devices(config):
        made.add(device)
    for number, com in enumerate(COMS):
        if com in cables.coms:
            made.line += ["-chardev", f"socket,id={com},fd={cables.coms[com]}"]
            made.line += ["-device", f"isa-serial,chardev={com},index={number}"]
    machine = f"q35,usb=off,vmport=off,smm=off{flash}"
    clock = "localtime" if config.flag("rtc.use_localtime", True) else "utc"
    name = (config.get("name") or "").replace(",", ",,")
    line = ["qemu-system-x86_64", "-name", f"bhyve:{name}", "-machine", machine, "-accel", accelerator]
    line += [
        "-cpu",
        _CPU[accelerator.partition(",")[0]],
        "-m",
        f"{memory_bytes(config.get('memory.size') or '') >> 10}K",
    ]
    line += ["-smp", f"{cpus},sockets={sockets},cores={cores},threads={threads}"]
    identity = config.get("uuid")
    if identity:
        line += ["-uuid", identity]
    line += ["-smbios", "type=1,manufacturer=FreeBSD,product=BHYVE,version=1.0"]
    line += ["-nodefaults", "-no-user-config", "-display", "none", "-sandbox", _SANDBOX]
    line += ["-rtc", f"base={clock}", "-action", "reboot=shutdown,shutdown=poweroff"]
    line += ["-chardev", f"socket,id=qmp,fd={cables.qmp}", "-mon", "chardev=qmp,mode=control"]
    if waits_for_viewer(config):
        line.append("-S")
    return line + made.line
