"""Runs a recorded case on simulated hosts and lines its answers up with FreeBSD's.

Three forms: `.cmds` (one command a line, each by a fresh sh), `.sh` (a script that ran whole), and a transcript alone
whose commands name the host they ran on (`hv1$ …`). Every line of FreeBSD's is compared, or exempt by exempt.py.
"""

import difflib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .exempt import EXEMPT, WHOLE

DATA = Path(__file__).parent.parent / "data" / "freebsd-15.1"
Run = Callable[[str], tuple[str, int]]

_NORMAL: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"58:9c:fc:10(:[0-9a-f]{2}){2}"), "MAC"),
    (re.compile(r"fe80::[0-9a-f]+:[0-9a-f]+:[0-9a-f]+:[0-9a-f]+%"), "fe80::LL%"),
    (re.compile(r" tentative"), ""),
    (re.compile(r"(scopeid 0x|link#| port (?=\d)|nhop-kidx\":)[0-9a-f]+"), r"\g<1>N"),
    (re.compile(r"expires in \d+"), "expires in N"),
    (re.compile(r"\"expires\":\d+"), '"expires":N'),
    # wc(1) pads on FreeBSD
    (re.compile(r"^ +(\d+)$", re.M), r"\1"),
    # what a query is told by: of a guest's own choice, but for the request's type
    (re.compile(r"^\w+ icmp .*$", re.M), lambda found: re.sub(r":(?!8\b)\d+(?=[ )])", ":ID", found[0])),
    (re.compile(r"\btime=[0-9.]+ ms"), "time=N ms"),
    (re.compile(r"(round-trip min/avg/max/stddev = )[0-9./]+"), r"\1N"),
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d{6} "), "TIME "),
    # a rate is printed from the first whole second on
    (re.compile(r" *(0\.0/s)?$", re.M), ""),
    (re.compile(r"\d+ days \d\d:\d\d:\d\d"), "UPTIME"),
]


@dataclass
class Report:
    """How one transcript compares: its lines, and what differs in words."""

    case: str
    compared: int = 0
    matched: int = 0
    exempt: int = 0
    differences: list[str] = field(default_factory=list)

    def add(self, what: str, expected: list[str], actual: list[str], differs: bool) -> None:
        self.compared += len(expected)
        if not differs:
            self.matched += len(expected)
            return
        self.differences.append("\n".join([what, "--- FreeBSD", *expected, "--- simulated", *actual, ""]))


# What this run of the tests compared; a test adds its own
REPORT: list[Report] = []


def report() -> str:
    """The report as text: one line for every transcript there is."""
    lines = [f"{'transcript':<24}{'compared':>10}{'matched':>10}{'exempt':>10}"]
    lines += [
        f"{one.case:<24}{one.compared:>10}{one.matched:>10}{one.exempt:>10}"
        for one in sorted([*REPORT, *_whole()], key=lambda one: one.case)
    ]
    lines += [f"{case}: {reason}" for case, reason in sorted(WHOLE.items())]
    missing = sorted({path.stem for path in DATA.glob("*.txt")} - {one.case for one in REPORT} - set(WHOLE))
    if missing:
        lines.append(f"not in this run: {' '.join(missing)}")
    return "\n".join(lines)


def _whole() -> list[Report]:
    return [Report(case, exempt=len((DATA / f"{case}.txt").read_text().splitlines())) for case in WHOLE]


@dataclass(frozen=True)
class Step:
    host: str
    command: str
    output: str
    status: int


def recorded(name: str) -> list[Step]:
    """The commands of a transcript with what they answered; `host` is empty for `$ `."""
    steps: list[Step] = []
    for part in re.split(r"^(?=(?:hv\d)?\$ |#+ )", (DATA / f"{name}.txt").read_text(), flags=re.M):
        found = re.match(r"(hv\d)?\$ ", part)
        if not found:
            continue
        head, _newline, output = part[found.end() :].partition("\n")
        match = re.search(r"^\[exit (\d+)\]\n\Z", output.rstrip("\n") + "\n", flags=re.M)
        status = int(match[1]) if match else 0
        steps.append(Step(found[1] or "", head, output[: match.start()] if match else output, status))
    return steps


def normal(text: str, more: Iterable[tuple[str, str]] = ()) -> str:
    for pattern, replacement in _NORMAL:
        text = pattern.sub(replacement, text)
    for source, target in more:
        text = re.sub(source, target, text, flags=re.M)
    return text.strip("\n")


def _exempt(name: str, line: str) -> bool:
    return any(one.pattern.search(line) for one in EXEMPT.get(name, ()))


def _compare(result: Report, step: Step, run: Run, more: Iterable[tuple[str, str]] = ()) -> None:
    output, status = run(step.command)
    expected, actual = normal(step.output, more), normal(output, more)
    lines = [f"$ {step.command}", *expected.splitlines(), *([f"[exit {step.status}]"] if step.status else [])]
    if _exempt(result.case, step.command):
        result.exempt += len(lines)
        return
    answered = [*actual.splitlines(), *([f"[exit {status}]"] if status else [])]
    result.add(f"{step.host}$ {step.command}", lines, answered, (expected, step.status) != (actual, status))


def commands(name: str, run: Run, more: Iterable[tuple[str, str]] = ()) -> Report:
    """A `.cmds` case; hidden commands (`@`) run as well, exempt ones do too: later ones may need their effect."""
    result, expected = Report(name), iter(recorded(name))
    for line in (DATA / f"{name}.cmds").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            run(line[1:])
            continue
        step = next(expected)
        assert step.command == line
        _compare(result, step, run, more)
        if line.endswith(" up"):
            time.sleep(0.25)  # devd works meanwhile, as it did on the machine that was recorded
    return result


def on_hosts(name: str, runs: Mapping[str, Run], more: Iterable[tuple[str, str]] = ()) -> Report:
    """A transcript that was driven on several hosts."""
    result = Report(name)
    for step in recorded(name):
        _compare(result, step, runs[step.host], more)
    return result


def script(name: str, output: str, more: Iterable[tuple[str, str]] = ()) -> Report:
    """What a whole `.sh` case printed, line by line; a line too many is a difference as well as a missing one."""
    result = Report(name)
    expected = normal((DATA / f"{name}.txt").read_text(), more).splitlines()
    actual = normal(output, more).splitlines()
    for kind, low, high, other_low, other_high in difflib.SequenceMatcher(
        None, expected, actual, autojunk=False
    ).get_opcodes():
        if kind == "equal":
            result.compared += high - low
            result.matched += high - low
            continue
        known = [line for line in expected[low:high] if not _exempt(name, line)]
        result.exempt += high - low - len(known)
        given = [line for line in actual[other_low:other_high] if not _exempt(name, line)]
        if known or given:
            result.add(f"line {low + 1}", known, given, True)
    return result
