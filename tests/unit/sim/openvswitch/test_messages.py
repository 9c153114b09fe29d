"""What ovs-vswitchd is told of interfaces, cut and read wherever the bytes are split."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from beastack.sim.openvswitch.messages import Rows, Stream

ONE, TWO = "11111111-0000-0000-0000-000000000000", "22222222-0000-0000-0000-000000000000"


def answer(rows: dict[str, object], whole: bool = True) -> dict[str, object]:
    return {"id": 3, "error": None, "result": [not whole, "txn", {"Interface": rows, "Bridge": {}}]}


def update(rows: dict[str, object], method: str = "update3") -> dict[str, object]:
    return {"id": None, "method": method, "params": [["monid", "Open_vSwitch"], "txn", {"Interface": rows}]}


def row(name: str, kind: str = "") -> dict[str, str]:
    return {"name": name, "type": kind}


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3), max_size=5),
    st.lists(st.integers(0, 200)),
)
def test_messages_come_out_whole_wherever_they_are_cut(messages: list[dict[str, str]], cuts: list[int]) -> None:
    data = "".join(json.dumps(one, ensure_ascii=False) for one in messages).encode()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    stream = Stream()
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    assert [one for piece in pieces for one in stream.feed(piece)] == messages


def test_rows_come_change_and_go() -> None:
    rows = Rows()
    assert rows.take(answer({ONE: {"initial": row("tapa")}, TWO: {"initial": row("br-int", "internal")}}))
    assert rows.names() == {"tapa"}
    assert rows.take(update({TWO: {"modify": {"type": "system", "ofport": 3}}}))
    assert rows.names() == {"tapa", "br-int"}
    assert rows.take(update({ONE: {"delete": None}, TWO: {"modify": {"ofport": 4}}}))
    assert rows.names() == {"br-int"}


def test_an_answer_that_is_all_there_is_replaces_and_one_that_is_not_adds() -> None:
    rows = Rows()
    rows.take(answer({ONE: {"initial": row("tapa")}}))
    rows.take(answer({TWO: {"insert": row("tapb")}}, whole=False))
    assert rows.names() == {"tapa", "tapb"}
    rows.take(answer({TWO: {"initial": row("tapb")}}))
    assert rows.names() == {"tapb"}


def test_the_older_ways_of_telling() -> None:
    rows = Rows()
    rows.take({"id": 1, "error": None, "result": {"Interface": {ONE: {"new": row("tapa")}}}})
    assert rows.names() == {"tapa"}
    rows.take({"id": None, "method": "update", "params": ["m", {"Interface": {ONE: {"old": row("tapa")}}}]})
    assert rows.names() == frozenset()


def test_what_is_not_the_systems_is_left_to_the_switch() -> None:
    rows = Rows()
    rows.take(answer({str(n): {"initial": row(f"i{n}", kind)} for n, kind in enumerate(("patch", "tap", "vxlan"))}))
    assert rows.names() == frozenset()


def test_messages_of_other_things_say_nothing() -> None:
    rows = Rows()
    others: list[object] = [
        7,
        {"id": 1, "result": {}, "error": None},
        {"id": 1, "method": "echo", "params": []},
        {"id": None, "method": "update3", "params": [1, 2, {"Bridge": {}}]},
        {"id": 2, "error": None, "result": ["Open_vSwitch", "_Server"]},
    ]
    assert not any([rows.take(one) for one in others])
