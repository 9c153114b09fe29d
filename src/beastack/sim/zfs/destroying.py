"""`zfs destroy`: what holds what, in which order it goes, and the list in the refusal."""

from beastack.sim.zfs import contents
from beastack.sim.zfs.errors import Refused, missing
from beastack.sim.zfs.options import Options
from beastack.sim.zfs.table import SNAPSHOT, Dataset, Table


def destroy(table: Table, options: Options, name: str) -> None:
    if "@" in name:
        _snapshots(table, options, name)
        return
    one = table.datasets.get(name)
    if one is None:
        raise missing(name)
    if name in table.pools:
        raise Refused(f"cannot destroy '{name}': operation does not apply to pools\n"
                      f"use 'zfs destroy -r {name}' to destroy all datasets in the pool\n"
                      f"use 'zpool destroy {name}' to destroy the pool itself")  # fmt: skip
    below = table.below(name)
    if below and not options.flags & {"r", "R"}:
        listed = "\n".join(it.name for it in below)
        raise Refused(
            f"cannot destroy '{name}': {one.kind} has children\nuse '-r' to destroy the following datasets:\n{listed}"
        )
    _remove(table, options, name, one.kind, [one, *below])


def _snapshots(table: Table, options: Options, name: str) -> None:
    base, _at, marks = name.partition("@")
    bases = [base, *(it.name for it in table.below(base) if it.kind != SNAPSHOT)] if "r" in options.flags else [base]
    if base not in table.datasets:
        raise missing(base)
    going = [
        table.datasets[f"{of}@{mark}"] for of in bases for mark in marks.split(",") if f"{of}@{mark}" in table.datasets
    ]
    if not going:
        raise Refused("could not find any snapshots to destroy; check snapshot names.")
    _remove(table, options, name, SNAPSHOT, going)


def _dependents(table: Table, going: list[Dataset]) -> list[Dataset]:
    """Clones of what goes, with all below them, and their clones in turn."""
    names, found = {one.name for one in going}, list[Dataset]()
    queue = list(going)
    while queue:
        for clone in table.clones(queue.pop(0).name):
            for one in (clone, *table.below(clone.name)):
                if one.name not in names:
                    names.add(one.name)
                    found.append(one)
                    queue.append(one)
    return found


def _remove(table: Table, options: Options, name: str, kind: str, going: list[Dataset]) -> None:
    clones = _dependents(table, going)
    if clones and "R" not in options.flags:
        listed = "\n".join(it.name for it in clones if it.kind != SNAPSHOT)
        raise Refused(
            f"cannot destroy '{name}': {kind} has dependent clones\n"
            f"use '-R' to destroy the following datasets:\n{listed}"
        )
    everything = [*going, *clones]
    for one in everything:
        if contents.busy(table, one):
            raise Refused(f"cannot destroy '{one.name}': dataset is busy")
    if "n" in options.flags:
        return
    for one in everything:
        contents.drop(table, one)
        table.datasets.pop(one.name, None)
