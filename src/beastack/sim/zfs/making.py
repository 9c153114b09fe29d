"""What makes datasets, and the changes that keep them: promote, rename, set, inherit, rollback."""

import re

from beastack.sim.zfs import contents, properties
from beastack.sim.zfs.errors import Refused, missing
from beastack.sim.zfs.options import Options
from beastack.sim.zfs.sizes import human, parse
from beastack.sim.zfs.space import Space
from beastack.sim.zfs.table import FILESYSTEM, SNAPSHOT, VOLUME, Dataset, Table

_PART = re.compile(r"[A-Za-z0-9_.:-][A-Za-z0-9_.: -]*")
_MAX_NAME = 255


def _new_name(table: Table, name: str, parents: bool = False) -> None:
    """Raises Refused when a dataset of that name cannot be made; makes what is missing above it with `-p`."""
    head = f"cannot create '{name}'"
    if len(name) > _MAX_NAME:
        raise Refused(f"{head}: name is too long")
    parts = name.split("/")
    if any(not part for part in parts):
        raise Refused(f"{head}: empty component or misplaced '/' in name")
    for part in parts:
        if not _PART.fullmatch(part):
            bad = re.sub(r"[A-Za-z0-9_.: -]", "", part)[:1] or part[0]
            raise Refused(f"{head}: invalid character '{bad}' in name")
    if parts[0] not in table.pools:
        raise Refused(f"{head}: no such pool '{parts[0]}'")
    if name in table.datasets:
        raise Refused(f"{head}: dataset already exists")
    above = name.rpartition("/")[0]
    if above not in table.datasets:
        if not parents:
            raise Refused(f"{head}: parent does not exist")
        _new_name(table, above, True)
        table.add(above, FILESYSTEM)
    if table.datasets[above].kind != FILESYSTEM:
        raise Refused(f"{head}: parent is not a filesystem")


def _checked(name: str, kind: str, options: Options) -> dict[str, str]:
    given = options.properties().items()
    return {key: properties.check(name, kind, key, text, new=True) for key, text in given}


