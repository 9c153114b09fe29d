"""Rulesets of devfs(5): which devices a jail sees (devfs(8)).

A jail that shares the host's file system reaches /dev/mem and /dev/pf unless it has a devfs of its own with a ruleset
(shared/freebsd, 09). A ruleset here always begins by hiding everything, and when one cannot be loaded as it should be,
that first rule alone is left. The forms are those of the program's source (sbin/devfs/rule.c), whose `show` prints what
`add` reads; no transcript shows them.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from beastack.freebsd.errors import HostError, UnexpectedOutput
from beastack.freebsd.host import Host

# /etc/defaults/devfs.rules uses 1 to 5, administrators what they like: ours are high up (a 16-bit number).
LOWEST, HIGHEST = 60000, 65535
# Pattern characters are those of fnmatch(3); DEVFS_MAXPTRNLEN is 200 with its NUL.
_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./*?\[\]-]{0,198}")
_SHOWN = re.compile(r"\d{1,5} (.+)")
HIDE_ALL = "hide"


class RulesDiffer(HostError):
    """devfs holds other rules than were loaded; everything is hidden by that ruleset now."""


@dataclass(frozen=True)
class Unhide:
    """Show what matches a path below /dev."""

    path: str

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if _PATH.fullmatch(self.path) is None or ".." in self.path:
            raise ValueError(f"{self.path!r} is no pattern of devices")

    def text(self) -> str:
        """As devfs(8) reads and shows it."""
        return f"path {self.path} unhide"


# What a daemon without any device work needs, as in devfsrules_jail of /etc/defaults/devfs.rules.
BASIC = tuple(
    Unhide(path) for path in ("null", "zero", "crypto", "random", "urandom", "fd", "fd/*", "stdin", "stdout", "stderr")
)


def _number(ruleset: int) -> str:
    if not LOWEST <= ruleset <= HIGHEST:
        raise ValueError(f"ruleset {ruleset} is not between {LOWEST} and {HIGHEST}")
    return str(ruleset)


def parse_rules(text: str, argv: tuple[str, ...] = ("devfs",)) -> list[str]:
    """``devfs rule -s N show``: the rules without their numbers. Raises UnexpectedOutput."""
    found = []
    for line in text.splitlines():
        match = _SHOWN.fullmatch(line)
        if match is None:
            raise UnexpectedOutput(argv, line, "NUMBER RULE")
        found.append(match[1])
    return found


def read_ruleset(host: Host, ruleset: int) -> list[str]:
    """The rules of a ruleset in their order; a ruleset that nobody filled is empty."""
    done = host.run(["devfs", "rule", "-s", _number(ruleset), "show"])
    return parse_rules(done.out, done.argv)


def _load(host: Host, ruleset: int, rules: Sequence[str]) -> None:
    host.run(["devfs", "rule", "-s", _number(ruleset), "delset"])
    host.run(["devfs", "rule", "-s", _number(ruleset), "add", "-"], input="".join(f"{rule}\n" for rule in rules))


def ensure_ruleset(host: Host, ruleset: int, shown: Sequence[Unhide]) -> bool:
    """Make the ruleset hide everything but ``shown``; True when it had to be loaded.

    It counts for file systems that are mounted with it afterwards, and for others when it is applied (`apply`).
    Raises RulesDiffer, ValueError for a number that is not ours.
    """
    wanted = [HIDE_ALL, *(rule.text() for rule in shown)]
    if read_ruleset(host, ruleset) == wanted:
        return False
    try:
        _load(host, ruleset, wanted)
        found = read_ruleset(host, ruleset)
        if found != wanted:
            raise RulesDiffer(f"devfs ruleset {ruleset}: {found} instead of {wanted}; it hides everything now")
    except HostError:
        with suppress(HostError):  # the first error is the one to tell
            _load(host, ruleset, [HIDE_ALL])
        raise
    return True


def apply(host: Host, ruleset: int, mount_point: str) -> None:
    """Apply a ruleset to a devfs that is mounted already."""
    host.run(["devfs", "-m", mount_point, "rule", "-s", _number(ruleset), "applyset"])


def remove_ruleset(host: Host, ruleset: int) -> None:
    """Empty a ruleset. What was mounted with it keeps what it shows; do not mount with it again."""
    host.run(["devfs", "rule", "-s", _number(ruleset), "delset"])
