"""A bhyve machine as libvirt's domain XML, with every device in the slot that it has on the native path.

Sources: libvirt's docs/drvbhyve.rst and src/bhyve/bhyve_command.c, bhyve_domain.c, bhyve_device.c (which command line
an element becomes), its schema domaincommon.rng (the forms). What libvirt's driver has no form for is refused
(`limits.py`).
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from itertools import count

from beastack.freebsd.bhyve import (
    BadMachine,
    Console,
    Disk,
    DiskKind,
    FrameBuffer,
    Machine,
    Nic,
    NicKind,
    NmdmConsole,
    PciDevice,
    TcpConsole,
)
from beastack.freebsd.bhyve_parts import CD_SLOT
from beastack.nova.libvirt import limits

NAMESPACE = "http://libvirt.org/schemas/domain/bhyve/1.0"
# Our mark: an element of ours in <metadata>, which libvirt keeps and does not read (docs/formatdomain.rst).
MARK = "urn:beastack:guest:1"
_RANDOM_SLOT, _FIRST_NIC_SLOT, _LAST_NIC_SLOT, _SCREEN_SLOT, _TABLET_SLOT, _LPC_SLOT = 2, 14, 28, 29, 30, 31


def render(machine: Machine, bridges: Mapping[str, str], version: int) -> str:
    """The XML for a libvirt of this version (as `virConnect.getLibVersion` says it: 11004000 is 11.4.0).

    libvirt makes the taps itself, each in a bridge that must be there: ``bridges`` says which, by the tap's name.
    Raises BadMachine when libvirt's driver cannot give what the machine asks for, or a tap has no bridge.
    """
    refused = limits.refused(machine, version)
    if refused:
        raise BadMachine(f"libvirt's bhyve driver cannot give {'; '.join(refused)}")
    ET.register_namespace("bhyve", NAMESPACE)
    ET.register_namespace("beastack", MARK)
    root = ET.Element("domain", type="bhyve")
    _text(root, "name", machine.name)
    _text(root, "uuid", machine.uuid)
    ET.SubElement(ET.SubElement(root, "metadata"), f"{{{MARK}}}guest", uuid=machine.uuid)
    _text(root, "memory", str(machine.memory_mib), unit="MiB")
    if machine.wired:
        ET.SubElement(ET.SubElement(root, "memoryBacking"), "locked")
    _text(root, "vcpu", str(machine.topology.cpus))
    if machine.pins:
        tune = ET.SubElement(root, "cputune")
        for pin in machine.pins:
            ET.SubElement(tune, "vcpupin", vcpu=str(pin.vcpu), cpuset=str(pin.cpu))
    _firmware(root, machine)
    features = ET.SubElement(root, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "msrs", unknown="ignore")  # -w, as on the native path
    shape = machine.topology
    ET.SubElement(
        ET.SubElement(root, "cpu"),
        "topology",
        sockets=str(shape.sockets),
        cores=str(shape.cores),
        threads=str(shape.threads),
    )
    ET.SubElement(root, "clock", offset="utc")
    for event, action in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        _text(root, event, action)
    _devices(ET.SubElement(root, "devices"), machine, bridges)
    _arguments(root, machine)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def is_ours(xml: str, uuid: str) -> bool:
    """Whether libvirt's XML is that of the guest ``uuid`` of ours."""
    try:
        root = ET.fromstring(xml)  # noqa: S314 libvirt's daemon is root's own, and wrote it
    except ET.ParseError:
        return False
    marks = [each.get("uuid") for each in root.iterfind(f"./metadata/{{{MARK}}}guest")]
    return marks == [uuid] and root.findtext("./uuid") == uuid and root.findtext("./name") == uuid


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text


def _slot(parent: ET.Element, slot: int) -> None:
    ET.SubElement(parent, "address", type="pci", domain="0x0000", bus="0x00", slot=f"0x{slot:02x}", function="0x0")


def _firmware(root: ET.Element, machine: Machine) -> None:
    system = ET.SubElement(root, "os")
    _text(system, "type", "hvm", arch="x86_64")
    _text(system, "loader", machine.bootrom.code, readonly="yes", type="pflash")
    if machine.bootrom.variables is not None:
        _text(system, "nvram", machine.bootrom.variables)


def _arguments(root: ET.Element, machine: Machine) -> None:
    """What the XML has no words for. libvirt hands such arguments on, and calls that unsupported: the UEFI firmware
    finds no disk without the first (15-bhyve-uefi.txt); without the second the guest's SMBIOS has another UUID.
    """
    line = ET.SubElement(root, f"{{{NAMESPACE}}}commandline")
    for word in ("-o", "pci.enable_bars=true", "-U", machine.uuid):
        ET.SubElement(line, f"{{{NAMESPACE}}}arg", value=word)


