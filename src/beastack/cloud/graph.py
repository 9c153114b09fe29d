"""A graph of tasks: each starts when those it needs have ended, all others at the same time, in threads.

The first failure stops what has not begun, and asks what runs to stop (``stopping``); it is waited for. Durations are
kept for the summary.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol

from beastack.cloud import stopping
from beastack.cloud.stopping import Interrupted


class Progress(Protocol):
    """Who is told; called from several threads."""

    def start(self, task: str, waiting_for: str = "") -> None:
        """A task begins."""
        ...

    def waiting(self, task: str, text: str) -> None:
        """A task waits for something."""
        ...

    def done(self, task: str, seconds: float, note: str = "") -> None:
        """A task ended well after ``seconds``."""
        ...

    def failed(self, task: str, error: str) -> None:
        """A task ended badly."""
        ...


@dataclass(frozen=True)
class Task:
    """One step: its name, what it does (returns a note for the summary, or None) and what must have ended before."""

    name: str
    work: Callable[[], str | None]
    needs: tuple[str, ...] = ()


@dataclass
class Timing:
    """When a task began, seconds after the graph did, and how long it took."""

    began: float
    seconds: float


@dataclass
class Graph:
    """Tasks by name; see ``run``."""

    tasks: dict[str, Task] = field(default_factory=dict)
    timings: dict[str, Timing] = field(default_factory=dict)
    failed: str = ""

    def add(self, name: str, work: Callable[[], str | None], *needs: str) -> None:
        """Add a task; what it needs must have been added before, so there can be no circle."""
        if name in self.tasks:
            raise ValueError(f"task {name!r} is there already")
        unknown = [n for n in needs if n not in self.tasks]
        if unknown:
            raise ValueError(f"task {name!r} needs {unknown[0]!r}, which is not there")
        self.tasks[name] = Task(name, work, needs)

    def run(
        self,
        progress: Progress,
        cancelled: threading.Event | None = None,
        threads: int = 24,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        """Run all tasks. Raises the first error, after the tasks that ran have ended; ``failed`` is its task's name.

        ``watch`` is called twice a second or more often; what it raises counts as a failure of the whole.
        """
        began = time.monotonic()
        stop, halt = cancelled or threading.Event(), threading.Event()
        left = dict(self.tasks)
        ended: set[str] = set()
        running: dict[Future[None], str] = {}
        failure: BaseException | None = None

        def one(task: Task) -> None:
            stopping.bind(halt)
            start = time.monotonic()
            progress.start(task.name)
            note = task.work()
            took = time.monotonic() - start
            self.timings[task.name] = Timing(start - began, took)
            progress.done(task.name, took, note or "")

        with ThreadPoolExecutor(threads, thread_name_prefix="task") as pool:
            try:
                while left or running:
                    failure = failure or self._watched(watch)
                    if failure is not None or stop.is_set():
                        halt.set()
                    else:
                        for task in [t for t in left.values() if ended.issuperset(t.needs)]:
                            running[pool.submit(one, left.pop(task.name))] = task.name
                    if not running:
                        break
                    # a limit, so that a cancellation is seen
                    for future in wait(running, timeout=0.5, return_when=FIRST_COMPLETED).done:
                        name = running.pop(future)
                        error = future.exception()
                        if error is None:
                            ended.add(name)
                        elif not isinstance(error, Interrupted):
                            progress.failed(name, str(error))
                            self.failed = self.failed or name
                            failure = failure or error
            except BaseException:
                halt.set()
                raise
        if failure is not None:
            raise failure
        if stop.is_set():
            raise Interrupted

    def _watched(self, watch: Callable[[], None]) -> Exception | None:
        try:
            watch()
        except Exception as error:  # noqa: BLE001 - raised again by run, after the tasks have ended
            return error
        return None


def summary(timings: Mapping[str, Timing]) -> Sequence[tuple[str, float, float]]:
    """Rows (task, began, seconds) in the order of their beginning."""
    return sorted(((name, t.began, t.seconds) for name, t in timings.items()), key=lambda row: row[1])
