"""Every command of every transcript, whatever its form.

``$ command`` and, in 07, ``hv1$ command``; then the output, then ``[exit N]`` (15: ``exit=N``) when N is not 0.
"""

import re
from dataclasses import dataclass

from tests.unit.transcripts import DATA

_COMMAND = re.compile(r"(?:hv\d)?\$ (?P<command>.*)")
_EXIT = re.compile(r"\[exit (\d+)\]|exit=(\d+)")


@dataclass(frozen=True)
class Recorded:
    """One command of one transcript."""

    transcript: str
    line: int
    command: str
    output: str
    rc: int

    def __str__(self) -> str:
        return f"{self.transcript}:{self.line} {self.command}"


def recorded(name: str) -> list[Recorded]:
    """The commands of one transcript, in order."""
    found: list[Recorded] = []
    command, start, rc = None, 0, 0
    body: list[str] = []

    def close() -> None:
        if command is not None:
            found.append(Recorded(name, start, command, "".join(f"{line}\n" for line in body), rc))

    for number, line in enumerate((DATA / name).read_text(errors="replace").splitlines(), 1):
        match = _COMMAND.fullmatch(line)
        status = _EXIT.fullmatch(line)
        if match:
            close()
            command, start, rc, body = match["command"], number, 0, []
        elif line.startswith(("# ", "## ")):
            close()
            command = None
        elif status:
            rc = int(status[1] or status[2])
        else:
            body.append(line)
    close()
    return found


def everything() -> list[Recorded]:
    """The commands of all transcripts."""
    return [step for path in sorted(DATA.glob("*.txt")) for step in recorded(path.name)]
