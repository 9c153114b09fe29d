"""Owns jail(8) and jexec(8)."""

from pathlib import Path

from beastack.sim.engine.jails import ALLOW_DEFAULTS, Jail, kill_all
from beastack.sim.net.errors import Failed, not_simulated
from beastack.sim.programs.base import Reply, Request

# parameters that are taken and shown by jls, without an effect here
_KEPT = {
    "children.max",
    "cpuset.id",
    "devfs_ruleset",
    "enforce_statfs",
    "host.domainname",
    "host.hostid",
    "host.hostuuid",
    "ip4",
    "ip6",
    "meta",
    "env",
    "osrelease",
    "osreldate",
    "securelevel",
    "sysvmsg",
    "sysvsem",
    "sysvshm",
}
_FLAGS = {"persist", "nopersist"}


def run(request: Request) -> Reply:
    if request.jail is not None:
        raise Failed("jail: jail_set: Operation not permitted")
    letters, rest = "", list(request.argv)
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        letters += rest.pop(0)[1:]
    for letter in letters:
        if letter not in "crmRiqv":
            raise not_simulated("jail", f"-{letter}")
    quiet = "q" in letters
    modes = [letter for letter in letters if letter in "crmR"]
    match modes:
        case ["c"]:
            jail = _create(request, _parameters(rest))
            return Reply(f"{jail.jid}\n" if "i" in letters else "")
        case ["m"]:
            _modify(request, _parameters(rest))
            return Reply()
        case ["c", "m"] | ["m", "c"]:
            wanted = _parameters(rest)
            if request.state.find_jail(wanted.get("name", "")) is None:
                _create(request, wanted)
            else:
                _modify(request, wanted)
            return Reply()
        case ["r"] | ["R"]:
            return _remove(request, rest, quiet)
    raise not_simulated("jail", " ".join(request.argv))


def _parameters(words: list[str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name in ("command", "exec.start", "exec.stop", "mount", "interface", "ip4.addr", "ip6.addr"):
            raise not_simulated("jail", name)
        if name in ("hostname", "host"):
            name = "host.hostname" if name == "hostname" else name
        known = name in _KEPT or name in ("name", "path", "jid", "vnet", "novnet", "host.hostname", "host")
        if name.startswith(("allow.", "allow.no")):
            plain = name.removeprefix("allow.")
            known = plain in ALLOW_DEFAULTS or plain.removeprefix("no") in ALLOW_DEFAULTS
        if not known and name not in _FLAGS:
            raise Failed(f"jail: unknown parameter: {name}")
        wanted[name] = value if equals else ""
    return wanted


def _create(request: Request, wanted: dict[str, str]) -> Jail:
    state = request.state
    name = wanted.get("name") or str(state.last_jid + 1)
    existing = state.find_jail(name)
    if existing is not None:
        raise Failed(f'jail: "{existing.jid}" already exists')
    if "." in name:
        parent = name.rpartition(".")[0]
        if state.find_jail(parent) is None:
            raise Failed(f'jail: jail "{parent}" not found')
        raise not_simulated("jail", "a jail within a jail")
    if "jid" in wanted:
        raise not_simulated("jail", "a chosen jid")
    path = wanted.get("path", "/")
    if not Path(path).is_dir():
        raise Failed(f"jail: path {path}: No such file or directory")
    if path != "/":
        raise not_simulated("jail", "a path other than /")
    if "persist" not in wanted:
        raise not_simulated("jail", "a jail without persist")
    if wanted.get("vnet", "new") not in ("", "new", "inherit"):
        raise Failed(f'jail: vnet: unknown setting "{wanted["vnet"]}"')
    vnet = "vnet" in wanted and wanted["vnet"] != "inherit"
    jail = state.create_jail(name, path, wanted.get("host.hostname", ""), vnet)
    _apply(jail, wanted)
    return jail


def _apply(jail: Jail, wanted: dict[str, str]) -> None:
    for name, value in wanted.items():
        plain = name.removeprefix("allow.")
        if name.startswith("allow."):
            if plain in jail.allow:
                jail.allow[plain] = value not in ("0", "false")
            else:
                jail.allow[plain.removeprefix("no")] = False
        elif name in _KEPT:
            jail.parameters[name] = value


def _modify(request: Request, wanted: dict[str, str]) -> None:
    key = wanted.get("name") or wanted.get("jid", "")
    jail = request.state.find_jail(key)
    if jail is None:
        raise Failed(f'jail: "{key}" not found')
    if "vnet" in wanted and (wanted["vnet"] == "inherit") != (jail.vnet is None):
        raise Failed("jail: vnet cannot be changed after creation")
    if "nopersist" in wanted:
        raise not_simulated("jail", "nopersist")
    if "host.hostname" in wanted:
        request.state.set_hostname(jail, wanted["host.hostname"])
    _apply(jail, wanted)


def _remove(request: Request, names: list[str], quiet: bool) -> Reply:
    if not names:
        raise Failed("usage: jail -r [-q] [jail | *] ...")
    state, reply = request.state, Reply()
    if names == ["*"]:
        names = list(state.jails)
    for name in names:
        jail = state.find_jail(name)
        if jail is None:
            reply.rc = 1
            if not quiet:
                reply.err += f'jail: "{name}" not found\n'
            continue
        stubborn = kill_all(jail.uts_inode)
        if stubborn:
            raise Failed(f"jail: {name}: processes do not end: {' '.join(map(str, stubborn))}")
        state.forget_jail(jail)
    return reply


def jexec(request: Request) -> Reply:
    """The client itself enters the jail's namespaces: they are descriptors of PID 1, the engine."""
    rest = list(request.argv)
    while rest and rest[0].startswith("-"):
        raise not_simulated("jexec", rest[0])
    if not rest:
        raise Failed("usage: jexec [-l] [-d working-directory] [-u username | -U username] jail [command ...]")
    jail = request.state.find_jail(rest[0])
    if jail is None or request.jail is not None:
        raise Failed(f'jexec: jail "{rest[0]}" not found')
    command = rest[1:] or ["/bin/sh"]
    namespaces = [f"--uts=/proc/1/fd/{jail.uts}"]
    if jail.vnet is not None:
        namespaces.append(f"--net=/proc/1/fd/{jail.vnet.netns}")
    return Reply(exec=["/usr/bin/nsenter", *namespaces, "--", *command])
