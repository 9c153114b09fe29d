"""The host's PCI devices, as pciconf(8) shows them and the driver reads them."""

from pathlib import Path

import pytest

from beastack.freebsd import pci as ours
from beastack.sim.engine.pci import Pci
from beastack.sim.engine.state import State
from beastack.sim.net.interface import Kind
from beastack.sim.programs import pci
from beastack.sim.programs.base import Request


class Card:
    def __init__(self, device: str, kind: Kind) -> None:
        self.device, self.kind = device, kind


class Lab:
    def __init__(self, *held: str) -> None:
        self.pci = Pci(held)

    def interfaces(self) -> list[Card]:
        return [Card("vtnet0", Kind.VTNET), Card("em0", Kind.EM), Card("lo0", Kind.LOOPBACK)]


def request(lab: Lab, *words: str) -> Request:
    state: State = lab  # type: ignore[assignment]
    return Request(state, "pciconf", list(words), "", 1, None, None)  # type: ignore[arg-type]


def test_the_driver_reads_what_pciconf_shows() -> None:
    found = ours.parse_list(pci.pciconf(request(Lab("2/0/0"), "-l")).out)
    assert [(each.driver, each.unit, each.bus, each.slot) for each in found] == [
        ("hostb", 0, 0, 0),
        ("em", 0, 0, 3),
        ("virtio_pci", 0, 0, 4),
        ("isab", 0, 0, 31),
        ("none", 0, 1, 0),
        ("ppt", 0, 2, 0),
    ]
    assert (found[-1].vendor, found[-1].product) == ("1234", "11e8")


def test_drivers_with_digits_in_their_names_are_read() -> None:
    line = (
        "mlx5_core1@pci0:129:0:1:\tclass=0x020000 rev=0x00 hdr=0x00 vendor=0x15b3 device=0x1017 subvendor=0x15b3"
        " subdevice=0x0020\n"
    )
    assert [(each.driver, each.unit, each.bus) for each in ours.parse_list(line)] == [("mlx5_core", 1, 129)]


def test_only_what_ppt_holds_is_given_and_to_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    lab, alive = Lab("2/0/0"), {"a"}
    monkeypatch.setattr(Path, "exists", lambda path: path.parent == Path("/dev/vmm") and path.name in alive)
    assert "not using the ppt driver" in pci.assign(request(lab, "1", "0", "0", "a")).err
    assert "not using the ppt driver" in pci.assign(request(lab, "9", "0", "0", "a")).err
    assert pci.assign(request(lab, "2", "0", "0", "a")).rc == 0
    assert pci.assign(request(lab, "2", "0", "0", "a")).rc == 0
    busy = pci.assign(request(lab, "2", "0", "0", "b"))
    assert (busy.rc, busy.err.splitlines()[0]) == (4, "vm_assign_pptdev: Device busy")
    alive.clear()
    assert pci.assign(request(lab, "2", "0", "0", "b")).rc == 0
