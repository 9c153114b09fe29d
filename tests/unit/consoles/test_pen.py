"""One writer at a time."""

from hypothesis import given
from hypothesis import strategies as st

from beastack.consoles.pen import Pen


def test_who_types_first_has_it_until_it_leaves() -> None:
    pen = Pen(quiet=60)
    assert pen.free
    assert pen.take("a", 0)
    assert not pen.take("b", 1)
    assert pen.has("a")
    pen.leave("b")
    assert not pen.take("b", 2)
    pen.leave("a")
    assert pen.take("b", 3)
    assert not pen.take("a", 4)


def test_who_is_quiet_loses_it_to_the_next() -> None:
    pen = Pen(quiet=60)
    assert pen.take("a", 0)
    assert pen.take("a", 50)
    assert not pen.take("b", 109)
    assert pen.take("b", 110)
    assert not pen.take("a", 111)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.booleans()), max_size=60))
def test_no_two_write_within_the_quiet_time(events: list[tuple[str, int, bool]]) -> None:
    pen, now, last = Pen(quiet=20), 0.0, dict[str, float]()
    for viewer, later, leaves in events:
        now += later
        if leaves:
            pen.leave(viewer)
            last.pop(viewer, None)
        elif pen.take(viewer, now):
            assert all(now - when >= 20 for who, when in last.items() if who != viewer)
            last[viewer] = now
