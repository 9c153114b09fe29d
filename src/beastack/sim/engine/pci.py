"""Owns the host's PCI devices: those that every machine has, its cards, and two that a guest may have by ppt(4).

The two are QEMU's `edu`, a small device without a driver anywhere: a guest that gets one sees the same identity.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PASSABLE = ((1, 0, 0), (2, 0, 0))
EDU = "edu"


@dataclass(frozen=True, slots=True)
class Function:
    """One function as `pciconf -l` shows it; ids as numbers, the address as bus, slot and function of domain 0."""

    driver: str
    address: tuple[int, int, int]
    kind: int
    vendor: int
    product: int
    revision: int = 0


class Pci:
    """``held``: addresses that ppt(4) took at boot (``pptdevs`` in loader.conf(5))."""

    def __init__(self, held: Iterable[str] = ()) -> None:
        self._held = set(held)
        self._owners: dict[tuple[int, int, int], str] = {}

    def functions(self, cards: Iterable[str]) -> list[Function]:
        """Everything, in the order of the addresses; ``cards`` are the names of network interfaces."""
        found = [
            Function("hostb", (0, 0, 0), 0x060000, 0x8086, 0x29C0),
            Function("isab", (0, 31, 0), 0x060100, 0x8086, 0x2918, 2),
        ]
        for slot, card in enumerate(sorted(cards), 3):
            kind = card.rstrip("0123456789")
            identity = (0x1AF4, 0x1000) if kind == "vtnet" else (0x8086, 0x100E)
            # vtnet(4) hangs below virtio_pci(4)
            found.append(Function("virtio_pci" if kind == "vtnet" else kind, (0, slot, 0), 0x020000, *identity))
        for address in PASSABLE:
            held = "/".join(map(str, address)) in self._held
            found.append(Function("ppt" if held else "", address, 0x00FF00, 0x1234, 0x11E8, 0x10))
        return sorted(found, key=lambda each: each.address)

    def assign(self, address: tuple[int, int, int], machine: str) -> None:
        """Give a device to a virtual machine, whose it is until that is destroyed.

        Raises FileNotFoundError when ppt(4) does not hold it, BlockingIOError when another machine has it.
        """
        if address not in PASSABLE or "/".join(map(str, address)) not in self._held:
            raise FileNotFoundError(address)
        owner = self._owners.get(address)
        if owner not in (None, machine) and Path("/dev/vmm", str(owner)).exists():
            raise BlockingIOError(address)
        self._owners[address] = machine
