"""zfs(8): `python -m beastack.sim.zfs.main SUBCOMMAND ARGS`."""

import os
import sys
from pathlib import Path

from beastack.sim.zfs import contents, destroying, listing, making, streams
from beastack.sim.zfs.errors import Refused, not_simulated
from beastack.sim.zfs.options import exactly, parse
from beastack.sim.zfs.table import Table, opened

USAGE = "usage: zfs command args ...\n"
Answer = tuple[str, str, int]


def _list(table: Table, argv: list[str]) -> Answer:
    options, names = parse(argv, "HprDo:t:s:S:d:")
    out, complaints = listing.list_(table, options, names)
    return out, complaints, int(bool(complaints) and not complaints.startswith("no datasets"))


def _get(table: Table, argv: list[str]) -> Answer:
    options, rest = parse(argv, "Hpro:t:s:d:")
    if not rest:
        raise Refused("missing property argument", 2)
    out, complaints = listing.get(table, options, rest[0], rest[1:])
    return out, complaints, int(bool(complaints))


def _change(table: Table, command: str, argv: list[str]) -> None:
    match command:
        case "create":
            options, rest = parse(argv, "psuV:b:o:", "o")
            exactly(rest, 1, "dataset")
            making.create(table, options, rest[0])
        case "snapshot" | "snap":
            options, rest = parse(argv, "ro:", "o")
            if not rest:
                raise Refused("missing snapshot argument", 2)
            making.snapshot(table, options, rest)
        case "clone":
            options, rest = parse(argv, "po:", "o")
            exactly(rest, 2, "target dataset")
            making.clone(table, options, rest[0], rest[1])
        case "promote":
            _options, rest = parse(argv, "")
            exactly(rest, 1, "clone filesystem")
            making.promote(table, rest[0])
        case "rename":
            options, rest = parse(argv, "fpu")
            exactly(rest, 2, "target dataset")
            making.rename(table, options, rest[0], rest[1])
        case "set":
            assignments = [word for word in argv if "=" in word]
            names = argv[len(assignments) :]
            if not assignments or not names:
                raise Refused("missing property=value argument(s)" if not assignments else "missing dataset name(s)", 2)
            making.set_(table, assignments, names)
        case "inherit":
            options, rest = parse(argv, "r")
            if len(rest) < 2:
                raise Refused("missing dataset argument", 2)
            making.inherit(table, options, rest[0], rest[1:])
        case "rollback":
            options, rest = parse(argv, "rRf")
            exactly(rest, 1, "snapshot")
            making.rollback(table, options, rest[0])
        case "destroy":
            options, rest = parse(argv, "fnrRv")
            exactly(rest, 1, "dataset")
            destroying.destroy(table, options, rest[0])
        case _:
            raise not_simulated("zfs", command)


def run(directory: Path, argv: list[str]) -> Answer:
    """Output, complaints, exit status."""
    if not argv:
        return "", f"missing command\n{USAGE}", 2
    command, rest = argv[0], argv[1:]
    try:
        if command in ("send", "recv", "receive"):
            _stream(directory, command, rest)
            return "", "", 0
        with opened(directory) as table:
            contents.nodes(table)
            if command in ("list", "get"):
                return _list(table, rest) if command == "list" else _get(table, rest)
            _change(table, command, rest)
            contents.nodes(table)
        return "", "", 0
    except Refused as refused:
        return "", refused.text, refused.status


def _stream(directory: Path, command: str, argv: list[str]) -> None:
    _options, rest = parse(argv, "" if command == "send" else "u")
    exactly(rest, 1, "snapshot")
    if command == "send":
        streams.send(directory, rest[0], sys.stdout.buffer)
    else:
        streams.receive(directory, rest[0], sys.stdin.buffer)


def main() -> int:
    directory = os.environ.get("BEASTACK_SIM")
    if not directory:
        sys.stderr.write("zfs: BEASTACK_SIM is not set: run inside a simulated host\n")
        return 71
    out, err, status = run(Path(directory), sys.argv[1:])
    sys.stderr.write(err)
    sys.stdout.write(out)
    return status


if __name__ == "__main__":
    sys.exit(main())
