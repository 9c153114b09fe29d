"""ng_car(4) limits of what a guest sends, alone and behind a guard.

No host has answered these yet but the simulated one, which was written from sys/netgraph/ng_car.c.
"""

import re
import time
from collections.abc import Iterator

import pytest

from beastack.freebsd import car, netgraph, ngctl
from beastack.freebsd.bpf_guard import guard
from beastack.freebsd.car import Rate
from beastack.freebsd.errors import CommandFailed

from .lab import PATIENCE, Guest, Lab, until

# kbit/s. One frame of 1,442 bytes each 6 ms is twice as much, and each 10 ms still more.
LIMIT = Rate(800, 1)
PAYLOAD, SECONDS = 1400, 3


@pytest.fixture
def pair(lab: Lab) -> Iterator[tuple[Guest, Guest]]:
    """Two guests that reach each other; the first one is to be limited."""
    lab.host.run(["kldload", "-n", "ng_ether", "ng_bpf", "ng_car"])
    _bridge, (one, two) = lab.guests(2)
    lab.later(lambda: netgraph.clear_guard(lab.host, one.port))
    lab.later(lambda: car.clear_rate(lab.host, one.port))
    yield one, two


def answers(guest: Guest, address: str, seconds: int = SECONDS) -> tuple[int, int]:
    """How many echo requests were sent and answered."""
    argv = ["ping", "-n", "-q", "-i", "0.006", "-t", str(seconds), "-s", str(PAYLOAD), address]
    said = guest.host.run(argv, check=False, timeout=PATIENCE).out
    match = re.search(r"(\d+) packets transmitted, (\d+) packets received", said)
    assert match is not None, said
    return int(match[1]), int(match[2])


def test_a_limit_holds_and_the_other_direction_is_free(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    netgraph.set_guard(lab.host, one.port, guard([(one.mac, one.address)]))
    car.set_rate(lab.host, one.port, LIMIT)
    one.reaches(two.address)
    # the burst is used up first
    answers(one, two.address, 1)
    _sent, answered = answers(one, two.address)
    kbps = answered * (PAYLOAD + 42) * 8 / SECONDS / 1000
    print(f"limited to {LIMIT.kbps} kbit/s: {kbps:.0f} kbit/s passed")
    assert 0.7 * LIMIT.kbps < kbps < 1.2 * LIMIT.kbps
    shown = ngctl.ask(lab.host, car.node(one.port), "getstats")
    assert re.search(r"upstream=\{ passed=\d+ dropp?ed=\d+ green=\d+ red=\d+ \}", shown), shown

    # ten times what the limit would let through in this time; what comes back are acknowledgements
    path, size, begin = f"{lab.folder}/received", LIMIT.kbps * 125 * 10, time.monotonic()
    argv = ["daemon", "-f", "-p", f"{lab.folder}/receiver.pid", "-o", path, "nc", "-n", "-l", one.address, "5001"]
    one.host.run(argv)
    data = "x" * size

    def received() -> bool:
        return lab.host.run(["wc", "-c", path], check=False).out.split()[:1] == [str(size)]

    def sent() -> bool:
        argv = ["nc", "-n", "-N", "-w", "5", one.address, "5001"]
        return two.host.run(argv, input=data, check=False, timeout=PATIENCE).rc == 0

    until(sent, "the other direction to be sent")
    until(received, "the other direction to arrive", 5)
    assert time.monotonic() - begin < 5

    car.clear_rate(lab.host, one.port)
    assert car.list_rates(lab.host) == {}
    sent_now, answered_now = answers(one, two.address, 1)
    assert answered_now >= sent_now - 2
    assert netgraph.list_guards(lab.host) == [one.port]


def test_guards_and_limits_come_and_go_beside_each_other(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    mine, forged = guard([(one.mac, one.address)]), guard([("fa:16:3e:66:66:66", one.address)])
    car.set_rate(lab.host, one.port, LIMIT)
    netgraph.set_guard(lab.host, one.port, mine)
    one.reaches(two.address)
    assert car.list_rates(lab.host) == {one.port: True}
    netgraph.set_guard(lab.host, one.port, forged)
    assert not one.pings(two.address)
    netgraph.clear_guard(lab.host, one.port)
    one.reaches(two.address)
    assert car.list_rates(lab.host) == {one.port: True}
    # half-made: the limit has lost its way to the bridge
    lab.host.run(["ngctl", "rmhook", f"{car.node(one.port)}:", "upper"])
    assert not one.pings(two.address)
    assert car.list_rates(lab.host) == {one.port: False}
    car.set_rate(lab.host, one.port, LIMIT)
    one.reaches(two.address)
    netgraph.set_guard(lab.host, one.port, mine)
    car.clear_rate(lab.host, one.port)
    one.reaches(two.address)


def test_what_ng_car_refuses(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    """The bounds that are checked before ngctl is asked are the kernel's own."""
    one, two = pair
    car.set_rate(lab.host, one.port, LIMIT)
    for conf in ("cbs=16384 cir=1000000001 greenAction=1", "cir=1000000 greenAction=1"):
        words = f"{{ upstream={{ {conf} }} downstream={{ cbs=16384 greenAction=1 }} }}"
        with pytest.raises(CommandFailed, match="Invalid argument"):
            lab.host.run(["ngctl", "msg", f"{car.node(one.port)}:", "setconf", words])
    assert car.read([], ngctl.ask(lab.host, car.node(one.port), "getconf")) == (car.conf(LIMIT), car.FREE)
    one.reaches(two.address)
