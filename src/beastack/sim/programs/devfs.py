"""Owns devfs(8), and of mount(8) the file systems of that kind; others are mounted by Debian's program."""

import errno
import os
from pathlib import Path

from beastack.sim.engine import devfs
from beastack.sim.net.errors import Failed, not_simulated
from beastack.sim.programs.base import Reply, Request

_USAGE = "usage: \tdevfs [-m mount-point] rule [-s ruleset] ...\n\tdevfs [-m mount-point] ruleset ..."
_DEV = "/dev"


def run(request: Request) -> Reply:
    rest, point = list(request.argv), _DEV
    if rest[:1] == ["-m"] and len(rest) > 1:
        point, rest = os.path.normpath(rest[1]), rest[2:]
    if not rest:
        raise Failed(_USAGE)
    if rest[0] != "rule":
        raise not_simulated("devfs", rest[0])
    if point != _DEV and not request.state.devfs.mounted(point):
        raise not_simulated("devfs", f"-m {point}: only what was mounted as devfs")
    try:
        return _rule(request, rest[1:], point)
    except devfs.BadRule as error:
        raise Failed(f"devfs rule: {error}") from error
    except PermissionError as error:
        raise Failed(f"devfs rule: ioctl: {error.strerror}") from error


def _rule(request: Request, rest: list[str], point: str) -> Reply:
    kept = request.state.devfs
    if rest[:1] != ["-s"] or len(rest) < 3:
        if not rest:
            raise Failed(_USAGE)
        if rest != ["showsets"]:
            raise not_simulated("devfs", "rule without -s")
        return Reply("".join(f"{ruleset}\n" for ruleset in sorted(kept.sets)))
    ruleset, verb, words = devfs.number(rest[1]), rest[2], rest[3:]
    if request.jail is not None:
        raise PermissionError(errno.EPERM, "Operation not permitted")
    match verb, words:
        case "add", [_, *_]:
            lines = [line.split() for line in request.stdin.splitlines()] if words == ["-"] else [words]
            for line in lines:
                _add(kept, ruleset, line, "ioctl" if words == ["-"] else "ioctl DEVFSIO_RADD")
        case "show", []:
            return Reply("".join(f"{own} {rule}\n" for own, rule in kept.sets.get(ruleset, {}).items()))
        case "del", [own]:
            try:
                kept.delete(ruleset, devfs.number(own))
            except OSError as error:
                raise Failed(f"devfs rule: ioctl DEVFSIO_RDEL: {error.strerror}") from error
        case "delset", []:
            kept.sets.pop(ruleset, None)
        case "applyset", []:
            if point == _DEV:
                raise not_simulated("devfs", "applyset on the host's own /dev")
            try:
                kept.apply(point, ruleset)
            except OSError as error:
                raise Failed(f"devfs rule: ioctl DEVFSIO_SAPPLY: {error.strerror}") from error
        case _:
            raise not_simulated("devfs", " ".join(["rule", *rest[2:]]))
    return Reply()


def _add(kept: devfs.Devfs, ruleset: int, words: list[str], what: str) -> None:
    own, rule = devfs.parse(words)
    try:
        kept.add(ruleset, own, rule)
    except OSError as error:
        raise Failed(f"devfs rule: {what}: {error.strerror}") from error


def mount(request: Request) -> Reply:
    """``mount -t devfs [-o ruleset=N] devfs POINT`` as root of the host."""
    words, kind, options = list(request.argv), "", ""
    rest = list[str]()
    while words:
        word = words.pop(0)
        if word == "-t" and words:
            kind = words.pop(0)
        elif word == "-o" and words:
            options = words.pop(0)
        else:
            rest.append(word)
    if kind != "devfs":
        return Reply(exec=["/bin/mount", *request.argv])
    if len(rest) != 2 or request.pid == 0:
        raise not_simulated("mount", " ".join(request.argv))
    point = os.path.normpath(Path("/proc", str(request.pid), "cwd").readlink() / rest[1])
    ruleset = 0
    for option in options.split(",") if options else ():
        name, _, value = option.partition("=")
        if name == "ruleset" and value.isdigit():
            ruleset = int(value)
        elif option != "rw":
            raise not_simulated("mount", f"-o {option}")
    if request.jail is not None:
        raise Failed(f"mount: {rest[0]}: Operation not permitted")
    if Path("/proc", str(request.pid), "ns/mnt").readlink() != Path("/proc/self/ns/mnt").readlink():
        raise not_simulated("mount", "devfs in a mount namespace of its own")
    try:
        request.state.devfs.mount(point, ruleset)
    except OSError as error:
        raise Failed(f"mount: {point}: {os.strerror(error.errno or errno.EIO)}") from error
    return Reply()
