"""Values of the columns and properties that are read, not set; and the order in which `get all` shows them."""

import time
from collections.abc import Callable

from beastack.sim.zfs import properties
from beastack.sim.zfs.sizes import human
from beastack.sim.zfs.space import Space
from beastack.sim.zfs.table import FILESYSTEM, SNAPSHOT, Dataset, Table

SHORT = {"refer": "referenced", "avail": "available", "volblock": "volblocksize", "reserv": "reservation",
         "usedsnap": "usedbysnapshots", "usedds": "usedbydataset", "usedchild": "usedbychildren",
         "usedrefreserv": "usedbyrefreservation", "refreserv": "refreservation"}  # fmt: skip
SPACE = ("name", "avail", "used", "usedsnap", "usedds", "usedrefreserv", "usedchild")
_SIZES = ("used", "available", "referenced", "usedbysnapshots", "usedbydataset", "usedbychildren",
          "usedbyrefreservation", "logicalused", "logicalreferenced", "written")  # fmt: skip
ALL = ("type", "creation", "used", "available", "referenced", "origin", "quota", "reservation", "volsize",
       "volblocksize", "recordsize", "mountpoint", "compression", "readonly", "sync", "volmode", "refquota",
       "refreservation", "clones", "guid", "createtxg", "usedbysnapshots", "usedbydataset", "usedbychildren",
       "usedbyrefreservation")  # fmt: skip
_KNOWN = {*ALL, *_SIZES, *SHORT.values(), *properties.INHERITED, *properties.OWN_SIZES, "name", "mounted", "canmount"}


def known(name: str) -> bool:
    return properties.is_user(name) or SHORT.get(name, name) in _KNOWN


def guid(one: Dataset) -> int:
    """Stays the same for a dataset's life."""
    return one.created << 32 | one.txg


class Columns:
    """Reads any property of any dataset."""

    def __init__(self, table: Table, exact: bool) -> None:
        self._table, self._exact, self._space = table, exact, Space(table)

    def read(self, one: Dataset, name: str) -> tuple[str, str]:
        """The printed value and its source."""
        name = SHORT.get(name, name)
        if name in _SIZES:
            number = self._size(one, name)
            return ("-" if number is None else str(number) if self._exact else human(number)), "-"
        simple = self._simple(one).get(name)
        if simple is not None:
            return simple(), "-"
        text, source = properties.find(self._table, one, name)
        return properties.shown(name, text, self._exact), source

    def _simple(self, one: Dataset) -> dict[str, Callable[[], str]]:
        made = {
            "name": lambda: one.name,
            "type": lambda: one.kind,
            "origin": lambda: one.origin or "-",
            "clones": lambda: self._clones(one),
            "creation": lambda: str(one.created) if self._exact else time.strftime(
                "%a %b %e %H:%M %Y", time.localtime(one.created)),
            "guid": lambda: str(guid(one)),
            "createtxg": lambda: str(one.txg),
            "mounted": lambda: "no" if one.kind == FILESYSTEM else "-",
        }  # fmt: skip
        if one.kind != FILESYSTEM:
            for name in ("mountpoint", "recordsize", "canmount", "atime", "exec", "setuid"):
                made[name] = lambda: "-"
        return made

    def _clones(self, one: Dataset) -> str:
        if one.kind != SNAPSHOT:
            return "-"
        return ",".join(clone.name for clone in self._table.clones(one.name))

    def _size(self, one: Dataset, name: str) -> int | None:
        space, live = self._space, one.kind != SNAPSHOT
        match name:
            case "used" | "logicalused":
                return space.used(one)
            case "referenced" | "logicalreferenced" | "written":
                return space.referenced(one)
            case "available":
                return space.available(one) if live else None
            case "usedbysnapshots":
                return space.by_snapshots(one) if live else None
            case "usedbydataset":
                return space.itself(one) if live else None
            case "usedbychildren":
                return space.by_children(one) if live else None
        return space.by_reservation(one) if live else None
