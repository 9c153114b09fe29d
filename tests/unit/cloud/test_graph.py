"""Tasks run when what they need has ended, at the same time where nothing stands between, and stop at a failure."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beastack.cloud.errors import CloudError
from beastack.cloud.graph import Graph, summary


class Quiet:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def start(self, task: str, waiting_for: str = "") -> None:
        self.events.append(("start", task))

    def waiting(self, task: str, text: str) -> None:
        self.events.append(("waiting", task))

    def done(self, task: str, seconds: float, note: str = "") -> None:
        self.events.append(("done", task))

    def failed(self, task: str, error: str) -> None:
        self.events.append(("failed", task))


def nothing() -> None:
    return None


def test_independent_tasks_meet() -> None:
    """Each waits for the other: only together can they end."""
    meeting = threading.Barrier(2)
    graph = Graph()
    graph.add("a", lambda: str(meeting.wait(10)))
    graph.add("b", lambda: str(meeting.wait(10)))
    graph.run(Quiet())
    assert {row[0] for row in summary(graph.timings)} == {"a", "b"}


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sets(st.integers(0, 7)), min_size=1, max_size=8))
def test_what_is_needed_ends_first(needs: list[set[int]]) -> None:
    order: list[int] = []
    graph = Graph()
    for n, wanted in enumerate(needs):
        graph.add(str(n), lambda n=n: order.append(n), *[str(w) for w in sorted(wanted) if w < n])  # type: ignore[misc]
    graph.run(Quiet())
    assert sorted(order) == list(range(len(needs)))
    for n, wanted in enumerate(needs):
        assert all(order.index(w) < order.index(n) for w in wanted if w < n)


def test_a_failure_stops_what_has_not_begun_and_waits_for_what_runs() -> None:
    ended: list[str] = []

    def slow() -> None:
        time.sleep(0.2)
        ended.append("slow")

    def fails() -> None:
        raise CloudError("port 5672 is taken", remedy="end what holds it")

    graph = Graph()
    graph.add("slow", slow)
    graph.add("fails", fails)
    graph.add("after", lambda: ended.append("after"), "fails", "slow")
    progress = Quiet()
    with pytest.raises(CloudError, match="5672"):
        graph.run(progress)
    assert ended == ["slow"]
    assert ("failed", "fails") in progress.events


def test_a_cancelled_graph_says_so() -> None:
    stop = threading.Event()
    graph = Graph()
    graph.add("first", stop.set)
    graph.add("second", nothing, "first")
    with pytest.raises(CloudError, match="interrupted"):
        graph.run(Quiet(), stop)
    assert set(graph.timings) == {"first"}


def test_wrong_graphs_are_refused() -> None:
    graph = Graph()
    graph.add("a", nothing)
    with pytest.raises(ValueError, match="already"):
        graph.add("a", nothing)
    with pytest.raises(ValueError, match="needs 'c'"):
        graph.add("b", nothing, "c")


def test_a_cloud_error_names_cause_log_and_remedy(tmp_path) -> None:  # type: ignore[no-untyped-def]
    text = str(CloudError("it died", log=tmp_path / "x.log", remedy="mend it"))
    assert text.splitlines() == ["it died", f"Log: {tmp_path / 'x.log'}", "Remedy: mend it"]
