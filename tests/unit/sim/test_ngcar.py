"""ng_car nodes, held against numbers worked out by hand from sys/netgraph/ng_car.c."""

import re

import pytest

from beastack.sim.netgraph import Netgraph
from beastack.sim.ngcar import Meter

ALONE = """mkpeer tap0: car lower lower
name tap0:lower limit
connect limit: tap0: upper upper
"""
FREE = "downstream={ cbs=8192 greenAction=1 yellowAction=1 redAction=1 }"
FRAME = bytes(1000)


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def graph(clock: Clock) -> Netgraph:
    graph = Netgraph(lambda: ["tap0"], clock)
    assert graph.ngctl(["-f", "-"], ALONE) == ("", "", 0)
    return graph


def said(graph: Netgraph, command: str, *words: str) -> str:
    out, err, _ = graph.ngctl(["msg", "limit:", command, *words])
    return re.sub(r"\[[0-9a-f]+\]", "[N]", out + err)


def burst(graph: Netgraph) -> int:
    return next((n for n in range(300) if not graph.lower_in("tap0", FRAME)), 300)


def test_a_new_node_limits_to_little(graph: Netgraph, clock: Clock) -> None:
    assert said(graph, "getconf") == (
        'Rec\'d response "getconf" (4) from "[N]:":\nArgs:\t'
        "{ upstream={ cbs=8192 ebs=8192 cir=10240 greenAction=1 yellowAction=1 redAction=2 } "
        "downstream={ cbs=8192 ebs=8192 cir=10240 greenAction=1 yellowAction=1 redAction=2 } }\n"
    )
    assert burst(graph) == 16
    # 10,240 bit/s are 1,280 bytes a second
    clock.now += 1
    assert burst(graph) == 1
    assert said(graph, "getclrstats") == (
        'Rec\'d response "getclrstats" (3) from "[N]:":\nArgs:\t'
        "{ upstream={ passed=17 dropped=2 green=9 yellow=8 red=2 } }\n"
    )
    assert said(graph, "getstats").endswith("Args:\t{ }\n")


def test_both_directions_are_measured_apart(graph: Netgraph, clock: Clock) -> None:
    assert said(graph, "setconf", f"{{ upstream={{ cbs=5000 cir=80000 greenAction=1 redAction=2 }} {FREE} }}") == ""
    assert burst(graph) == 5
    assert all(graph.upper_out("tap0", FRAME) for _ in range(300))
    # 10,000 bytes a second; who was quiet gets the bucket twice
    clock.now += 0.25
    assert burst(graph) == 2
    clock.now += 10
    assert burst(graph) == 5
    clock.now += 10
    assert graph.lower_in("tap0", bytes(60))
    clock.now += 10
    assert burst(graph) == 9


def test_bytes_of_less_than_one_a_tick_are_lost(graph: Netgraph, clock: Clock) -> None:
    """cir * t >> 23 with t in 2^-20 s: 4,000 bit/s bring half a byte a millisecond, which is none."""
    said(graph, "setconf", f"{{ upstream={{ cbs=1000 cir=4000 greenAction=1 redAction=2 }} {FREE} }}")
    assert burst(graph) == 1
    for _ in range(5000):
        clock.now += 0.001
        assert not graph.lower_in("tap0", FRAME)
    clock.now += 3
    assert graph.lower_in("tap0", FRAME)


def test_red_goes_into_debt_and_keeps_the_rate() -> None:
    """The committed bucket goes below nothing while the second one lasts; what passes is the rate all the same."""
    meter = Meter()
    fields = {"greenAction": 1, "yellowAction": 1, "redAction": 2, "pir": 0, "opt": 0}
    meter.configure({"cbs": 10_000, "ebs": 20_000, "cir": 800_000, "mode": 2, **fields})
    passed = sum(meter.passes(1000, at / 1000) for at in range(10_000))
    assert meter.stats["yellow"] > 0
    assert meter.stats["red"] > 0
    assert 1000 <= passed <= 1030


def test_double_rate_fills_both_buckets() -> None:
    meter = Meter()
    fields = {"greenAction": 1, "yellowAction": 1, "redAction": 2, "opt": 0}
    meter.configure({"cbs": 10_000, "ebs": 10_000, "cir": 80_000, "pir": 160_000, "mode": 1, **fields})
    passed = sum(meter.passes(1000, at / 1000) for at in range(10_000))
    # 80,000 * 1,048 >> 23 is 9 bytes a tick and not 10, and twice as much 19
    assert meter.stats["green"] == pytest.approx(100, abs=1)
    assert passed == pytest.approx(300, abs=2)


def test_packets_are_counted_instead_of_bytes(graph: Netgraph, clock: Clock) -> None:
    conf = "upstream={ cbs=20 ebs=0 cir=50 greenAction=1 redAction=2 opt=2 }"
    said(graph, "setconf", f"{{ {conf} {FREE} }}")
    assert "{ cbs=20 cir=50 greenAction=1 redAction=2 opt=2 }" in said(graph, "getconf")
    assert burst(graph) == 20
    clock.now += 0.21
    assert burst(graph) == 10


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ("{ }", "Invalid argument"),
        (f"{{ upstream={{ cbs=0 }} {FREE} }}", "Invalid argument"),
        (f"{{ upstream={{ cbs=1 cir=1000000001 }} {FREE} }}", "Invalid argument"),
        (f"{{ upstream={{ cbs=1 mode=256 }} {FREE} }}", "Invalid argument"),
        (f"{{ upstream={{ cbs=1 tokens=5 }} {FREE} }}", "Invalid argument"),
        (f"{{ upstream={{ cbs=1 mode=3 cir=5 }} {FREE} }}", "shaping is not simulated"),
        (FREE, "Invalid argument"),
    ],
)
def test_what_is_refused(graph: Netgraph, conf: str, words: str) -> None:
    before = said(graph, "getconf")
    assert words in said(graph, "setconf", conf)
    assert said(graph, "getconf") == before


def test_hooks(graph: Netgraph) -> None:
    assert "Invalid argument" in graph.ngctl(["connect", "limit:", "limit:", "sideways", "lower"]).err
    assert "not implemented" in said(graph, "getprogram", '"lower"')
    graph.ngctl(["rmhook", "limit:", "upper"])
    assert not graph.lower_in("tap0", FRAME)
    assert graph.ngctl(["connect", "limit:", "tap0:", "upper", "upper"]).rc == 0
    # the other hook's counters begin anew
    assert said(graph, "getstats").endswith("Args:\t{ upstream={ passed=1 green=1 errors=1 } }\n")
    assert graph.measures("tap0")
    graph.ngctl(["shutdown", "limit:"])
    assert graph.lower_in("tap0", FRAME)
    assert not graph.measures("tap0")
