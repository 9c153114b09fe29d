"""Owns rctl(8): its words for rules and filters (usr.bin/rctl/rctl.c) around the rules that the kernel keeps."""

import errno
import pwd
import re
from collections.abc import Callable
from pathlib import Path

from beastack.sim.engine import racct
from beastack.sim.engine.jails import processes_in
from beastack.sim.net.errors import Failed, not_simulated
from beastack.sim.programs.base import Reply, Request

_USAGE = "usage: rctl [ -h ] [-a rule | -l filter | -r filter | -u filter | filter]"
_DISABLED = "rctl: RACCT/RCTL present, but disabled; enable using kern.racct.enable=1 tunable"
_SHORT = {
    "u": "user", "g": "group", "p": "process", "l": "loginclass", "c": "loginclass", "class": "loginclass", "j": "jail",
}  # fmt: skip
_UNITS = "bkmgtpe"
_VERBS = {"a": "add rule", "r": "remove rule", "u": "show resource consumption for"}


def run(request: Request) -> Reply:
    """Exit status: how many of the rules or filters failed."""
    letters, rest = "", list(request.argv)
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        letters += rest.pop(0)[1:]
    if set(letters) - set("ahlnru"):
        raise Failed(_USAGE)
    modes = sorted(set(letters) & set("alru"))
    if len(modes) > 1:
        raise Failed("rctl: at most one of -a, -l, -r, or -u may be specified")
    if modes and not rest:
        raise Failed(_USAGE)
    if set(letters) & set("hl"):
        raise not_simulated("rctl", f"-{letters}")
    reply, mode = Reply(), modes[0] if modes else ""
    for word in rest or ["::"]:
        rule = _expand(word, reply, resolve=not (mode == "a" and "n" in letters)) if rest else word
        if rule is None:
            reply.rc += 1
            continue
        if request.state.sysctls.values["kern.racct.enable"] != "1":
            raise Failed(_DISABLED, 1, reply.out)
        try:
            if request.jail is not None:
                raise PermissionError(errno.EPERM, "Operation not permitted")
            reply.out += _MODES[mode](request, rule, "n" in letters)
        except OSError as error:
            what = _VERBS.get(mode, "show rules for")
            reply.err += f"rctl: failed to {what} '{word}': {error.strerror}\n"
            reply.rc += 1
    return reply


def _add(request: Request, rule: str, _numbers: bool) -> str:
    request.state.racct.add(rule)
    return ""


def _remove(request: Request, rule: str, _numbers: bool) -> str:
    request.state.racct.remove(rule)
    return ""


def _show(request: Request, rule: str, numbers: bool) -> str:
    return "".join(f"{_named(str(each), numbers)}\n" for each in request.state.racct.matching(rule))


def _usage(request: Request, rule: str, _numbers: bool) -> str:
    wanted = racct.parse(rule)
    if not wanted.who or not wanted.subject:
        raise OSError(errno.EINVAL, "Invalid argument")
    match wanted.subject:
        case "process":
            pids = [int(wanted.who)]
        case "jail":
            jail = request.state.find_jail(wanted.who)
            pids = list(processes_in(jail.uts_inode)) if jail is not None else []
        case "user":
            entries = [each for each in Path("/proc").iterdir() if each.name.isdigit() and each.name != "1"]
            pids = [int(each.name) for each in entries if _owner(each) == int(wanted.who)]
        case _:
            raise not_simulated("rctl", "-u of a login class")
    return "".join(f"{name}={amount}\n" for name, amount in racct.usage(pids, wanted.subject == "process").items())


def _owner(folder: Path) -> int | None:
    try:
        return folder.stat().st_uid
    except (FileNotFoundError, ProcessLookupError):
        return None  # ended meanwhile


_MODES: dict[str, Callable[[Request, str, bool], str]] = {
    "": _show, "a": _add, "r": _remove, "u": _usage,
}  # fmt: skip


def _named(rule: str, numbers: bool) -> str:
    """A user by name, unless numbers are wanted."""
    subject, who, rest = rule.split(":", 2)
    if subject == "user" and not numbers:
        try:
            who = pwd.getpwuid(int(who)).pw_name
        except KeyError:
            return rule
    return f"{subject}:{who}:{rest}"


def _expand(word: str, reply: Reply, resolve: bool) -> str | None:
    """With whole names of subjects, users as numbers and amounts without units; None when it cannot be one."""
    subject, colon, rest = word.partition(":")
    if not colon:
        reply.err += f"rctl: malformed rule '{word}': missing subject\n"
        return None
    who, _, rest = rest.partition(":")
    subject = _SHORT.get(subject.lower(), subject)
    if subject.lower() == "user" and who and resolve:
        try:
            who = str(pwd.getpwnam(who).pw_uid)
        except KeyError:
            if not who.isdigit():
                detail = "trailing characters after numerical id" if who[0].isdigit() else f"unknown user '{who}'"
                reply.err += f"rctl: malformed rule '{word}': {detail}\n"
                return None
    match = re.fullmatch(r"([^:]*:[^=/]*)[=/]([^/]+)(/.*)?", rest)
    if match is None:
        return f"{subject}:{who}:{rest}"
    amount = re.fullmatch(rf"(\d+)([{_UNITS}])?", match[2], re.IGNORECASE)
    if amount is None:
        reply.err += f"rctl: malformed rule '{word}': invalid numeric value '{match[2]}'\n"
        return None
    number = int(amount[1]) << 10 * _UNITS.index((amount[2] or "b").lower())
    return f"{subject}:{who}:{match[1]}={number}{match[3] or ''}"
