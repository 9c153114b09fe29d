"""What datasets use and what is left, in bytes, from the blocks that the files of volumes occupy."""

from beastack.sim.zfs import contents
from beastack.sim.zfs.properties import value
from beastack.sim.zfs.table import FILESYSTEM, SNAPSHOT, VOLUME, Dataset, Table

_LABELS = 4 << 20 | 512 << 10  # four labels and the boot block
_EMPTY_FILESYSTEM, _EMPTY_VOLUME, _EMPTY_CLONE = 24576, 12288, 1024
_POOL_ITSELF = 95 << 10
_MIN_SLOP = 128 << 20


def pool_size(device_bytes: int) -> int:
    """What a pool makes of a device: whole metaslabs, at least 16 of them."""
    usable = device_bytes - _LABELS
    if usable < 64 << 20:
        return 0
    shift = max(24, min(29, (usable // 16).bit_length() - 1))
    return usable >> shift << shift


def slop(size: int) -> int:
    """What a pool keeps for itself."""
    return max(size // 32, min(_MIN_SLOP, size // 2))


class Space:
    """The figures of one moment."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def referenced(self, one: Dataset) -> int:
        if one.kind == FILESYSTEM or not one.content:
            return _EMPTY_FILESYSTEM
        return max(_EMPTY_VOLUME, contents.occupied(self._table, one))

    def itself(self, one: Dataset) -> int:
        """Its own blocks, without those that it shares with its origin."""
        if one.kind == SNAPSHOT:
            return self._snapshot(one)
        referenced = self.referenced(one)
        if one.origin:
            return max(_EMPTY_CLONE, referenced - self.referenced(self._table.datasets[one.origin]))
        return referenced

    def _snapshot(self, one: Dataset) -> int:
        """Nothing while the volume is as it was; all of it afterwards, which is the most that it can be."""
        if not one.content or self._table.clones(one.name):
            return 0
        live = self._table.datasets[one.base]
        changed = contents.path(self._table, live).stat().st_mtime_ns
        return self.referenced(one) if changed > contents.path(self._table, one).stat().st_mtime_ns else 0

    def by_snapshots(self, one: Dataset) -> int:
        return sum(self._snapshot(snapshot) for snapshot in self._table.snapshots(one.name))

    def by_reservation(self, one: Dataset) -> int:
        if one.kind != VOLUME:
            return 0
        return max(0, int(value(self._table, one, "refreservation")) - self.itself(one))

    def by_children(self, one: Dataset) -> int:
        if one.kind != FILESYSTEM:
            return 0
        children = [
            below
            for below in self._table.datasets.values()
            if below.kind != SNAPSHOT and below.name.rpartition("/")[0] == one.name
        ]
        total = sum(self.used(child) for child in children)
        return total if "/" in one.name else total + _POOL_ITSELF

    def used(self, one: Dataset) -> int:
        if one.kind == SNAPSHOT:
            return self._snapshot(one)
        return self.itself(one) + self.by_snapshots(one) + self.by_reservation(one) + self.by_children(one)

    def available(self, one: Dataset) -> int:
        """What may still be written there: the pool's rest, cut by each quota above it."""
        pool = self._table.pools[one.pool]
        free = pool.size - slop(pool.size) - self.used(self._table.datasets[pool.name])
        above: Dataset | None = one
        while above is not None:
            quota = int(value(self._table, above, "quota")) if above.kind == FILESYSTEM else 0
            if quota:
                free = min(free, quota - self.used(above))
            above = self._table.parent(above)
        return max(0, free + self.by_reservation(one))