def _devices(devices: ET.Element, machine: Machine, bridges: Mapping[str, str]) -> None:
    # libvirt makes up the controllers that a number leaves out: each bus counts its own from 0
    buses = {kind: count() for kind in DiskKind}
    for slot, disk in zip(machine.disk_slots(), machine.disks, strict=True):
        _disk(devices, disk, slot, next(buses[disk.kind]))
    if machine.cd is not None:
        _sata(devices, machine.cd.path, CD_SLOT, next(buses[DiskKind.AHCI]), cd=True)
    lpc = ET.SubElement(devices, "controller", type="isa", index="0")
    _slot(lpc, _LPC_SLOT)
    for slot, nic in enumerate(machine.nics, start=_FIRST_NIC_SLOT):
        _nic(devices, nic, slot, bridges)
    for port, console in enumerate(machine.consoles()):
        _console(devices, console, port)
    if isinstance(machine.frame_buffer, FrameBuffer):
        _screen(devices, machine.frame_buffer)
    for slot, device in zip(range(_LAST_NIC_SLOT, _FIRST_NIC_SLOT - 1, -1), machine.passthrough, strict=False):
        _passed_through(devices, device, slot)
    if machine.random:
        random = ET.SubElement(devices, "rng", model="virtio")
        _text(random, "backend", "/dev/random", model="random")
        _slot(random, _RANDOM_SLOT)


def _disk(devices: ET.Element, disk: Disk, slot: int, index: int) -> None:
    if disk.kind is DiskKind.AHCI:
        _sata(devices, disk.path, slot, index)
        return
    element = ET.SubElement(devices, "disk", type="file", device="disk")
    ET.SubElement(element, "driver", name="file", type="raw")
    ET.SubElement(element, "source", file=disk.path)
    ET.SubElement(element, "target", dev=f"vd{_letter(index)}", bus="virtio")
    if disk.read_only:
        ET.SubElement(element, "readonly")
    _slot(element, slot)


def _sata(devices: ET.Element, path: str, slot: int, index: int, *, cd: bool = False) -> None:
    """A disk of its own controller, so that it keeps its slot; bhyve's `ahci` would take several."""
    controller = ET.SubElement(devices, "controller", type="sata", index=str(index))
    _slot(controller, slot)
    element = ET.SubElement(devices, "disk", type="file", device="cdrom" if cd else "disk")
    ET.SubElement(element, "driver", name="file", type="raw")
    ET.SubElement(element, "source", file=path)
    ET.SubElement(element, "target", dev=f"sd{_letter(index)}", bus="sata")
    if cd:
        ET.SubElement(element, "readonly")
    ET.SubElement(element, "address", type="drive", controller=str(index), bus="0", target="0", unit="0")


def _letter(index: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[index]


def _nic(devices: ET.Element, nic: Nic, slot: int, bridges: Mapping[str, str]) -> None:
    if nic.tap not in bridges:
        raise BadMachine(f"nic: libvirt makes taps in bridges, and none is known for {nic.tap}")
    element = ET.SubElement(devices, "interface", type="bridge")
    ET.SubElement(element, "mac", address=nic.mac)
    ET.SubElement(element, "source", bridge=bridges[nic.tap])
    ET.SubElement(element, "target", dev=nic.tap)
    ET.SubElement(element, "model", type="e1000" if nic.kind is NicKind.E1000 else "virtio")
    _slot(element, slot)


def _console(devices: ET.Element, console: Console, port: int) -> None:
    match console:
        case NmdmConsole():
            other = console.device[:-1] + ("B" if console.device.endswith("A") else "A")
            element = ET.SubElement(devices, "serial", type="nmdm")
            ET.SubElement(element, "source", master=console.device, slave=other)
        case TcpConsole():
            element = ET.SubElement(devices, "serial", type="tcp")
            ET.SubElement(element, "source", mode="bind", host=console.address, service=str(console.port))
            ET.SubElement(element, "protocol", type="raw")
    ET.SubElement(element, "target", port=str(port))


def _screen(devices: ET.Element, screen: FrameBuffer) -> None:
    tablet = ET.SubElement(devices, "controller", type="usb", index="0", model="nec-xhci")
    _slot(tablet, _TABLET_SLOT)
    ET.SubElement(devices, "input", type="tablet", bus="usb")
    graphics = ET.SubElement(devices, "graphics", type="vnc", port=str(screen.port), autoport="no")
    ET.SubElement(graphics, "listen", type="address", address=screen.address)
    video = ET.SubElement(devices, "video")
    model = ET.SubElement(video, "model", type="gop", heads="1", primary="yes")
    ET.SubElement(model, "resolution", x=str(screen.width), y=str(screen.height))
    _slot(video, _SCREEN_SLOT)


def _passed_through(devices: ET.Element, device: PciDevice, slot: int) -> None:
    """ppt(4) holds it already, so libvirt does not detach it from the host (managed='no')."""
    element = ET.SubElement(devices, "hostdev", mode="subsystem", type="pci", managed="no")
    place = {"domain": "0x0000", "bus": f"0x{device.bus:02x}", "slot": f"0x{device.slot:02x}"}
    ET.SubElement(ET.SubElement(element, "source"), "address", place, function=f"0x{device.function:x}")
    _slot(element, slot)
