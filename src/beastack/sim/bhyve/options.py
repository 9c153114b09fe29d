"""bhyve's command line, option by option, into settings."""

import getopt
from collections.abc import Callable
from pathlib import Path

from beastack.sim.bhyve import devices
from beastack.sim.bhyve.config import Config
from beastack.sim.bhyve.errors import ERROR, USAGE, Ended

_LETTERS = "aehuwxACDHIPSWYk:f:o:p:G:c:s:m:n:l:K:U:r:"
_COM = ("com1", "com2", "com3", "com4")
_SWITCHES = {
    "a": ("x86.x2apic", "false"),
    "C": ("memory.guest_in_core", "true"),
    "D": ("destroy_on_poweroff", "true"),
    "e": ("x86.strictio", "true"),
    "H": ("x86.vmexit_on_hlt", "true"),
    "P": ("x86.vmexit_on_pause", "true"),
    "S": ("memory.wired", "true"),
    "u": ("rtc.use_localtime", "false"),
    "w": ("x86.strictmsr", "false"),
    "W": ("virtio_msix", "false"),
    "x": ("x86.x2apic", "true"),
    "Y": ("x86.mptable", "false"),
}
_VALUES = {"K": "keyboard.layout", "m": "memory.size", "U": "uuid"}


def usage(status: int) -> Ended:
    """The list of options."""
    return Ended(status, (Path(__file__).parent / "usage-bhyve.txt").read_text())


def defaults() -> Config:
    """What holds before the first option."""
    config = Config()
    for name, value in (
        ("acpi_tables", "true"),
        ("acpi_tables_in_memory", "true"),
        ("memory.size", "256M"),
        ("x86.strictmsr", "true"),
        ("x86.verbosemsr", "false"),
        ("lpc.fwcfg", "bhyve"),
    ):
        config.set(name, value)
    return config


def _topology(config: Config, text: str) -> None:
    if not text:
        for name in ("sockets", "cores", "threads", "cpus"):
            config.set(name, "1")
        return
    for word in text.split(","):
        name, equals, value = word.partition("=")
        if not equals:
            config.set("cpus", word)
        elif name in ("cpus", "sockets", "cores", "threads"):
            config.set(name, value)
        else:
            raise Ended(USAGE, f"bhyve: invalid cpu topology '{text}'\n")


def _lpc(config: Config, text: str) -> None:
    if text == "help":
        raise Ended(0, out="bootrom\ncom1\ncom2\ncom3\ncom4\ntpm\npc-testdev\n")
    kind, _, rest = text.partition(",")
    kind = kind.lower()
    if kind in _COM and rest:
        config.set(f"lpc.{kind}.path", rest)
    elif kind == "bootrom" and rest:
        code, _, more = rest.partition(",")
        config.set("bootrom", code)
        if more:
            config.set("bootvars", more.partition(",")[0])
    elif kind == "fwcfg" and rest:
        config.set("lpc.fwcfg", rest)
    elif kind == "tpm" and rest.count(","):
        for name, value in zip(("type", "path"), rest.split(",")[:2], strict=True):
            config.set(f"tpm.{name}", value)
    elif kind == "pc-testdev":
        config.set("lpc.pc-testdev", "true")
    else:
        raise Ended(USAGE, f"bhyve: invalid lpc device configuration '{text}'\n")


def _set(config: Config, text: str) -> bool:
    name, equals, value = text.partition("=")
    if not equals or not value:
        return False
    config.set(name, value)
    return True


def _option(config: Config, text: str) -> None:
    if not _set(config, text):
        raise Ended(USAGE, f"bhyve: invalid configuration option '{text}'\n")


def _file(config: Config, name: str) -> None:
    try:
        lines = Path(name).read_text().splitlines()
    except OSError as error:
        raise Ended(ERROR, f"bhyve: Failed to open configuration file {name}: {error.strerror}\n") from error
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#") and not _set(config, line):
            raise Ended(ERROR, f"bhyve: {name} line {number}: invalid config option '{line}'\n")


def _pin(config: Config, text: str) -> None:
    vcpu, colon, cpu = text.partition(":")
    if not colon or not vcpu.isdigit() or not cpu.isdigit():
        raise Ended(USAGE, f"invalid format: {text}\nbhyve: invalid vcpu pinning configuration '{text}'\n")
    known = config.raw(f"vcpu.{vcpu}.cpuset")
    config.set(f"vcpu.{vcpu}.cpuset", cpu if known is None else f"{known},{cpu}")


def _debug(config: Config, text: str) -> None:
    if text.startswith("w"):
        config.set("gdb.wait", "true")
        text = text[1:]
    address, colon, port = text.rpartition(":")
    if colon:
        config.set("gdb.address", address)
    config.set("gdb.port", port)


def _device(config: Config, text: str) -> None:
    if text == "help":
        raise Ended(0, out="".join(f"{name}\n" for name in sorted(devices.DEVICES)))
    devices.add(config, text)


_READERS: dict[str, Callable[[Config, str], None]] = {
    "c": _topology,
    "G": _debug,
    "k": _file,
    "l": _lpc,
    "o": _option,
    "p": _pin,
    "s": _device,
}


def parse(argv: list[str]) -> Config:
    """The settings of a command line (without the program's name); raises Ended as bhyve ends."""
    config = defaults()
    try:
        pairs, rest = getopt.getopt(argv, _LETTERS)
    except getopt.GetoptError as error:
        wants = "option requires an argument" if "requires" in error.msg else "illegal option"
        raise Ended(1, f"bhyve: {wants} -- {error.opt}\n{usage(1).err}") from error
    for flag, value in pairs:
        letter = flag[1]
        if letter == "h":
            raise usage(0)
        if letter in _SWITCHES:
            config.set(*_SWITCHES[letter])
        elif letter in _VALUES:
            config.set(_VALUES[letter], value)
        elif letter in _READERS:
            _READERS[letter](config, value)
        elif letter not in "AI":  # those two do nothing any more
            raise Ended(ERROR, f"bhyve: -{letter}: not simulated\n")
    if len(rest) > 1:
        raise usage(1)
    if rest:
        config.set("name", rest[0])
    if not config.get("name"):
        raise usage(1)
    if config.flag("config.dump"):
        raise Ended(1, out=config.dump())
    return config
