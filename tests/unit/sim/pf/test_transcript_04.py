"""04-pf replayed: every pfctl command of the transcript, its words and its exit status."""

import re
import shlex
from pathlib import Path

from beastack.sim.pf import Pf

TRANSCRIPT = Path(__file__).parents[3] / "data/freebsd-15.1/04-pf.txt"


def commands() -> list[tuple[str, str]]:
    """Each command with what it printed, its exit status at the end."""
    found: list[tuple[str, list[str]]] = []
    for line in TRANSCRIPT.read_text().splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif not line.startswith("#") and found:
            found[-1][1].append(line)
    return [(command, "".join(one + "\n" for one in lines)) for command, lines in found]


def run(pf: Pf, command: str, now: float) -> str:
    left, _, right = command.partition(" | ")
    stdin = ""
    if right:
        stdin = shlex.split(left)[1].encode().decode("unicode_escape")
        left = right
    result = pf.pfctl(shlex.split(left)[1:], stdin, now)
    return result.err + result.out + (f"[exit {result.rc}]\n" if result.rc else "")


def test_every_command() -> None:
    pf = Pf()
    asked = 0
    for command, expected in commands():
        if "pfctl" not in command:
            continue
        answer = run(pf, command, 1000.0)
        if asked == 0:
            pf.status.since = 1000.0 - 38
            answer = run(pf, command, 1000.0)
        asked += 1
        assert answer == expected, f"$ {command}"
    assert asked == 59


def test_optimization_none_keeps_the_order() -> None:
    pf = Pf()
    text = (
        "set ruleset-optimization none\npass out quick proto tcp from any to any port 80\n"
        "pass in quick all\npass in quick inet all\n"
    )
    assert pf.pfctl(["-f", "-"], text, 0.0).rc == 0
    assert re.findall(r"(?m)^pass (\w+)", pf.pfctl(["-sr"], "", 0.0).out) == ["out", "in", "in"]
