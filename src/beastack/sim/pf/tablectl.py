"""Owns `pfctl -t TABLE -T …` (pfctl(8)): the commands on tables and their words (04-pf, 14-ipv6-and-limits)."""

from typing import TYPE_CHECKING

from beastack.sim.pf.anchors import Anchor
from beastack.sim.pf.hosts import table_member
from beastack.sim.pf.model import Addr
from beastack.sim.pf.tables import Table

if TYPE_CHECKING:
    from beastack.sim.pf.control import Control

COMMANDS = ["kill", "flush", "add", "delete", "replace", "show", "test", "zero", "expire", "reset"]
_MISSING = "pfctl: Table does not exist.\n"


def run(control: "Control", rest: list[str]) -> int:
    """One command; the exit status."""
    if not control.table:
        control.err.append("pfctl: no table specified\n")
        return 1
    anchor = control.found_anchor()
    table = anchor.tables.get(control.table) if anchor is not None else None
    command = control.command
    if command in ("add", "replace"):
        return _fill(control, anchor, table, rest)
    if command == "kill":
        if anchor is not None and table is not None:
            del anchor.tables[control.table]
            control.tidy(anchor)
        control.say("1 table deleted." if table is not None else "0 tables deleted.")
        return 0
    if table is None:
        control.err.append("pfctl: Operation not supported by device\n" if command in ("flush", "expire") else _MISSING)
        return 255
    return _existing(control, table, rest)


def _existing(control: "Control", table: Table, rest: list[str]) -> int:
    command = control.command
    if command == "show":
        control.out += [line + "\n" for line in table.show()]
    elif command == "flush":
        control.say(f"{table.flush()} addresses deleted.")
    elif command == "expire":
        if len(rest) != 1 or not rest[0].isdigit():
            control.err.append("pfctl: expire: a number of seconds is wanted\n")
            return 1
        count = len(table.members)
        gone = table.expire(int(rest[0]), control.now)
        control.say(f"{gone}/{max(count, gone) if gone else 0} addresses expired.")
    elif command in ("delete", "test"):
        addresses = _addresses(control, rest)
        if addresses is None:
            return 1
        if command == "test":
            hits = sum(table.matches(one) for one in addresses)
            control.say(f"{hits}/{len(addresses)} addresses match.")
            return 0 if hits == len(addresses) else 2
        control.say(f"{table.delete(addresses)}/{len(addresses)} addresses deleted.")
    else:
        control.say(f"{len(table.members)} addresses zeroed" if command == "zero" else "0 addresses reset")
    return 0


def _fill(control: "Control", anchor: Anchor | None, table: Table | None, rest: list[str]) -> int:
    addresses = _addresses(control, rest)
    if addresses is None:
        return 1
    total = sum(len(one.members) for node in control.pf.main.walk() for one in node.tables.values())
    if total + len(addresses) > control.pf.status.limits["table-entries"]:
        control.err.append("pfctl: Cannot allocate memory\n")
        return 255
    if len(control.table) > 31:
        control.err.append("pfctl: table name too long\n")
        return 1
    if table is None:
        anchor = anchor or control.pf.main.ensure(control.anchor)
        table = anchor.tables.setdefault(control.table, Table(control.table))
        control.say("1 table created.")
    if control.command == "add":
        control.say(f"{table.add(addresses, control.now)}/{len(addresses)} addresses added.")
        return 0
    counts = zip(("added", "deleted", "changed"), table.replace(addresses, control.now), strict=True)
    lines = [f"{count} addresses {word}." for word, count in counts if count]
    for line in lines or ["no changes."]:
        control.say(line)
    return 0


def _addresses(control: "Control", rest: list[str]) -> list[Addr] | None:
    """The addresses of the command line and of -f FILE; None, with words said, when one cannot be read."""
    words = list(rest)
    if control.file is not None:
        lines = control.text_of(control.file).splitlines()
        words += [word for line in lines for word in line.partition("#")[0].replace("! ", "!").split()]
    found = []
    for word in words:
        addr = table_member(word)
        if addr is None:
            control.err.append(f"no IP address found for {word}\npfctl: cannot decode {word}\n")
            return None
        found.append(addr)
    return found
