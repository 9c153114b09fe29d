"""Owns virtual reassembly: a later fragment shares the fate of its first one; without a first one it is dropped.

A fragment that overlaps what the first one covered, or that came before it, is dropped too. This is stricter than
pf, which would hold fragments back and put them together.
"""

from beastack.sim.pf.packet import Packet

_Key = tuple[str, str, bytes, bytes, int, int]


class Fragments:
    def __init__(self) -> None:
        self._passed: dict[_Key, tuple[float, int]] = {}  # until when, how far the first one reaches

    @staticmethod
    def _key(ifname: str, direction: str, packet: Packet) -> _Key:
        return (ifname, direction, packet.src, packet.dst, packet.frag_id, packet.proto)

    def first(self, ifname: str, direction: str, packet: Packet, passed: bool, until: float, limit: int) -> None:
        """Remember what became of a first fragment."""
        key = self._key(ifname, direction, packet)
        if not passed:
            self._passed.pop(key, None)
            return
        if key in self._passed:  # a second first fragment: nobody knows which one counts
            del self._passed[key]
            return
        while len(self._passed) >= limit:
            del self._passed[next(iter(self._passed))]
        self._passed[key] = (until, packet.frag_size)

    def later(self, ifname: str, direction: str, packet: Packet, now: float) -> bool:
        """Whether a later fragment passes."""
        key = self._key(ifname, direction, packet)
        found = self._passed.get(key)
        if found is None:
            return False
        until, reach = found
        if until <= now or packet.frag_offset < reach:
            del self._passed[key]
            return False
        return True
