"""Owns the limits that rctl(8) sets: which rules there are, on whom, and what is used.

Rules are kept and shown as the kernel does it (sys/kern/kern_rctl.c, kern_racct.c); nothing here enforces one.
"""

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

SUBJECTS = ("process", "user", "loginclass", "jail")
# In the order in which the kernel counts and shows them (sys/racct.h).
RESOURCES = (
    "cputime", "datasize", "stacksize", "coredumpsize", "memoryuse", "memorylocked", "maxproc", "openfiles",
    "vmemoryuse", "pseudoterminals", "swapuse", "nthr", "msgqqueued", "msgqsize", "nmsgq", "nsem", "nsemop", "nshm",
    "shmsize", "wallclock", "pcpu", "readbps", "writebps", "readiops", "writeiops",
)  # fmt: skip
RATES = ("readbps", "writebps", "readiops", "writeiops")
_UNDENIABLE = ("cputime", "wallclock", *RATES)
# Counted for users and jails, not for a single process.
_SLOPPY = (
    "pseudoterminals", "swapuse", "msgqqueued", "msgqsize", "nmsgq", "nsem", "nshm", "shmsize",
)  # fmt: skip
_SIGNALS = (
    "hup", "int", "quit", "ill", "trap", "abrt", "emt", "fpe", "kill", "bus", "segv", "sys", "pipe", "alrm", "term",
    "urg", "stop", "tstp", "chld", "ttin", "ttou", "io", "xcpu", "xfsz", "vtalrm", "prof", "winch", "info", "usr1",
    "usr2", "thr",
)  # fmt: skip
ACTIONS = ("deny", "log", "devctl", "throttle", *(f"sig{name}" for name in _SIGNALS))
_MILLIONS = ("cputime", "wallclock", "pcpu")
_MOST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, or a filter: what is None or empty there matches everything. ``born`` tells processes of one number."""

    subject: str = ""
    who: str = ""
    resource: str = ""
    action: str = ""
    amount: int | None = None
    per: str = ""
    born: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing is left open."""
        return bool(self.subject and self.who and self.resource and self.action and self.per) and (
            self.amount is not None
        )

    def matches(self, other: "Rule") -> bool:
        """Whether this rule is one that the filter ``other`` means."""
        return all(
            theirs in ("", None) or ours == theirs
            for ours, theirs in (
                (self.subject, other.subject),
                (self.who, other.who),
                (self.resource, other.resource),
                (self.action, other.action),
                (self.amount, other.amount),
                (self.per, other.per),
            )
        )

    def __str__(self) -> str:
        per = "" if self.per == self.subject else f"/{self.per}"
        return f"{self.subject}:{self.who}:{self.resource}:{self.action}={self.amount}{per}"


def _one_of(text: str, names: Iterable[str]) -> str:
    if text == "":
        return ""
    if text.lower() not in names:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return text.lower()


def _id(text: str) -> str:
    if not (text.isascii() and text.isdigit()):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return str(int(text))


def born(pid: str) -> int:
    """When a process began, in ticks; ProcessLookupError when there is none."""
    try:
        return int(Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from None


def parse(text: str) -> Rule:
    """A rule or a filter as the kernel reads it. Raises OSError: EINVAL, ERANGE, ESRCH for no such process."""
    subject, _, rest = text.partition(":")
    who, _, rest = rest.partition(":")
    resource, _, rest = rest.partition(":")
    cut = min((rest.find(mark) for mark in "=/" if mark in rest), default=len(rest))
    action, (amount, _, per) = rest[:cut], rest[cut + 1 :].partition("/")
    rule = Rule(
        _one_of(subject, SUBJECTS),
        who,
        _one_of(resource, RESOURCES),
        _one_of(action, ACTIONS),
        per=_one_of(per, SUBJECTS),
    )
    if who and rule.subject in ("process", "user"):
        rule = replace(rule, who=_id(who))
    elif who and not rule.subject:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    elif len(who) > 255:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    if rule.subject == "process" and who:
        rule = replace(rule, born=born(rule.who))
    if amount:
        number = int(_id(amount))
        if number > (_MOST // 1_000_000 if rule.resource in _MILLIONS else _MOST):
            raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
        rule = replace(rule, amount=number)
    return rule


class Racct:
    """The rules of a host, the newest of a kind first. Those of a process go with it; a jail's stay."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def add(self, text: str) -> None:
        """``rctl -a``. Raises OSError: EINVAL for half a rule, EOPNOTSUPP for one that makes no sense."""
        rule = parse(text)
        rule = replace(rule, per=rule.per or rule.subject)
        if not rule.whole:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if (
            (rule.action == "deny" and rule.resource in _UNDENIABLE)
            or (rule.action == "throttle" and rule.resource not in RATES)
            or (rule.per == "process" and rule.resource in _SLOPPY)
        ):
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        same = replace(rule, amount=None) if rule.action == "deny" else rule
        self._rules = [rule, *(each for each in self._living() if not each.matches(same))]

    def remove(self, text: str) -> None:
        """``rctl -r``. Raises OSError: ESRCH when nothing fits."""
        wanted, rules = parse(text), self._living()
        self._rules = [each for each in rules if not each.matches(wanted)]
        if len(self._rules) == len(rules):
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))

    def matching(self, text: str) -> list[Rule]:
        """``rctl FILTER``: those of processes first."""
        wanted = parse(text)
        found = [each for each in self._living() if each.matches(wanted)]
        return sorted(found, key=lambda each: SUBJECTS.index(each.subject))

    def _living(self) -> list[Rule]:
        def lives(rule: Rule) -> bool:
            try:
                return rule.subject != "process" or born(rule.who) == rule.born
            except ProcessLookupError:
                return False

        self._rules = [each for each in self._rules if lives(each)]
        return self._rules


def usage(pids: Iterable[int], single: bool) -> dict[str, int]:
    """What processes use together, in the kernel's order; what is not known here counts as nothing."""
    found = dict.fromkeys((name for name in RESOURCES if not (single and name in _SLOPPY)), 0)
    for pid in pids:
        try:
            folder = Path("/proc", str(pid))
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            files = sum(1 for _each in (folder / "fd").iterdir())
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        ticks = os.sysconf("SC_CLK_TCK")
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        used, age = (int(stat[11]) + int(stat[12])) / ticks, max(uptime - int(stat[19]) / ticks, 0.01)
        found["cputime"] += int(used)
        found["wallclock"] += int(age)
        found["pcpu"] += int(100 * used / age)
        found["maxproc"] += 1
        found["openfiles"] += files
        found["nthr"] += int(status["Threads"])
        for name, key in _SIZES.items():
            found[name] += int(status.get(key, "0 kB").split()[0]) * 1024
    return found


_SIZES = {
    "datasize": "VmData",
    "stacksize": "VmStk",
    "memoryuse": "VmRSS",
    "memorylocked": "VmLck",
    "vmemoryuse": "VmSize",
}
