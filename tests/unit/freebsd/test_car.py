"""Limits as ng_car nodes, beside guards, against the simulation's netgraph. Shapes of answers: read from the source."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.freebsd.simulated import SimulatedHost
from tests.unit.freebsd.test_netgraph import MAC, ONE, TAP, TWO, asks

from beastack.freebsd import car, netgraph
from beastack.freebsd.bpf_guard import guards
from beastack.freebsd.car import BadRate, Conf, Rate
from beastack.freebsd.errors import CommandFailed, UnexpectedOutput

RATE, OTHER = Rate(1000, 400), Rate(8000)
MINE, FOREIGN = asks(MAC, "10.5.0.1"), asks(MAC, "10.5.0.77")
# bytes
BUCKET = 400 * 125 // 2


class Clocked(SimulatedHost):
    """A host whose netgraph has its time from the test."""

    def __init__(self, *names: str) -> None:
        super().__init__(names)
        self.now = 100.0
        self.netgraph.clock = lambda: self.now

    def passes(self, length: int = 1000, frame: bytes = MINE) -> bool:
        return self.netgraph.lower_in(TAP, frame.ljust(length, b"\0"))

    def burst(self) -> int:
        """Frames of 1,000 bytes that pass at once."""
        return next((n for n in range(500) if not self.passes()), 500)

    def limited(self) -> bool:
        return list(car.list_rates(self).items()) == [(TAP, True)]


@pytest.fixture
def host() -> Clocked:
    return Clocked(TAP, "brq")


RATES = st.builds(Rate, st.integers(car.MIN_KBPS, car.MAX_KBPS), st.integers(0, car.MAX_BURST_KB))


@given(RATES)
def test_what_is_set_is_read_back(rate: Rate) -> None:
    host = Clocked(TAP)
    car.set_rate(host, TAP, rate)
    assert car._in_force(host, TAP) == (car.conf(rate), car.FREE)
    host.ran.clear()
    car.set_rate(host, TAP, rate)
    assert [argv for argv in host.ran if "-f" in argv] == []


SIDES = st.builds(Conf, *(st.integers(0, 2**64 - 1) for _ in range(4)), *(st.integers(0, 255) for _ in range(5)))


@given(SIDES, SIDES)
def test_any_configuration_is_read_as_it_was_written(upstream: Conf, downstream: Conf) -> None:
    assert car.read([], car.text(upstream, downstream).replace("{ }", "{ cbs=0 }")) == (upstream, downstream)
    assert car.read([], "{ }") == (Conf(), Conf())


@given(st.text(max_size=40) | st.from_regex(r"\{ upstream=\{ [a-z=0-9 ]{0,30}\} \}", fullmatch=True))
def test_what_is_not_understood_is_refused_and_not_guessed(said: str) -> None:
    try:
        upstream, downstream = car.read([], said)
    except UnexpectedOutput:
        return
    words = car.text(upstream, downstream)
    assert all(f"{name}={int(value)}" in words or int(value) == 0 for name, value in car._FIELD.findall(said))


@given(RATES, st.lists(st.tuples(st.integers(0, 50), st.integers(42, 1514)), min_size=1, max_size=200), st.data())
def test_never_more_than_the_burst_and_the_rate(rate: Rate, frames: list[tuple[int, int]], data: st.DataObject) -> None:
    """Whatever a guest sends, from any moment on: at most two buckets and what the time brought."""
    host = Clocked(TAP)
    car.set_rate(host, TAP, rate)
    for wait, length in frames[: data.draw(st.integers(0, len(frames)))]:
        host.now += wait / 100
        host.passes(length)
    begin, passed = host.now, 0
    for wait, length in frames:
        host.now += wait / 1000
        passed += length if host.passes(length) else 0
    # the clock of the node is up to one tick older than what it says
    assert passed <= 2 * car.conf(rate).cbs + (host.now - begin + 0.001) * rate.kbps * 125


@pytest.mark.parametrize("rate", [Rate(63), Rate(1_000_001), Rate(0), Rate(1000, -1), Rate(1000, 2**31)])
def test_what_the_kernel_would_not_take(host: Clocked, rate: Rate) -> None:
    with pytest.raises(BadRate):
        car.set_rate(host, TAP, rate)
    assert host.ran == []


def test_a_burst_holds_a_frame_and_what_two_ticks_bring() -> None:
    assert car.conf(Rate(64, 1)).cbs == 16_384
    assert car.conf(Rate(1_000_000, 1)).cbs == 2_500_000
    assert car.conf(Rate(1000)).cbs == 50_000
    assert car.conf(Rate(1000, 400)).cbs == BUCKET


@pytest.mark.parametrize("guarded", [False, True])
def test_a_limit_is_set_changed_and_removed(host: Clocked, guarded: bool) -> None:
    if guarded:
        netgraph.set_guard(host, TAP, ONE)
    assert car.list_rates(host) == {}
    car.set_rate(host, TAP, RATE)
    assert host.limited()
    assert host.burst() == BUCKET // 1000
    host.now += 0.1
    assert host.burst() == 12
    assert host.netgraph.upper_out(TAP, bytes(1500))
    assert host.passes(frame=FOREIGN) is False
    # the same again fills no bucket
    car.set_rate(host, TAP, RATE)
    assert not host.passes()
    car.set_rate(host, TAP, OTHER)
    assert host.burst() == 400
    assert netgraph.list_guards(host) == ([TAP] if guarded else [])
    car.clear_rate(host, TAP)
    car.clear_rate(host, TAP)
    assert car.list_rates(host) == {}
    assert all(host.passes() for _ in range(1000))
    assert host.passes(frame=FOREIGN) is not guarded


def test_guards_come_change_and_go_and_the_limit_stays(host: Clocked) -> None:
    car.set_rate(host, TAP, RATE)
    host.burst()
    netgraph.set_guard(host, TAP, ONE)
    assert not host.passes(), "the bucket is as it was"
    host.now += 10
    assert host.passes()
    assert not host.passes(42, FOREIGN)
    netgraph.set_guard(host, TAP, TWO)
    assert not host.passes(42)
    chain = guards([(f"fa:16:3e:00:00:{n:02x}", f"10.5.0.{n}") for n in range(90)])
    netgraph.set_guard(host, TAP, *chain)
    assert host.passes()
    netgraph.clear_guard(host, TAP)
    assert host.passes(42, FOREIGN)
    assert host.limited()
    host.now += 10
    assert BUCKET // 1000 <= host.burst() <= 2 * BUCKET // 1000


def test_an_interface_that_is_gone_leaves_nothing(host: Clocked) -> None:
    netgraph.set_guard(host, TAP, ONE)
    car.set_rate(host, TAP, RATE)
    host.interfaces.remove(TAP)
    host.run(["ngctl", "list"])
    car.clear_rate(host, TAP)
    netgraph.clear_guard(host, TAP)
    assert "bs" not in host.run(["ngctl", "list"]).out.replace("ngctl", "")
    host.interfaces.append(TAP)
    netgraph.set_guard(host, TAP, ONE)
    car.set_rate(host, TAP, RATE)
    host.interfaces.remove(TAP)
    host.run(["ngctl", "list"])
    netgraph.clear_guard(host, TAP)
    car.clear_rate(host, TAP)
    assert "bs" not in host.run(["ngctl", "list"]).out.replace("ngctl", "")


def test_an_interface_that_is_not_there(host: Clocked) -> None:
    with pytest.raises(CommandFailed):
        car.set_rate(host, "tap00000000-00", RATE)
    car.clear_rate(host, "tap00000000-00")


def test_a_limit_that_cannot_be_set_leaves_the_port_open_and_guarded(host: Clocked) -> None:
    """An operator's node of our name: mkpeer works, name does not."""
    netgraph.set_guard(host, TAP, ONE)
    host.run(["ngctl", "mkpeer", "brq:", "car", "lower", "lower"])
    host.run(["ngctl", "name", "brq:lower", "blocked"])
    real = host.netgraph.name

    def name(path: str, wanted: str) -> None:
        real(path, "blocked" if wanted == car.node(TAP) else wanted)

    host.netgraph.name = name  # type: ignore[method-assign]
    with pytest.raises(CommandFailed, match="already in use"):
        car.set_rate(host, TAP, RATE)
    assert all(host.passes() for _ in range(200))
    assert not host.passes(frame=FOREIGN)
    assert netgraph.list_guards(host) == [TAP]


