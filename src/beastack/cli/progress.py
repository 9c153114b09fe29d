"""Showing long work: a live view on a terminal, plain lines elsewhere.

Both implement the cloud's ``Progress``: tasks start, wait for something, end or fail, from several threads.
"""

import sys
import threading
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table


@dataclass
class Step:
    """One task as it is shown: when it began (monotonic seconds), what it waits for, how it ended."""

    name: str
    began: float
    waiting: str = ""
    seconds: float | None = None
    note: str = ""
    error: str = ""


@dataclass
class PlainProgress:
    """One line when something ends or its wait changes; for logs and CI."""

    console: Console = field(default_factory=lambda: Console(file=sys.stderr, soft_wrap=True, highlight=False))
    began: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _line(self, text: str) -> None:
        with self._lock:
            self.console.print(f"[{time.monotonic() - self.began:6.1f} s] {text}", markup=False)

    def start(self, task: str, waiting_for: str = "") -> None:
        """A task begins."""
        self._line(f"{task} …{f' ({waiting_for})' if waiting_for else ''}")

    def waiting(self, task: str, text: str) -> None:
        """A task waits for something."""
        self._line(f"{task}: waiting for {text}")

    def done(self, task: str, seconds: float, note: str = "") -> None:
        """A task ended well."""
        self._line(f"{task}: done in {seconds:.1f} s{f', {note}' if note else ''}")

    def failed(self, task: str, error: str) -> None:
        """A task ended badly."""
        # the whole message comes once, at the end
        self._line(f"{task}: FAILED: {(error.splitlines() or [''])[0]}")

    def __enter__(self) -> "PlainProgress":
        return self

    def __exit__(self, *exc: object) -> None:
        return None


class LiveProgress:
    """A table that is drawn over: running tasks with what they wait for, ended ones above."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.steps: dict[str, Step] = {}
        self._lock = threading.Lock()
        self._live = Live(console=self.console, refresh_per_second=8, get_renderable=self.render, transient=True)

    def render(self) -> Table:
        """The running tasks as they are now."""
        table = Table(box=None, show_header=False, pad_edge=False)
        with self._lock:
            for step in self.steps.values():
                if step.seconds is None and not step.error:
                    table.add_row("…", step.name, f"{time.monotonic() - step.began:5.1f} s", step.waiting)
        return table

    def start(self, task: str, waiting_for: str = "") -> None:
        """A task begins."""
        with self._lock:
            self.steps[task] = Step(task, time.monotonic(), waiting_for)

    def waiting(self, task: str, text: str) -> None:
        """A task waits for something."""
        with self._lock:
            self.steps[task].waiting = f"waiting for {text}"

    def done(self, task: str, seconds: float, note: str = "") -> None:
        """A task ended well: its line stays above the live part."""
        with self._lock:
            self.steps[task].seconds = seconds
        self.console.print(f"[green]✓[/green] {task:<26} [dim]{seconds:5.1f} s  {note}[/dim]", highlight=False)

    def failed(self, task: str, error: str) -> None:
        """A task ended badly."""
        with self._lock:
            self.steps[task].error = error
        self.console.print(f"[red]✗[/red] {task}", highlight=False)

    def __enter__(self) -> "LiveProgress":
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()


def for_this_terminal() -> PlainProgress | LiveProgress:
    """Live on a terminal, lines elsewhere."""
    return LiveProgress() if sys.stderr.isatty() else PlainProgress()
