"""The `-s` option: which emulations bhyve knows and how each reads the words behind its name."""

import re
from collections.abc import Callable, Iterator

from beastack.sim.bhyve.config import Config
from beastack.sim.bhyve.errors import ERROR, Ended

Settings = Iterator[tuple[str, str]]
Reader = Callable[[str | None], Settings]


def _pairs(words: str | None) -> Settings:
    """`a=b,c` as a=b and c=true."""
    for word in (words or "").split(",") if words else ():
        name, equals, value = word.partition("=")
        yield name, value if equals else "true"


def _first(name: str) -> Reader:
    """The first word is the value of `name`, the rest are pairs."""

    def read(words: str | None) -> Settings:
        if words is not None:
            first, _, rest = words.partition(",")
            yield name, first
            yield from _pairs(rest or None)

    return read


def _nvme(words: str | None) -> Settings:
    if words is not None and words.startswith("ram="):
        yield from _pairs(words)
    else:
        yield from _first("path")(words)


def _ahci_port(kind: str, number: int, words: str) -> Settings:
    path, _, rest = words.partition(",")
    yield f"port.{number}.type", kind
    if path:
        yield f"port.{number}.path", path
    for name, value in _pairs(rest or None):
        yield f"port.{number}.{name}", value


def _ahci(words: str | None) -> Settings:
    """`hd:PATH,cd:PATH`: one port each; words without a kind belong to the port before."""
    number, ports = -1, list[str]()
    for word in (words or "").split(",") if words else ():
        if re.match(r"(hd|cd):", word) or not ports:
            ports.append(word)
            number += 1
        else:
            ports[number] += f",{word}"
    for number, port in enumerate(ports):
        kind, colon, rest = port.partition(":")
        yield from _ahci_port(kind if colon else "hd", number, rest if colon else port)


def _ahci_kind(kind: str) -> Reader:
    def read(words: str | None) -> Settings:
        if words is not None:
            yield from _ahci_port(kind, 0, words)

    return read


def _console(words: str | None) -> Settings:
    for number, word in enumerate((words or "").split(",") if words else ()):
        name, _, path = word.partition("=")
        yield f"port.{number}.name", name
        if path:
            yield f"port.{number}.path", path


def _xhci(words: str | None) -> Settings:
    for number, word in enumerate((words or "").split(",") if words else (), 1):
        yield f"slot.{number}.device", word


def _share(words: str | None) -> Settings:
    for name, value in _pairs(words):
        if name == "ro":
            yield name, value
        else:
            yield "sharename", name
            yield "path", value


def _passthru(words: str | None) -> Settings:
    first, _, rest = (words or "").partition(",")
    found = re.fullmatch(r"(?:pci\d+:)?(\d+)[/:](\d+)[/:](\d+)", first)
    if found is None:
        raise Ended(ERROR, f'passthru: unable to parse "{first}"\n')
    yield from zip(("bus", "slot", "func"), found.groups(), strict=True)
    yield from _pairs(rest or None)


# name on the command line -> name of the emulation, reader
DEVICES: dict[str, tuple[str, Reader]] = {
    "hostbridge": ("hostbridge", _pairs),
    "amd_hostbridge": ("amd_hostbridge", _pairs),
    "lpc": ("lpc", _pairs),
    "virtio-net": ("virtio-net", _first("backend")),
    "e1000": ("e1000", _first("backend")),
    "virtio-blk": ("virtio-blk", _first("path")),
    "virtio-rnd": ("virtio-rnd", _pairs),
    "virtio-console": ("virtio-console", _console),
    "virtio-scsi": ("virtio-scsi", _first("dev")),
    "virtio-9p": ("virtio-9p", _share),
    "virtio-input": ("virtio-input", _first("type")),
    "nvme": ("nvme", _nvme),
    "ahci": ("ahci", _ahci),
    "ahci-hd": ("ahci", _ahci_kind("hd")),
    "ahci-cd": ("ahci", _ahci_kind("cd")),
    "fbuf": ("fbuf", _pairs),
    "xhci": ("xhci", _xhci),
    "hda": ("hda", _pairs),
    "uart": ("uart", _first("path")),
    "passthru": ("passthru", _passthru),
}

_MAX_BUS, _MAX_SLOT, _MAX_FUNCTION = 256, 32, 8


def _place(text: str) -> tuple[int, int, int] | None:
    for pattern in (r"(\d+):(\d+):(\d+)", r"()(\d+):(\d+)", r"()(\d+)()"):
        found = re.match(pattern, text)
        if found is not None:
            bus, slot, function = (int(number or 0) for number in found.groups())
            fits = bus < _MAX_BUS and slot < _MAX_SLOT and function < _MAX_FUNCTION
            return (bus, slot, function) if fits else None
    return None


def add(config: Config, option: str) -> None:
    """Read one `-s PLACE,DEVICE[,WORDS]` into the settings, or end as bhyve does."""
    place, comma, rest = option.partition(",")
    numbers = _place(place) if comma else None
    if numbers is None:
        raise Ended(ERROR, f'Invalid PCI slot info field "{option}"\n')
    name, comma, words = rest.partition(",")
    where = "{}:{}:{}".format(*numbers)
    if name not in DEVICES:
        raise Ended(ERROR, f'pci slot {where}: unknown device "{name}"\n')
    node = "pci.{}.{}.{}".format(*numbers)
    if config.node(node) is not None:
        raise Ended(ERROR, f"pci slot {where} already occupied!\n")
    emulation, read = DEVICES[name]
    config.set(f"{node}.device", emulation)
    for key, value in read(words if comma else None):
        config.set(f"{node}.{key}", value)