class Killed(Exception):
    pass


class Dying(Clocked):
    """Every command of ngctl counts, those of a script too."""

    left = 1 << 30

    def run(self, argv, *, input=None, timeout=20.0, check=True):  # type: ignore[no-untyped-def]
        if argv[:2] == ["ngctl", "-f"]:
            for line in (input or "").splitlines(keepends=True):
                self._count()
                super().run(argv, input=line, timeout=timeout, check=check)
            return None
        self._count()
        return super().run(argv, input=input, timeout=timeout, check=check)

    def _count(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("limited", [None, RATE])
@pytest.mark.parametrize("what", ["set", "clear", "guard", "unguard"])
def test_killed_after_any_command_the_next_start_mends(guarded: bool, limited: Rate | None, what: str) -> None:
    """Nothing foreign passes a guarded port meanwhile; afterwards the wanted guard and limit are in force."""
    actions: dict[str, Callable[[Clocked], None]] = {
        "set": lambda host: car.set_rate(host, TAP, OTHER),
        "clear": lambda host: car.clear_rate(host, TAP),
        "guard": lambda host: netgraph.set_guard(host, TAP, TWO),
        "unguard": lambda host: netgraph.clear_guard(host, TAP),
    }
    for at in range(20):
        host = Dying(TAP)
        if guarded:
            netgraph.set_guard(host, TAP, ONE)
        if limited:
            car.set_rate(host, TAP, limited)
        host.left = at
        finished = True
        try:
            actions[what](host)
        except Killed:
            finished = False
        host.left = 1 << 30
        if guarded and what != "unguard":
            assert not host.passes(42, FOREIGN)
        if what == "unguard":
            netgraph.clear_guard(host, TAP)
        elif guarded or what == "guard":
            netgraph.set_guard(host, TAP, ONE)
        if what == "clear":
            car.clear_rate(host, TAP)
        elif limited or what == "set":
            car.set_rate(host, TAP, RATE)
        host.now += 10
        assert host.passes()
        assert host.passes(42, FOREIGN) is not (what != "unguard" and (guarded or what == "guard"))
        host.now += 10
        wanted = what == "set" or (limited is not None and what != "clear")
        assert host.limited() is wanted
        assert (host.burst() <= 2 * BUCKET // 1000) is wanted
        if finished:
            return
    raise AssertionError("more commands than were thought of")
