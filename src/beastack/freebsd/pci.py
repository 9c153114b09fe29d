"""PCI devices of the host and who holds them: pciconf(8).

The form of ``pciconf -l`` is that of usr.sbin/pciconf/pciconf.c (13.0 and later); no transcript shows it. A device that
bhyve may pass through is held by ppt(4): ``pptdevs="1/0/0"`` in loader.conf(5).
"""

import re
from dataclasses import dataclass

from beastack.freebsd.errors import HostError, UnexpectedOutput
from beastack.freebsd.host import Host

# A driver's name may have digits, too: mlx5_core0, t5nex0.
_LINE = re.compile(
    r"([A-Za-z][A-Za-z0-9_]*?)(\d+)@pci(\d+):(\d+):(\d+):(\d+):\s+"
    r"class=0x([0-9a-f]{6}) rev=0x[0-9a-f]{2} hdr=0x[0-9a-f]{2}"
    r" vendor=0x([0-9a-f]{4}) device=0x([0-9a-f]{4}) subvendor=0x[0-9a-f]{4} subdevice=0x[0-9a-f]{4}"
)


class NoSuchDevice(HostError):
    """The host has no PCI device of this address."""


@dataclass(frozen=True, slots=True)
class Device:
    """One function; ``driver`` is ``none`` when nobody holds it. Ids are four hexadecimal digits."""

    driver: str
    unit: int
    domain: int
    bus: int
    slot: int
    function: int
    kind: str
    vendor: str
    product: str


def parse_list(text: str, argv: tuple[str, ...] = ("pciconf", "-l")) -> list[Device]:
    """``pciconf -l``. Raises UnexpectedOutput."""
    found = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            raise UnexpectedOutput(argv, line, "NAME@pciD:B:S:F: class=… vendor=… device=…")
        unit, domain, bus, slot, function = (int(match[n]) for n in range(2, 7))
        found.append(Device(match[1], unit, domain, bus, slot, function, match[7], match[8], match[9]))
    return found


def list_devices(host: Host) -> list[Device]:
    """Every function."""
    done = host.run(["pciconf", "-l"])
    return parse_list(done.out, done.argv)


def find(host: Host, bus: int, slot: int, function: int) -> Device:
    """The one of domain 0 with this address. Raises NoSuchDevice."""
    for device in list_devices(host):
        if (device.domain, device.bus, device.slot, device.function) == (0, bus, slot, function):
            return device
    raise NoSuchDevice(f"there is no PCI device {bus}/{slot}/{function}")
