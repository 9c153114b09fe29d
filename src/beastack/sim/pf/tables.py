"""Owns pf's tables: sets of addresses and networks, the longest match decides, `!` excludes (pf.conf(5), TABLES)."""

from collections.abc import Iterable

from beastack.sim.pf import render
from beastack.sim.pf.model import Addr

Key = tuple[int, int, int]  # family, network, prefix length


class Table:
    """A table that exists (`active`) by a definition or by `-T add`."""

    def __init__(self, name: str, persist: bool = True, const: bool = False) -> None:
        self.name = name
        self.persist = persist
        self.const = const
        self.members: dict[Key, tuple[bool, float]] = {}
        self._prefixes: dict[int, list[tuple[int, int]]] = {4: [], 6: []}

    def _sort_prefixes(self) -> None:
        for af, width in ((4, 32), (6, 128)):
            lengths = sorted({prefix for family, _, prefix in self.members if family == af}, reverse=True)
            self._prefixes[af] = [(one, ((1 << one) - 1) << (width - one)) for one in lengths]

    def contains(self, raw: bytes) -> bool:
        """Whether the address is in the table, the most special member deciding."""
        af = 4 if len(raw) == 4 else 6
        prefixes = self._prefixes[af]
        if not prefixes:
            return False
        value = int.from_bytes(raw, "big")
        for prefix, mask in prefixes:
            found = self.members.get((af, value & mask, prefix))
            if found is not None:
                return not found[0]
        return False

    def matches(self, addr: Addr) -> bool:
        """`-T test`: an address, or a network that is inside one member."""
        for prefix, mask in self._prefixes[addr.af]:
            if prefix <= addr.prefix:
                found = self.members.get((addr.af, addr.low & mask, prefix))
                if found is not None:
                    return not found[0]
        return False

    def add(self, addresses: Iterable[Addr], now: float) -> int:
        added = 0
        for addr in addresses:
            key = (addr.af, addr.low, addr.prefix)
            if key not in self.members:
                self.members[key] = (addr.neg, now)
                added += 1
        self._sort_prefixes()
        return added

    def delete(self, addresses: Iterable[Addr]) -> int:
        deleted = 0
        for addr in addresses:
            key = (addr.af, addr.low, addr.prefix)
            found = self.members.get(key)
            if found is not None and found[0] == addr.neg:
                del self.members[key]
                deleted += 1
        self._sort_prefixes()
        return deleted

    def replace(self, addresses: Iterable[Addr], now: float) -> tuple[int, int, int]:
        """Added, deleted, changed (the `!` of a member that stays)."""
        wanted = {(one.af, one.low, one.prefix): one.neg for one in addresses}
        added = changed = 0
        gone = [key for key in self.members if key not in wanted]
        for key in gone:
            del self.members[key]
        for key, neg in wanted.items():
            old = self.members.get(key)
            if old is None:
                added += 1
                self.members[key] = (neg, now)
            elif old[0] != neg:
                changed += 1
                self.members[key] = (neg, old[1])
        self._sort_prefixes()
        return added, len(gone), changed

    def flush(self) -> int:
        count = len(self.members)
        self.members.clear()
        self._sort_prefixes()
        return count

    def expire(self, seconds: float, now: float) -> int:
        old = [key for key, (_, made) in self.members.items() if now - made >= seconds]
        for key in old:
            del self.members[key]
        self._sort_prefixes()
        return len(old)

    def show(self) -> list[str]:
        """The members as `-T show` prints them: IPv4 first, by address."""
        lines = []
        for (af, low, prefix), (neg, _) in sorted(self.members.items()):
            lines.append(f"  {'!' if neg else ' '}{render.address(Addr('net', af, low, prefix))}")
        return lines
