"""Owns jls(8): the table, chosen parameters, and libxo's JSON."""

import json

from beastack.sim.engine.jails import Jail
from beastack.sim.engine.sysctls import RELEASE
from beastack.sim.net.errors import Failed, not_simulated
from beastack.sim.programs.base import Reply, Request

_HEADER = "   JID  IP Address      Hostname                      Path\n"


def everything(jail: Jail, index: int) -> dict[str, str | bool | list[str]]:
    """Every parameter in the order in which `jls -n` gives them."""
    own = jail.parameters
    values: dict[str, str | bool | list[str]] = {
        "devfs_ruleset": own.get("devfs_ruleset", "0"),
        "dying": False,
        "enforce_statfs": own.get("enforce_statfs", "2"),
        "env": own.get("env", ""),
        "host": "new",
        "ip4": own.get("ip4", "inherit"),
        "ip6": own.get("ip6", "inherit"),
        "jid": str(jail.jid),
        "meta": own.get("meta", ""),
        "name": jail.name,
        "osreldate": own.get("osreldate", "1501000"),
        "osrelease": own.get("osrelease", RELEASE),
        "parent": "0",
        "path": jail.path,
        "persist": True,
        "securelevel": own.get("securelevel", "-1"),
        "sysvmsg": own.get("sysvmsg", "disable"),
        "sysvsem": own.get("sysvsem", "disable"),
        "sysvshm": own.get("sysvshm", "disable"),
        "vnet": "new" if jail.vnet is not None else "inherit",
    }
    values |= {f"allow.{name}": on for name, on in jail.allow.items()}
    values |= {
        "children.cur": "0",
        "children.max": own.get("children.max", "0"),
        "cpuset.id": own.get("cpuset.id", str(index + 2)),
        "host.domainname": own.get("host.domainname", ""),
        "host.hostid": own.get("host.hostid", "0"),
        "host.hostname": jail.hostname,
        "host.hostuuid": own.get("host.hostuuid", "00000000-0000-0000-0000-000000000000"),
        "ip4.addr": [],
        "ip4.saddrsel": True,
        "ip6.addr": [],
        "ip6.saddrsel": True,
    }
    return values


def _json_fields(values: dict[str, str | bool | list[str]]) -> str:
    """libxo puts a space before a list that follows other fields."""
    text = ""
    for name, value in values.items():
        separator = "" if not text else ", " if isinstance(value, list) else ","
        text += (
            f"{separator}{json.dumps(name)}: []"
            if value == []
            else (f"{separator}{json.dumps(name)}:{json.dumps(value)}")
        )
    return "{" + text + "}"


def _plain(value: str | bool | list[str]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(value) or "-"
    return value or '""'


def run(request: Request) -> Reply:
    rest, libxo = list(request.argv), ""
    named = headed = False
    key: str | None = None
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        word = rest.pop(0)
        if word.startswith("--libxo"):
            libxo = word.partition("=")[2] if "=" in word else (rest.pop(0) if rest else "")
            continue
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            match letter:
                case "n":
                    named = True
                case "h":
                    headed = True
                case "q" | "d":
                    continue  # nothing here needs quotes, and no jail is ever seen dying
                case "j":
                    key, letters = letters or (rest.pop(0) if rest else ""), ""
                case _:
                    raise not_simulated("jls", f"-{letter}")
    if libxo not in ("", "json", "text"):
        raise not_simulated("jls", f"--libxo {libxo}")
    return _answer(request, key, rest, named, headed, libxo == "json")


def _answer(request: Request, key: str | None, names: list[str], named: bool, headed: bool, as_json: bool) -> Reply:
    state = request.state
    jails = [] if request.jail is not None else list(state.jails.values())
    reply = Reply()
    if key is not None:
        found = state.find_jail(key)
        jails = [found] if found is not None and found in jails else []
        if not jails:
            reply.err, reply.rc = f'jls: jail "{key}" not found\n', 1
    table = not names and not named and not headed
    rows = []
    for index, jail in enumerate(jails):
        values = everything(jail, index + 1)
        unknown = [name for name in names if name not in values and f"allow.{name}" not in values]
        if unknown:
            raise Failed(f"jls: unknown parameter: {unknown[0]}")
        rows.append((jail, {name: values[name] for name in names} if names else values))
    if as_json:
        if table:
            texts = [
                f'{{"jid":{jail.jid},"ipv4":"","hostname":{json.dumps(jail.hostname)},"path":{json.dumps(jail.path)}}}'
                for jail, _values in rows
            ]
        else:
            texts = [_json_fields(values) for _jail, values in rows]
        body = f'"jail": [{", ".join(texts)}]' if texts or reply.rc == 0 else ""
        reply.out = f'{{"__version": "2", "jail-information": {{{body}}}}}\n'
    elif table:
        reply.out = _HEADER + "".join(
            f"{jail.jid:6d}  {'':<15.15s} {jail.hostname:<29.29s} {jail.path:.74s}\n" for jail, _values in rows
        )
    else:
        if headed:
            reply.out += " ".join(names or (list(rows[0][1]) if rows else [])) + "\n"
        for _jail, values in rows:
            cells = [f"{name}={_plain(value)}" if named else _plain(value) for name, value in values.items()]
            reply.out += " ".join(cells) + "\n"
    return reply
