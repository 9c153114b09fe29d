"""Owns the meeting with pf and netgraph: one of each per network stack, made when first used, asked for each frame."""

import importlib
from typing import Any

from beastack.sim.engine.sysctls import Sysctls
from beastack.sim.engine.vnet import Vnet

_IP = (b"\x08\x00", b"\x86\xdd")
_ARP = (b"\x08\x06", b"\x80\x35")


class Filters:
    """`make_pf` and `make_netgraph` may be replaced by a test's own."""

    def __init__(self, sysctls: Sysctls) -> None:
        self._sysctls = sysctls

    def make_pf(self, vnet: Vnet) -> Any:
        def groups(name: str) -> list[str]:
            interface = vnet.find(name)
            return interface.groups if interface is not None else []

        return importlib.import_module("beastack.sim.pf").Pf(groups)

    def make_netgraph(self, vnet: Vnet) -> Any:
        module = importlib.import_module("beastack.sim.netgraph")
        return module.Netgraph(lambda: [one.name for one in vnet.interfaces if one.mac is not None])

    def pf(self, vnet: Vnet) -> Any:
        if vnet.pf is None:
            vnet.pf = self.make_pf(vnet)
        return vnet.pf

    def interfaces_changed(self, vnet: Vnet) -> None:
        """pf keeps what it worked out for each interface."""
        if vnet.pf is not None:
            vnet.pf.interfaces_changed()

    def netgraph(self, vnet: Vnet) -> Any:
        if vnet.netgraph is None:
            vnet.netgraph = self.make_netgraph(vnet)
        return vnet.netgraph

    def bridged(self, vnet: Vnet, name: str, direction: str, frame: bytes, now: float) -> bool:
        """pf at a bridge member, as bridge_pfil() does it: IP is asked, ARP always passes, the rest by pfil_onlyip."""
        if vnet.pf is None or not self._sysctls.pfil_member:
            return True
        kind = frame[12:14]
        if kind in _IP:
            return bool(vnet.pf.filter(name, direction, frame, now))
        if kind in _ARP or not self._sysctls.pfil_onlyip:
            return True
        return not getattr(vnet.pf, "enabled", True)
