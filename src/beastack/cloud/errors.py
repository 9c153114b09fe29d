"""How the cloud command fails: one message that names the cause, where to look and what to do."""

from pathlib import Path


class CloudError(Exception):
    """A cause in one sentence, the log file that tells more, the remedy, and the command's exit status."""

    status = 1

    def __init__(self, message: str, *, log: Path | None = None, remedy: str = "") -> None:
        super().__init__(message)
        self.message, self.log, self.remedy = message, log, remedy

    def __str__(self) -> str:
        lines = [self.message]
        if self.log is not None:
            lines.append(f"Log: {self.log}")
        if self.remedy:
            lines.append(f"Remedy: {self.remedy}")
        return "\n".join(lines)


def tail(path: Path, lines: int = 8, most: int = 65536) -> str:
    """The last lines of a log, for a message; empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - most))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
