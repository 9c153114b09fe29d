"""When pf is asked for a bridged frame, and what it is not asked for."""

from types import SimpleNamespace
from typing import Any

from beastack.sim.engine.filters import Filters
from beastack.sim.engine.sysctls import Sysctls

IP, ARP, OTHER = (bytes(12) + bytes.fromhex(kind) + bytes(46) for kind in ("0800", "0806", "88cc"))


class Pf:
    enabled = True

    def judge(self, name: str, direction: str, frame: bytes, now: float, partial: bool) -> bytes | None:
        return None


def test_pfil_member_and_onlyip() -> None:
    sysctls = Sysctls()
    filters, vnet = Filters(sysctls), SimpleNamespace(pf=Pf(), jail=None)
    any_vnet: Any = vnet
    assert filters.bridged(any_vnet, "tap0", "in", IP, 0)
    sysctls.write(any_vnet, "net.link.bridge.pfil_member", "1")
    assert not filters.bridged(any_vnet, "tap0", "in", IP, 0)
    assert filters.bridged(any_vnet, "tap0", "in", ARP, 0)
    assert not filters.bridged(any_vnet, "tap0", "in", OTHER, 0)
    sysctls.write(any_vnet, "net.link.bridge.pfil_onlyip", "0")
    assert filters.bridged(any_vnet, "tap0", "in", OTHER, 0)
    vnet.pf = None
    assert filters.bridged(any_vnet, "tap0", "in", IP, 0)
