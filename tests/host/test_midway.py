"""Something goes wrong in the middle: no answer comes, or what is being made vanishes. Nothing half-made is left."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import pytest

from beastack.freebsd import clone, gif, ifnet, jail, vlan, vxlan
from beastack.freebsd.errors import CommandTimedOut, HostError, NoSuchInterface, NoSuchJail
from beastack.freebsd.host import DEFAULT_LIMIT, Completed, Host, JailHost
from beastack.freebsd.ifnet_read import list_interfaces
from beastack.freebsd.jail import list_jails

from .lab import Lab

NAME = "bscmid1"
MARK = "beastack:conformance:midway"
MOST = 12
Operation = Callable[[Host], object]
OPERATIONS: dict[str, Operation] = {
    "bridge": lambda h: ifnet.ensure_bridge(h, NAME, MARK),
    "tap": lambda h: ifnet.ensure_tap(h, NAME, MARK, 1400),
    "epair": lambda h: ifnet.ensure_epair(h, NAME, MARK),
    "vlan": lambda h: vlan.ensure_vlan(h, NAME, "bscep0", 100, MARK),
    "vxlan": lambda h: vxlan.ensure_vxlan(h, NAME, vxlan.Spec(77, "192.0.2.1", "192.0.2.2"), MARK, 1400),
    "gif": lambda h: gif.ensure_gif(h, NAME, "192.0.2.1", "192.0.2.2", MARK, 1400),
    "jail": lambda h: jail.ensure_vnet(h, "bsc-mid1"),
}


class Interrupted:
    """The host, but for one command (the ``at``-th from 0) something happens."""

    def __init__(self, host: Host, at: int, happens: Callable[[Sequence[str]], None], answered: bool) -> None:
        self.host, self.at, self.happens, self.answered = host, at, happens, answered
        self.ran = 0

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = DEFAULT_LIMIT, check: bool = True
    ) -> Completed:
        now, self.ran = self.ran, self.ran + 1
        if now == self.at:
            self.happens(argv)
            if not self.answered:
                raise CommandTimedOut(argv, timeout)
        return self.host.run(argv, input=input, timeout=timeout, check=check)

    def jail(self, name: str) -> JailHost:
        return JailHost(self, name)


@pytest.fixture
def ready(host: Host, lab: Lab) -> Host:
    """A parent for what needs one; the modules are there."""
    host.run(["kldload", "-n", "if_vxlan", "if_gif", "if_vlan"])
    underlay, _ = lab.epair(0)
    ifnet.add_address(host, underlay, "192.0.2.1/24")
    ifnet.set_up(host, underlay)
    lab.later(lambda: _remove(host))
    return host


def _remove(host: Host) -> None:
    ifnet.destroy(host, NAME)
    jail.remove(host, "bsc-mid1")


def _there(host: Host) -> tuple[set[str], set[str]]:
    return set(list_interfaces(host)), set(list_jails(host))


def _nothing(_argv: Sequence[str]) -> None:
    return


def _commands(host: Host, do: Operation) -> int:
    """How many commands it takes when all is well."""
    counting = Interrupted(host, -1, _nothing, answered=True)
    do(counting)
    _remove(host)
    assert 0 < counting.ran <= MOST
    return counting.ran


@pytest.mark.parametrize("done", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_no_answer_to_one_command(ready: Host, name: str, done: bool) -> None:
    """The command was carried out or not: nobody knows. Afterwards nothing is there, or all of it."""
    before, do = _there(ready), OPERATIONS[name]
    for at in range(_commands(ready, do)):
        lost = Interrupted(ready, at, partial(_quietly, ready) if done else _nothing, answered=False)
        with pytest.raises(CommandTimedOut):
            do(lost)
        assert _there(ready) == before, f"command {at}"
        do(ready)
        _remove(ready)


def _quietly(host: Host, argv: Sequence[str]) -> None:
    with suppress(HostError):
        host.run(argv)


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"jail"}))
def test_an_interface_that_vanishes_midway(ready: Host, name: str) -> None:
    before, do = _there(ready), OPERATIONS[name]

    def vanish(_argv: Sequence[str]) -> None:
        clone.discard(ready, NAME)
        for made in set(list_interfaces(ready)) - before[0]:
            with suppress(NoSuchInterface):
                ready.run(["ifconfig", made, "destroy"])

    for at in range(_commands(ready, do)):
        try:
            do(Interrupted(ready, at, vanish, answered=True))
        except HostError as e:
            assert isinstance(e, NoSuchInterface | vxlan.NotRunning), f"command {at}: {e!r}"
            assert _there(ready) == before, f"command {at}"
        do(ready)
        _remove(ready)


def test_a_jail_that_vanishes_midway(ready: Host) -> None:
    before, do = _there(ready), OPERATIONS["jail"]

    def vanish(_argv: Sequence[str]) -> None:
        jail.remove(ready, "bsc-mid1")

    for at in range(_commands(ready, do)):
        try:
            do(Interrupted(ready, at, vanish, answered=True))
        except NoSuchJail:
            assert _there(ready) == before, f"command {at}"
        _remove(ready)
