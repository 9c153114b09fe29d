"""The way to the daemon: limits, a second try over a new connection, and never an answer that was not given."""

import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.nova.libvirt.binding import NoLibvirt
from beastack.nova.libvirt.connection import LibvirtRefused, NoSuchDomain
from beastack.nova.libvirt.link import MOST_WAITING, Link, Unreachable


class Fake:
    """A connection whose calls end as ``ends`` says: an answer, an error, `hang`, or the daemon's end."""

    def __init__(self, ends: Iterator[Any]) -> None:
        self.ends, self.dead, self.closed = ends, False, threading.Event()
        self.release = threading.Event()

    def ask(self) -> Any:
        end = next(self.ends)
        if end == "hang":
            self.release.wait(10)
        if end == "lost":
            self.dead = True
            raise LibvirtRefused("connection reset")
        if isinstance(end, Exception):
            raise end
        return end

    def alive(self) -> bool:
        return not self.dead

    def close(self) -> None:
        self.closed.set()


class Daemon:
    def __init__(self, *ends: Any, opens: Any = ()) -> None:
        self.ends, self.opens = iter(ends), iter(opens)
        self.made: list[Fake] = []

    def connect(self) -> Any:
        end = next(self.opens, None)
        if isinstance(end, Exception):
            raise end
        self.made.append(Fake(self.ends))
        return self.made[-1]


def link(daemon: Daemon, seconds: float = 5.0) -> Link:
    return Link(daemon.connect, seconds)


def ask(way: Link) -> Any:
    return way.ask(lambda connection: connection.ask())  # type: ignore[attr-defined]


def test_one_connection_for_all_calls() -> None:
    daemon = Daemon(1, NoSuchDomain("x"), LibvirtRefused("no"), 2)
    way = link(daemon)
    assert ask(way) == 1
    with pytest.raises(NoSuchDomain):
        ask(way)
    with pytest.raises(LibvirtRefused, match="no"):
        ask(way)
    assert ask(way) == 2
    assert len(daemon.made) == 1


def test_a_lost_connection_is_made_anew_once() -> None:
    daemon = Daemon("lost", 1, "lost", "lost", 2)
    way = link(daemon)
    assert ask(way) == 1
    assert daemon.made[0].closed.wait(5)
    with pytest.raises(Unreachable, match="was lost: connection reset"):
        ask(way)
    assert ask(way) == 2


@pytest.mark.parametrize("error", [LibvirtRefused("refused"), NoLibvirt("not installed")])
def test_no_daemon(error: Exception) -> None:
    daemon = Daemon(7, opens=[error])
    way = link(daemon)
    with pytest.raises(Unreachable, match=r"cannot be reached: (refused|not installed)"):
        ask(way)
    assert ask(way) == 7


def test_a_daemon_that_hangs_is_not_waited_for_and_not_asked_twice() -> None:
    daemon = Daemon("hang", 3)
    way = link(daemon, 0.1)
    with pytest.raises(Unreachable, match="no answer within 0 s"):
        ask(way)
    daemon.made[0].release.set()
    assert ask(way) == 3
    assert len(daemon.made) == 2


def test_calls_that_wait_do_not_pile_up() -> None:
    daemon = Daemon(*["hang"] * MOST_WAITING, 5)
    way = link(daemon, 0.05)
    for _ in range(MOST_WAITING):
        with pytest.raises(Unreachable, match="no answer within"):
            ask(way)
    with pytest.raises(Unreachable, match=f"{MOST_WAITING} calls wait"):
        ask(way)
    for made in daemon.made:
        made.release.set()
    for worker in way._waiting:
        worker.join(5)
    assert ask(way) == 5


def test_one_that_hangs_while_it_is_opened() -> None:
    waits = threading.Event()

    def connect() -> Any:
        waits.wait(10)
        raise LibvirtRefused("late")

    with pytest.raises(Unreachable, match="does not answer"):
        ask(Link(connect, 0.1))
    waits.set()


@given(st.lists(st.sampled_from(["lost", "no domain", "refused", "answer"]), max_size=12))
def test_what_is_told_is_what_was_answered(kinds: list[str]) -> None:
    """Only an answer of the daemon's is an answer, and only its own word is `there is no such domain`."""
    numbers = count()
    given_ends: list[Any] = []
    for kind in kinds:
        number = next(numbers)
        made = {"no domain": NoSuchDomain(str(number)), "refused": LibvirtRefused(str(number)), "lost": "lost"}
        given_ends.append(made.get(kind, number))
    way, left = link(Daemon(*given_ends)), list(given_ends)
    while left:
        first = left.pop(0)
        if first == "lost" and left:
            first = left.pop(0)  # the one second try
        elif first == "lost":
            return
        if first == "lost":
            with pytest.raises(Unreachable):
                ask(way)
        elif isinstance(first, Exception):
            with pytest.raises(type(first), match=f"^{first}$"):
                ask(way)
        else:
            assert ask(way) == first
