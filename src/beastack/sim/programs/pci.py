"""Owns pciconf(8)'s list, and what bhyve asks ppt(4) for."""

from collections import Counter

from beastack.sim.engine import pci
from beastack.sim.net.errors import Failed, not_simulated
from beastack.sim.net.interface import Kind
from beastack.sim.programs.base import Reply, Request

_USAGE = "usage: pciconf -l [-BbcevV] [device]\n       pciconf -t [-v]"


def pciconf(request: Request) -> Reply:
    """``pciconf -l`` (usr.sbin/pciconf/pciconf.c)."""
    if not request.argv:
        raise Failed(_USAGE)
    if request.argv != ["-l"]:
        raise not_simulated("pciconf", " ".join(request.argv))
    cards = [one.device for one in request.state.interfaces() if one.kind in (Kind.VTNET, Kind.EM)]
    units, out = Counter[str](), ""
    for each in request.state.pci.functions(cards):
        driver = each.driver or "none"
        place = ":".join(map(str, each.address))
        out += (
            f"{driver}{units[driver]}@pci0:{place}:\tclass=0x{each.kind:06x} rev=0x{each.revision:02x} hdr=0x00 "
            f"vendor=0x{each.vendor:04x} device=0x{each.product:04x} subvendor=0x1af4 subdevice=0x1100\n"
        )
        units[driver] += 1
    return Reply(out)


def assign(request: Request) -> Reply:
    """``@ppt-assign BUS SLOT FUNCTION MACHINE``: QEMU's name of the device, or bhyve's words (pci_passthru.c)."""
    *numbers, machine = request.argv
    bus, slot, function = map(int, numbers)
    try:
        request.state.pci.assign((bus, slot, function), machine)
    except FileNotFoundError:
        words, reason = (
            f"PCI device at {bus}/{slot}/{function} is not using the ppt driver",
            "No such file or directory",
        )
    except BlockingIOError:
        words, reason = "vm_assign_pptdev: Device busy", "Device busy"
    else:
        return Reply(pci.EDU)
    return Reply(err=f"{words}\nDevice emulation initialization error: {reason}\n", rc=4)
