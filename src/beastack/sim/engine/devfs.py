"""Owns devfs(5)'s rulesets (sys/fs/devfs/devfs_rule.c) and the further devfs file systems that are mounted.

Such a file system is a tmpfs with the nodes that its ruleset shows at that moment; a device that comes later is not in
it. Stand-ins for devices, which are files here, are empty there.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from beastack.sim.linux.namespaces import MS_NOSUID, mount

_TYPES = ("disk", "mem", "tape", "tty")
_MOST = 65535
_MAX_PATTERN = 199
# Linux's own, which FreeBSD's /dev does not have
_NOT_OURS = ("kvm", "net", "shm")
_MEM = ("mem", "kmem")


class BadRule(Exception):
    """The text is no rule; the words are devfs(8)'s."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions and actions of one rule."""

    types: tuple[str, ...] = ()
    path: str | None = None
    hide: bool = False
    unhide: bool = False
    more: tuple[str, ...] = ()  # user, group, mode: shown, without an effect here
    include: int | None = None

    def __str__(self) -> str:
        words = [f"type {name}" for name in _TYPES if name in self.types]
        words += [f"path {self.path}"] if self.path is not None else []
        words += [name for name, on in (("hide", self.hide), ("unhide", self.unhide)) if on]
        words += self.more
        words += [f"include {self.include}"] if self.include is not None else []
        return " ".join(words)

    def matches(self, name: str) -> bool:
        """Whether the conditions hold for a path below the mount point, as fnmatch(3) with FNM_PATHNAME."""
        if self.types and not ("mem" in self.types and name in _MEM):
            return False
        if self.path is None:
            return True
        pattern, parts = self.path.split("/"), name.split("/")
        return len(pattern) == len(parts) and all(map(fnmatchcase, parts, pattern))


def number(text: str) -> int:
    """A number of a rule or ruleset. Raises BadRule."""
    if not re.fullmatch(r"\d{1,5}", text) or int(text) > _MOST:
        raise BadRule(f"error converting to number: {text}")
    return int(text)


def parse(words: list[str]) -> tuple[int, Rule]:
    """A rule's own number (0: the next one) and the rule. Raises BadRule."""
    if not words:
        raise BadRule("unexpected end of rulespec")
    own = 0
    if re.fullmatch(r"\d{1,5}", words[0]) and int(words[0]) <= _MOST:
        own, words = int(words[0]), words[1:]
    types, path, more, include = list[str](), None, list[str](), None
    acts = set[str]()
    conditions, rest = True, list(words)
    while rest:
        word = rest.pop(0)
        if word in ("hide", "unhide"):
            acts.add(word)
            conditions = False
            continue
        if word not in (("type", "path") if conditions else ()) and word not in ("user", "group", "mode", "include"):
            raise BadRule(f"unknown argument: {word}")
        if not rest:
            raise BadRule(f"expecting argument for {word}")
        value = rest.pop(0)
        match word:
            case "type" if value not in _TYPES:
                raise BadRule(f"unknown type: {value}")
            case "type":
                types.append(value)
            case "path":
                path = value[:_MAX_PATTERN]
            case "include":
                include, conditions = number(value), False
            case _:
                more.append(f"{word} {value}")
                conditions = False
    return own, Rule(tuple(types), path, "hide" in acts, "unhide" in acts, tuple(more), include)


@dataclass
class Devfs:
    """The rulesets of a host, by number, and what each mounted file system hides."""

    sets: dict[int, dict[int, Rule]] = field(default_factory=dict)
    mounts: dict[str, set[str]] = field(default_factory=dict)

    def add(self, ruleset: int, own: int, rule: Rule) -> None:
        """Raises OSError: EEXIST, ERANGE after the last number, EIO for ruleset 0."""
        rules = self.sets.get(ruleset, {})
        if own in rules:
            raise OSError(errno.EEXIST, "File exists")
        if ruleset == 0:
            raise OSError(errno.EIO, "Input/output error")
        own = own or max(rules, default=0) + 100
        if own > _MOST:
            raise OSError(errno.ERANGE, "Result too large")
        self.sets[ruleset] = dict(sorted({**rules, own: rule}.items()))

    def delete(self, ruleset: int, own: int) -> None:
        """Raises OSError: ENOENT. A set without rules is no set."""
        rules = self.sets.get(ruleset, {})
        if own not in rules:
            raise OSError(errno.ENOENT, "No such file or directory")
        del rules[own]
        if not rules:
            del self.sets[ruleset]

    def hidden(self, ruleset: int, names: list[str], before: set[str]) -> set[str]:
        """What of ``names`` is hidden after the rules were applied to a file system that hid ``before``."""
        found = set(before)
        for rule in self._flat(ruleset, 8):
            for name in names:
                if rule.hide and rule.matches(name):
                    found.add(name)
                if rule.unhide and rule.matches(name):
                    found.discard(name)
        return found

    def _flat(self, ruleset: int, depth: int) -> Iterator[Rule]:
        for rule in self.sets.get(ruleset, {}).values():
            yield rule
            if rule.include is not None and depth:
                yield from self._flat(rule.include, depth - 1)

    def mount(self, point: str, ruleset: int) -> None:
        """A new file system at ``point``, with the rules applied. Raises OSError."""
        if not Path(point).is_dir():
            raise OSError(errno.ENOENT, "No such file or directory")
        mount("beastack-dev", point, "tmpfs", MS_NOSUID, "mode=755,size=1m")
        self.mounts[point] = set()
        self._show(point, self.hidden(ruleset, list(_nodes()), set()))

    def apply(self, point: str, ruleset: int) -> None:
        """Apply a ruleset to what is mounted at ``point``. Raises OSError: ESRCH for no such ruleset."""
        if ruleset not in self.sets:
            raise OSError(errno.ESRCH, "No such process")
        self._show(point, self.hidden(ruleset, list(_nodes()), self.mounts[point]))

    def mounted(self, point: str) -> bool:
        """Whether one of these file systems is at ``point``; one that was unmounted is forgotten."""
        if point in self.mounts and not os.path.ismount(point):
            del self.mounts[point]
        return point in self.mounts

    def _show(self, point: str, hidden: set[str]) -> None:
        for name in _nodes():
            source, target = Path("/dev", name), Path(point, name)
            gone = any(part in hidden for part in (name, *(str(above) for above in Path(name).parents)))
            if gone and os.path.lexists(target):
                _remove(target)
            elif not gone and not os.path.lexists(target):
                _copy(source, target)
        self.mounts[point] = hidden


def _remove(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        for below in sorted(target.rglob("*"), reverse=True):
            _remove(below)
        target.rmdir()
    else:
        target.unlink()


def _copy(source: Path, target: Path) -> None:
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return
    found = source.stat()
    if stat.S_ISDIR(found.st_mode):
        target.mkdir()
    elif stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        os.mknod(target, found.st_mode, found.st_rdev)
    else:
        target.touch()
    target.chmod(stat.S_IMODE(found.st_mode))


def _nodes() -> Iterator[str]:
    """Paths below /dev, a folder before what is in it; terminals are made where they are opened."""
    for folder, below, names in os.walk("/dev"):
        inside = Path(folder).relative_to("/dev")
        if inside == Path():
            below[:] = sorted(set(below) - set(_NOT_OURS))
        if inside == Path("pts"):
            below[:], names = [], []
        for name in [*below, *sorted(names)]:
            if inside != Path() or name not in _NOT_OURS:
                yield str(inside / name)