def create(table: Table, options: Options, name: str) -> None:
    if "p" in options.flags and name in table.datasets:
        return
    if "V" not in options.values:
        local = _checked(name, FILESYSTEM, options)
        _new_name(table, name, "p" in options.flags)
        table.add(name, FILESYSTEM).local = local
        return
    local = _checked(name, VOLUME, options)
    block = parse(options.value("b", local.get("volblocksize", str(properties.VOLBLOCKSIZE))))
    size = -(-parse(options.values["V"]) // block) * block  # rounded up to whole blocks
    if size == 0:
        raise Refused(f"cannot create '{name}': volume size cannot be zero")
    _new_name(table, name, "p" in options.flags)
    local |= {"volsize": str(size)}
    if block != properties.VOLBLOCKSIZE:
        local["volblocksize"] = str(block)
    if "s" not in options.flags:
        local.setdefault("refreservation", str(size))
    _room(table, name.rpartition("/")[0], int(local.get("refreservation", "0")), f"cannot create '{name}'")
    table.add(name, VOLUME, contents.make(table, size)).local = local


def _room(table: Table, above: str, wanted: int, head: str) -> None:
    if wanted > Space(table).available(table.get(above)):
        raise Refused(f"{head}: out of space")


def snapshot(table: Table, options: Options, names: list[str]) -> None:
    """All of them or none."""
    wanted = list[tuple[Dataset, str]]()
    for name in names:
        base, at, mark = name.partition("@")
        if not at or not mark or not _PART.fullmatch(mark):
            raise Refused(f"cannot create snapshot '{name}': missing '@' delimiter in snapshot name")
        if base not in table.datasets:
            raise Refused(f"cannot create snapshot '{name}': dataset does not exist")
        below = [one for one in table.below(base) if one.kind != SNAPSHOT] if "r" in options.flags else []
        for one in (table.datasets[base], *below):
            if f"{one.name}@{mark}" in table.datasets:
                raise Refused(f"cannot create snapshot '{one.name}@{mark}': dataset already exists")
            wanted.append((one, mark))
    for one, mark in wanted:
        content = contents.copy(table, one) if one.content else ""
        table.add(f"{one.name}@{mark}", SNAPSHOT, content).local = _checked(one.name, SNAPSHOT, options)


def clone(table: Table, options: Options, source: str, name: str) -> None:
    origin = table.get(source)
    if origin.kind != SNAPSHOT:
        raise Refused(f"cannot open '{source}': operation not applicable to datasets of this type")
    if "p" in options.flags and name in table.datasets:
        return
    live = table.datasets[origin.base]
    local = _checked(name, live.kind, options)
    _new_name(table, name, "p" in options.flags)
    content = contents.copy(table, origin) if origin.content else ""
    made = table.add(name, live.kind, content, source)
    made.local = {key: text for key, text in live.local.items() if key in ("volsize", "volblocksize")} | local
    if content:
        made.local["volsize"] = str(contents.path(table, made).stat().st_size)


def promote(table: Table, name: str) -> None:
    """The clone takes over its origin's snapshots up to the one that it came from."""
    one = table.get(name)
    if not one.origin:
        raise Refused(f"cannot promote '{name}': not a cloned filesystem")
    origin = table.datasets[one.origin]
    old = table.datasets[origin.base]
    for shot in [it for it in table.snapshots(old.name) if it.txg <= origin.txg]:
        mark = shot.name.partition("@")[2]
        if f"{name}@{mark}" in table.datasets:
            raise Refused(f"cannot promote '{name}': snapshot name '{mark}' from origin conflicts with '{name}@{mark}'")
        table.rename(shot.name, f"{name}@{mark}")
    one.origin, old.origin = old.origin, origin.name


def rename(table: Table, options: Options, old: str, new: str) -> None:
    one = table.get(old)
    if one.kind == SNAPSHOT:
        new = f"{one.base}{new}" if new.startswith("@") else new
        if new.partition("@")[0] != one.base:
            raise Refused("cannot rename to '" + new + "': snapshots must be part of same dataset")
    if new in table.datasets:
        raise Refused(f"cannot rename '{old}': dataset already exists")
    if one.kind != SNAPSHOT:
        try:
            _new_name(table, new, "p" in options.flags)
        except Refused as error:
            raise Refused(error.text.replace(f"cannot create '{new}'", f"cannot rename to '{new}'")) from error
        if new.startswith(f"{old}/") or new.partition("/")[0] != one.pool:
            raise Refused(f"cannot rename to '{new}': datasets must be within same pool")
    table.rename(old, new)


def set_(table: Table, assignments: list[str], names: list[str]) -> None:
    for name in names:
        one = table.get(name)
        for text in assignments:
            key, _equals, given = text.partition("=")
            value = properties.check(name, one.kind, key, given)
            if key == "volsize":
                _set_size(table, one, int(value))
            if key in ("quota", "refquota") and value != "0" and int(value) < Space(table).used(one):
                raise Refused(f"cannot set property for '{name}': size is less than current used or reserved space")
            one.local[key] = value


def _set_size(table: Table, one: Dataset, size: int) -> None:
    """Grows and shrinks without a word, as FreeBSD does."""
    head = f"cannot set property for '{one.name}'"
    block = int(properties.value(table, one, "volblocksize"))
    if size == 0 or size % block:
        raise Refused(f"{head}: 'volsize' must be a multiple of volume block size ({human(block)})")
    reserved = int(one.local.get("refreservation", "0"))
    if reserved:
        _room(table, one.name, size, head)
        one.local["refreservation"] = str(size)
    contents.resize(table, one, size)


def inherit(table: Table, options: Options, key: str, names: list[str]) -> None:
    if not properties.settable(key):
        raise Refused(f"invalid property '{key}'", 2)
    if not properties.is_user(key) and key not in properties.INHERITED:
        raise Refused(f"'{key}' property cannot be inherited")
    for name in names:
        one = table.get(name)
        for it in (one, *(table.below(name) if "r" in options.flags else ())):
            it.local.pop(key, None)


def rollback(table: Table, options: Options, name: str) -> None:
    shot = table.datasets.get(name)
    if shot is None or shot.kind != SNAPSHOT:
        raise missing(name)
    live = table.datasets[shot.base]
    later = [one for one in table.snapshots(live.name) if one.txg > shot.txg]
    if later and not options.flags & {"r", "R"}:
        raise Refused(
            f"cannot rollback to '{name}': more recent snapshots or bookmarks exist\n"
            "use '-r' to force deletion of the following snapshots and bookmarks:\n"
            + "\n".join(one.name for one in later)
        )
    for one in later:
        if table.clones(one.name):
            raise Refused(f"cannot rollback to '{name}': clones of later snapshots exist")
    if contents.busy(table, live):
        raise Refused(f"cannot rollback '{live.name}': dataset is busy")
    for one in later:
        contents.drop(table, one)
        del table.datasets[one.name]
    if live.content:
        content = contents.copy(table, shot)
        contents.drop(table, live)
        live.content = content
        live.local["volsize"] = str(contents.path(table, live).stat().st_size)
