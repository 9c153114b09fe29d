"""The recorded FreeBSD answers, and a host that gives them back.

A transcript is ``$ command`` lines, each followed by its output and ``[exit N]`` when N is not 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from beastack.freebsd.errors import failure
from beastack.freebsd.host import Completed, JailHost

DATA = Path(__file__).resolve().parents[1] / "data" / "freebsd-15.1"


@dataclass(frozen=True)
class Step:
    """One recorded command with its output (standard error with standard output) and status."""

    command: str
    output: str
    rc: int


def steps(name: str) -> list[Step]:
    """Every command of one transcript, in order."""
    found: list[Step] = []
    command: str | None = None
    lines: list[str] = []

    def close() -> None:
        if command is None:
            return
        rc, body = 0, lines
        if lines and lines[-1].startswith("[exit "):
            rc, body = int(lines[-1][6:-1]), lines[:-1]
        found.append(Step(command, "".join(f"{line}\n" for line in body), rc))

    for line in (DATA / name).read_text().splitlines():
        if line.startswith("$ "):
            close()
            command, lines = line[2:], []
        elif not line.startswith("# "):
            lines.append(line)
    close()
    return found


class FakeHost:
    """Answers commands from ``answers`` (text, or text and status) and remembers what was run.

    A command that nobody foresaw fails the test: KeyError.
    """

    def __init__(self, answers: dict[str, str | tuple[str, int]]) -> None:
        self.answers = answers
        self.ran: list[str] = []

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = 20.0, check: bool = True
    ) -> Completed:
        command = " ".join(argv)
        self.ran.append(command)
        answer = self.answers[command]
        text, rc = (answer, 0) if isinstance(answer, str) else answer
        if rc and check:
            raise failure(argv, rc, "", text)
        return Completed(tuple(argv), rc, text, "")

    def jail(self, name: str) -> JailHost:
        return JailHost(self, name)
