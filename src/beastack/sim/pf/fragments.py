"""Owns virtual reassembly: a later fragment shares the fate of its first one; without a first one it is dropped.

A fragment that overlaps what the first one covered, or that came before it, is dropped too. This is stricter than
pf, which would hold fragments back and put them together.
"""

from beastack.sim.pf.packet import Packet
from beastack.sim.pf.rewrite import Change

_Key = tuple[str, str, bytes, bytes, int, int]


class Fragments:
    def __init__(self) -> None:
        # until when, how far the first one reaches, what was written into it
        self._passed: dict[_Key, tuple[float, int, Change | None]] = {}

    @staticmethod
    def _key(ifname: str, direction: str, packet: Packet) -> _Key:
        return (ifname, direction, packet.src, packet.dst, packet.frag_id, packet.proto)

    def first(
        self,
        ifname: str,
        direction: str,
        packet: Packet,
        passed: bool,
        until: float,
        limit: int,
        change: Change | None = None,
    ) -> None:
        """Remember what became of a first fragment; `packet` as it came, before any change."""
        key = self._key(ifname, direction, packet)
        if not passed:
            self._passed.pop(key, None)
            return
        if key in self._passed:  # a second first fragment: nobody knows which one counts
            del self._passed[key]
            return
        while len(self._passed) >= limit:
            del self._passed[next(iter(self._passed))]
        self._passed[key] = (until, packet.frag_size, change)

    def later(self, ifname: str, direction: str, packet: Packet, now: float) -> tuple[bool, Change | None]:
        """Whether a later fragment passes, and with which change."""
        key = self._key(ifname, direction, packet)
        found = self._passed.get(key)
        if found is None:
            return False, None
        until, reach, change = found
        if until <= now or packet.frag_offset < reach:
            del self._passed[key]
            return False, None
        return True, change
