"""zpool(8): `python -m beastack.sim.zfs.pool SUBCOMMAND ARGS`."""

import os
import re
import sys
from pathlib import Path

from beastack.sim.zfs import contents, properties
from beastack.sim.zfs.errors import Refused, no_pool, not_simulated
from beastack.sim.zfs.options import Options, exactly, parse
from beastack.sim.zfs.sizes import human
from beastack.sim.zfs.space import Space, pool_size
from beastack.sim.zfs.table import FILESYSTEM, Pool, Table, opened

_COLUMNS = ("name", "size", "alloc", "free", "ckpoint", "expandsz", "frag", "cap", "dedup", "health", "altroot")
_LONG = {"allocated": "alloc", "capacity": "cap", "fragmentation": "frag", "dedupratio": "dedup"}
_RESERVED = ("mirror", "raidz", "draid", "spare", "log", "special")
_ALREADY = "is part of active pool"


def _device_size(device: str) -> int:
    path = Path(device if device.startswith("/") else f"/dev/{device}")
    if not path.exists():
        if device.startswith("/"):
            raise Refused(f"cannot open '{device}': No such file or directory")
        raise Refused(f"cannot open '{device}': no such device in /dev\nmust be a full path or shorthand device name")
    with path.open("rb") as file:
        return file.seek(0, os.SEEK_END)


def _create(table: Table, argv: list[str]) -> None:
    # -o is the pool's, -O its first file system's; both are read into one list and told apart by their letter
    words = [word if word != "-O" else "-P" for word in argv]
    options, rest = parse(words, "fdm:o:P:", "P")
    if "o" in options.values:
        raise not_simulated("zpool", "create -o")
    if not rest:
        raise Refused("missing pool name argument", 2)
    name, devices = rest[0], rest[1:]
    head = f"cannot create '{name}'"
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.:-]*", name) or name.startswith(_RESERVED):
        raise Refused(f"{head}: pool name is reserved or holds an invalid character")
    if name in table.pools:
        raise Refused(f"{head}: pool already exists")
    if not devices:
        raise Refused("missing vdev specification", 2)
    if devices[0].startswith(_RESERVED):
        raise not_simulated("zpool", devices[0])
    for pool in table.pools.values():
        for device in devices:
            if device in pool.devices:
                raise Refused(f"invalid vdev specification\nuse '-f' to override the following errors:\n"
                              f"{device} {_ALREADY} '{pool.name}'")  # fmt: skip
    mountpoint = options.value("m", f"/{name}")
    local = {key: properties.check(name, FILESYSTEM, key, text, True) for key, text in options.properties().items()}
    local["mountpoint"] = properties.check(name, FILESYSTEM, "mountpoint", mountpoint, True)
    sizes = [pool_size(_device_size(device)) for device in devices]
    if 0 in sizes:
        raise Refused(f"{head}: one or more devices is less than the minimum size (64M)")
    table.pools[name] = Pool(name, sum(sizes), devices)
    table.add(name, FILESYSTEM).local = local


def _destroy(table: Table, argv: list[str]) -> None:
    _options, rest = parse(argv, "f")
    exactly(rest, 1, "pool")
    name = rest[0]
    if name not in table.pools:
        raise no_pool(name)
    going = [one for one in table.datasets.values() if one.pool == name]
    for one in going:
        if contents.busy(table, one):
            raise Refused(f"cannot destroy '{name}': pool is busy")
    for one in going:
        contents.drop(table, one)
        del table.datasets[one.name]
    del table.pools[name]


def _value(table: Table, pool: Pool, column: str, exact: bool) -> str:
    alloc = Space(table).used(table.datasets[pool.name])
    reserved = sum(Space(table).by_reservation(one) for one in table.datasets.values() if one.pool == pool.name)
    alloc -= reserved
    sizes = {"size": pool.size, "alloc": alloc, "free": pool.size - alloc}
    if column in sizes:
        return str(sizes[column]) if exact else human(sizes[column])
    percent = "" if exact else "%"
    plain = {
        "name": pool.name,
        "ckpoint": "-",
        "expandsz": "-",
        "frag": f"0{percent}",
        "cap": f"{100 * alloc // pool.size}{percent}",
        "dedup": "1.00" if exact else "1.00x",
        "health": "ONLINE",
        "altroot": "-",
    }
    return plain[column]


def _list(table: Table, options: Options, names: list[str]) -> tuple[str, str, int]:
    columns = [_LONG.get(name, name) for name in options.value("o", ",".join(_COLUMNS)).split(",")]
    for name in columns:
        if name not in _COLUMNS:
            raise Refused(f"bad property list: invalid property '{name}'", 2)
    scripted, exact = "H" in options.flags, "p" in options.flags
    found, complaints = [], ""
    for name in names or sorted(table.pools):
        if name in table.pools:
            found.append(table.pools[name])
        else:
            complaints += no_pool(name).text
    if not table.pools and not names and not scripted:
        return "no pools available\n", "", 0
    rows = [[_value(table, pool, column, exact) for column in columns] for pool in found]
    if scripted or not rows:
        return "".join("\t".join(row) + "\n" for row in rows), complaints, int(bool(complaints))
    grid = [[name.upper() for name in columns], *rows]
    widths = [max(len(row[place]) for row in grid) for place in range(len(columns))]
    lines = [
        "  ".join(
            text.ljust(width) if column in ("name", "altroot") else text.rjust(width)
            for text, width, column in zip(row, widths, columns, strict=True)
        ).rstrip()
        for row in grid
    ]
    return "".join(f"{line}\n" for line in lines), complaints, int(bool(complaints))


def run(directory: Path, argv: list[str]) -> tuple[str, str, int]:
    """Output, complaints, exit status."""
    if not argv:
        return "", "missing command\nusage: zpool command args ...\n", 2
    command, rest = argv[0], argv[1:]
    try:
        with opened(directory) as table:
            match command:
                case "create":
                    _create(table, rest)
                case "destroy":
                    _destroy(table, rest)
                    contents.remove_all(table)
                case "list":
                    options, names = parse(rest, "Hpvo:")
                    return _list(table, options, names)
                case _:
                    raise not_simulated("zpool", command)
            contents.nodes(table)
        return "", "", 0
    except Refused as refused:
        return "", refused.text, refused.status


def main() -> int:
    directory = os.environ.get("BEASTACK_SIM")
    if not directory:
        sys.stderr.write("zpool: BEASTACK_SIM is not set: run inside a simulated host\n")
        return 71
    out, err, status = run(Path(directory), sys.argv[1:])
    sys.stderr.write(err)
    sys.stdout.write(out)
    return status


if __name__ == "__main__":
    sys.exit(main())
