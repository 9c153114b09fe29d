"""Properties of datasets, zfsprops(7): what may be set, what is inherited, and where a value comes from."""

from beastack.sim.zfs.errors import Refused
from beastack.sim.zfs.sizes import human, parse
from beastack.sim.zfs.table import FILESYSTEM, SNAPSHOT, VOLUME, Dataset, Table

# name -> default; inherited by what is below
INHERITED = {
    "atime": "on",
    "checksum": "on",
    "compression": "on",
    "copies": "1",
    "dedup": "off",
    "exec": "on",
    "logbias": "latency",
    "mountpoint": "none",
    "primarycache": "all",
    "readonly": "off",
    "recordsize": "131072",
    "secondarycache": "all",
    "setuid": "on",
    "snapdev": "hidden",
    "sync": "standard",
    "volmode": "default",
}
# sizes that belong to one dataset alone
OWN_SIZES = ("quota", "refquota", "reservation", "refreservation")
_ONLY = {"volsize": VOLUME, "volblocksize": VOLUME, "volmode": VOLUME, "quota": FILESYSTEM, "refquota": FILESYSTEM}
_ONCE = ("volblocksize",)
_CHOICES = {"volmode": ("default", "full", "geom", "dev", "none"), "sync": ("standard", "always", "disabled")}
_SWITCHES = ("atime", "readonly", "exec", "setuid")
VOLBLOCKSIZE = 16384


def is_user(name: str) -> bool:
    return ":" in name


def settable(name: str) -> bool:
    return is_user(name) or name in INHERITED or name in OWN_SIZES or name in ("volsize", "volblocksize", "canmount")


def applies(name: str, kind: str) -> bool:
    """Whether datasets of that kind have it."""
    if kind == SNAPSHOT:
        return is_user(name) or name in ("volsize",)
    return _ONLY.get(name, kind) == kind


def check(dataset: str, kind: str, name: str, text: str, new: bool = False) -> str:
    """The value to keep; raises Refused as `zfs set` does."""
    head = f"cannot create '{dataset}'" if new else f"cannot set property for '{dataset}'"
    if not settable(name):
        raise Refused(f"{head}: invalid property '{name}'")
    if is_user(name):
        return text
    if not applies(name, kind):
        raise Refused(f"{head}: '{name}' does not apply to datasets of this type")
    if name in _ONCE and not new:
        raise Refused(f"{head}: '{name}' is readonly")
    if name in OWN_SIZES or name in ("volsize", "volblocksize", "recordsize"):
        if text == "none" and name in OWN_SIZES:
            return "0"
        try:
            return str(parse(text))
        except Refused as error:
            raise Refused(f"{head}: {error.text}") from error
    choices = _CHOICES.get(name, ("on", "off") if name in _SWITCHES else None)
    if choices is not None and text not in choices:
        words = " | ".join(choices)
        raise Refused(f"{head}: '{name}' must be one of '{words}'")
    if name == "mountpoint" and text not in ("none", "legacy"):
        raise Refused(f"{head}: mountpoint={text}: not simulated: no file system is mounted here", 70)
    return text


def find(table: Table, dataset: Dataset, name: str) -> tuple[str, str]:
    """The exact value and its source (`local`, `default`, `inherited from X`, `-`); `-` when it has none."""
    if name in dataset.local:
        return dataset.local[name], "local"
    if name == "volsize" and dataset.kind == SNAPSHOT:
        above = table.datasets[dataset.base]
        return above.local.get("volsize", "-"), "-"
    if not applies(name, dataset.kind):
        return "-", "-"
    if is_user(name) or name in INHERITED:
        above_one = table.parent(dataset)
        while above_one is not None:
            if name in above_one.local:
                return above_one.local[name], f"inherited from {above_one.name}"
            above_one = table.parent(above_one)
        return ("-", "-") if is_user(name) else (INHERITED[name], "default")
    if name in OWN_SIZES:
        return "0", "default"
    if name == "volblocksize":
        return str(VOLBLOCKSIZE), "default"
    return "-", "-"


def value(table: Table, dataset: Dataset, name: str) -> str:
    return find(table, dataset, name)[0]


def shown(name: str, text: str, exact: bool) -> str:
    """As it is printed: `-p` keeps numbers as they are."""
    if exact or not text.isdigit():
        return text
    if name in OWN_SIZES and text == "0":
        return "none"
    sizes = (*OWN_SIZES, "volsize", "volblocksize", "recordsize")
    return human(int(text)) if name in sizes else text
