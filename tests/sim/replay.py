"""Runs a recorded case on a simulated host and lines its answers up with FreeBSD's."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent.parent / "data" / "freebsd-15.1"

# What the simulator does not have (vlan), or what is the Linux userland's own (ls, ps, mount)
SKIPPED = re.compile(r"vlan|epair0b\.200|^ls |pgrep|ps -ax|mount -t")
# the program is Linux's own, its effect is needed
UNCOMPARED = re.compile(r"^sleep 1; ping")
STOP = "# FreeBSD 15: a VLAN-filtering bridge"

_NORMAL = [
    (re.compile(r"58:9c:fc:10(:[0-9a-f]{2}){2}"), "MAC"),
    (re.compile(r"fe80::[0-9a-f]+:[0-9a-f]+:[0-9a-f]+:[0-9a-f]+%"), "fe80::LL%"),
    (re.compile(r" tentative"), ""),
    (re.compile(r"(scopeid 0x|link#| port (?=\d)|nhop-kidx\":)[0-9a-f]+"), r"\g<1>N"),
    (re.compile(r"expires in \d+"), "expires in N"),
    (re.compile(r"\"expires\":\d+"), '"expires":N'),
    (re.compile(r" (epair0b\.200|vlan-300)"), ""),
]


@dataclass(frozen=True)
class Step:
    command: str
    output: str
    status: int


def recorded(name: str) -> list[Step]:
    steps: list[Step] = []
    for part in re.split(r"^(?=\$ |# )", (DATA / f"{name}.txt").read_text(), flags=re.M):
        if not part.startswith("$ "):
            continue
        head, _newline, output = part.partition("\n")
        match = re.search(r"^\[exit (\d+)\]\n\Z", output, flags=re.M)
        status = int(match[1]) if match else 0
        steps.append(Step(head[2:], output[: match.start()] if match else output, status))
    return steps


def normal(text: str) -> str:
    for pattern, replacement in _NORMAL:
        text = pattern.sub(replacement, text)
    return text.strip("\n")


def differences(name: str, run: Callable[[str], tuple[str, int]]) -> Iterator[str]:
    """What differs, step by step; hidden commands (`@`) run as well, skipped ones do not."""
    expected = iter(recorded(name))
    for line in (DATA / f"{name}.cmds").read_text().splitlines():
        if line == STOP:
            return
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            run(line[1:])
            continue
        step = next(expected)
        assert step.command == line
        if SKIPPED.search(line):
            continue
        output, status = run(line)
        if line.endswith(" up"):
            time.sleep(0.25)  # devd works meanwhile, as it did on the machine that was recorded
        if UNCOMPARED.search(line):
            continue
        if (normal(output), status) != (normal(step.output), step.status):
            yield (
                f"$ {line}\n--- FreeBSD [{step.status}]\n{normal(step.output)}\n"
                f"--- simulated [{status}]\n{normal(output)}\n"
            )
