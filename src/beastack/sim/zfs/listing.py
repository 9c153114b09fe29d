"""`zfs list` and `zfs get`: which datasets, which columns, and how they are laid out."""

from beastack.sim.zfs import columns
from beastack.sim.zfs.errors import Refused, missing
from beastack.sim.zfs.options import Options
from beastack.sim.zfs.table import FILESYSTEM, SNAPSHOT, VOLUME, Dataset, Table

_TYPES = {"filesystem": FILESYSTEM, "fs": FILESYSTEM, "volume": VOLUME, "vol": VOLUME, "snapshot": SNAPSHOT,
          "snap": SNAPSHOT}  # fmt: skip
_HEADS = {"available": "AVAIL", "referenced": "REFER", "usedbysnapshots": "USEDSNAP", "usedbydataset": "USEDDS",
          "usedbychildren": "USEDCHILD", "usedbyrefreservation": "USEDREFRESERV"}  # fmt: skip


def _types(text: str) -> set[str]:
    found = set[str]()
    for word in text.split(","):
        if word == "all":
            return {FILESYSTEM, VOLUME, SNAPSHOT}
        if word not in _TYPES:
            raise Refused(f"invalid type '{word}'", 2)
        found.add(_TYPES[word])
    return found


def _select(table: Table, names: list[str], options: Options, kinds: set[str] | None) -> tuple[list[Dataset], str]:
    """What is asked for, and the words on names that do not exist. `kinds` None: what -r meets by default."""
    depth = int(options.value("d", "-1")) if "d" in options.values else (-1 if "r" in options.flags else 0)
    plain = kinds or {FILESYSTEM, VOLUME}
    if not names:
        limit = depth if "d" in options.values else -1
        roots = [one for one in table.sorted() if one.name in table.pools]
        return [it for root in roots for it in _tree(table, root, limit) if it.kind in plain], ""
    found, complaints = list[Dataset](), ""
    for name in names:
        one = table.datasets.get(name)
        if one is None:
            complaints += missing(name).text
            continue
        # a snapshot type asked of a volume means its snapshots
        limit = 1 if depth == 0 and kinds == {SNAPSHOT} and one.kind != SNAPSHOT else depth
        tree = _tree(table, one, limit)
        found += [it for it in tree if it.kind in plain or (it is one and kinds is None)]
    return found, complaints


def _tree(table: Table, root: Dataset, depth: int) -> list[Dataset]:
    if depth == 0:
        return [root]

    def level(one: Dataset) -> int:
        return one.name[len(root.name) :].count("/") + one.name.count("@")

    return [root, *(one for one in table.below(root.name) if depth < 0 or level(one) <= depth)]


def _sorted(found: list[Dataset], read: columns.Columns, options: Options) -> list[Dataset]:
    for letter, down in (("S", True), ("s", False)):
        if letter in options.values:
            name = options.values[letter]
            if not columns.known(name):
                raise Refused(f"invalid property '{name}'", 2)

            def key(one: Dataset, name: str = name) -> tuple[int, str]:
                text = read.read(one, name)[0]
                return (int(text), "") if text.isdigit() else (-1, text)

            return sorted(found, key=key, reverse=down)
    return found


def _laid_out(rows: list[list[str]], heads: list[str], scripted: bool, left: set[int]) -> str:
    if scripted:
        return "".join("\t".join(row) + "\n" for row in rows)
    widths = [max(len(row[place]) for row in [heads, *rows]) for place in range(len(heads))]
    lines = []
    for row in [heads, *rows]:
        cells = [
            text.ljust(width) if place in left else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip() if len(heads) - 1 in left else "  ".join(cells))
    return "".join(f"{line}\n" for line in lines)


def list_(table: Table, options: Options, names: list[str]) -> tuple[str, str]:
    """Output, complaints."""
    text = options.value("o", "name,used,avail,refer,mountpoint")
    wanted = list(columns.SPACE) if text == "space" else text.split(",")
    for name in wanted:
        if not columns.known(name):
            raise Refused(f"bad property list: invalid property '{name}'", 2)
    kinds = _types(options.value("t", "")) if "t" in options.values else None
    found, complaints = _select(table, names, options, kinds)
    exact = columns.Columns(table, True)
    read = exact if "p" in options.flags else columns.Columns(table, False)
    found = _sorted(found, exact, options)
    rows = [[read.read(one, name)[0] for name in wanted] for one in found]
    if not rows:
        return "", complaints or ("" if "H" in options.flags else "no datasets available\n")
    heads = [_HEADS.get(columns.SHORT.get(name, name), name.upper()) for name in wanted]
    left = {place for place, name in enumerate(wanted) if name in ("name", "mountpoint", "origin", "type", "clones")}
    return _laid_out(rows, heads, "H" in options.flags, left), complaints


def get(table: Table, options: Options, asked: str, names: list[str]) -> tuple[str, str]:
    """Output, complaints."""
    fields = options.value("o", "name,property,value,source").split(",")
    if fields == ["all"]:
        fields = ["name", "property", "value", "source"]
    for name in fields:
        if name not in ("name", "property", "value", "source"):
            raise Refused(f"invalid column name '{name}'", 2)
    sources = set(options.value("s", "local,default,inherited,none,temporary,received").split(","))
    kinds = _types(options.value("t", "")) if "t" in options.values else {FILESYSTEM, VOLUME, SNAPSHOT}
    found, complaints = _select(table, names, options, kinds)
    read = columns.Columns(table, "p" in options.flags)
    rows = []
    for one in found:
        user = sorted(name for name in one.local if ":" in name)
        properties = [*columns.ALL, *user] if asked == "all" else asked.split(",")
        for name in properties:
            if not columns.known(name):
                raise Refused(f"bad property list: invalid property '{name}'", 2)
            value, source = read.read(one, name)
            if asked == "all" and value == "-":
                continue
            if (source.partition(" ")[0] if source != "-" else "none") in sources:
                row = {"name": one.name, "property": name, "value": value, "source": source}
                rows.append([row[field] for field in fields])
    heads = [name.upper() for name in fields]
    return _laid_out(rows, heads, "H" in options.flags, set(range(len(fields)))) if rows else "", complaints
