"""Owns the meeting with pf and netgraph: one of each per network stack, made when first used, asked for each frame."""

import importlib
from typing import Any

from beastack.sim.engine.sysctls import Sysctls
from beastack.sim.engine.vnet import Vnet

_IP = (b"\x08\x00", b"\x86\xdd")
_ARP = (b"\x08\x06", b"\x80\x35")
_LOOPBACK = 127
_LEAST = 34  # Ethernet's header and IPv4's


class Filters:
    """`make_pf` and `make_netgraph` may be replaced by a test's own."""

    def __init__(self, sysctls: Sysctls) -> None:
        self._sysctls = sysctls

    def make_pf(self, vnet: Vnet) -> Any:
        def groups(name: str) -> list[str]:
            interface = vnet.find(name)
            return interface.groups if interface is not None else []

        def addresses(name: str) -> list[bytes]:
            interface = vnet.find(name)
            return [own.address.packed for own in interface.addresses()] if interface is not None else []

        return importlib.import_module("beastack.sim.pf").Pf(groups, addresses, vnet.raw.send)

    def make_netgraph(self, vnet: Vnet) -> Any:
        module = importlib.import_module("beastack.sim.netgraph")

        def nodes() -> list[str]:
            if "ng_ether" not in self._sysctls.modules:
                return []  # interfaces have their nodes from the module
            return [one.name for one in vnet.interfaces if one.mac is not None]

        return module.Netgraph(nodes)

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

    def bridged(
        self, vnet: Vnet, name: str, direction: str, frame: bytes, now: float, partial: bool = False
    ) -> bytes | None:
        """pf at a bridge member, as bridge_pfil() does it: IP is asked, ARP always passes, the rest by pfil_onlyip.

        Returns the frame as it goes on, None when it does not.
        """
        if vnet.pf is None or not self._sysctls.pfil_member:
            return frame
        kind = frame[12:14]
        if kind in _IP:
            judged: bytes | None = vnet.pf.judge(name, direction, frame, now, partial)
            return judged
        if kind in _ARP or not self._sysctls.pfil_onlyip or not vnet.pf.enabled:
            return frame
        return None

    def routed(self, vnet: Vnet, name: str, direction: str, frame: bytes, now: float, partial: bool) -> bytes | None:
        """pf between an interface and its IP stack, and what the stack itself refuses: 127/8 on a wire (ip(4))."""
        ip4 = frame[12:14] == _IP[0] and len(frame) >= _LEAST
        if ip4 and direction == "in" and _LOOPBACK in (frame[26], frame[30]):
            return None
        judged: bytes | None = frame
        if vnet.pf is not None and not (direction == "out" and vnet.raw.sent(frame)):
            judged = vnet.pf.judge(name, direction, frame, now, partial)
        if judged is not None and ip4 and direction == "out" and _LOOPBACK in (judged[26], judged[30]):
            return None
        return judged
