"""The connection dies at each call, before it reaches the daemon or before its answer comes; or nova-compute does."""

from collections.abc import Callable

import pytest
from nova.compute import power_state

from nova import exception

from .lab import TAP, Killed, LibvirtLab, destroy, nothing_is_left


def breaks_at(lab: LibvirtLab, how: str, step: int, work: Callable[[], None]) -> bool:
    """Whether it broke before the work was done."""
    lab.calls, lab.steps, lab.cut, lab.kill = 0, 0, 0, 0
    setattr(lab, how, step)
    try:
        work()
    except (exception.NovaException, Killed):
        return True
    return (lab.calls if how == "cut" else lab.steps) >= step


def next_start(lab: LibvirtLab) -> None:
    lab.dead, lab.cut, lab.kill = False, 0, 0
    lab.runner.close()
    lab.anew()
    lab.driver.init_host("fbsd1")
    lab.driver._health.tell(None)  # type: ignore[union-attr]


def known_and_wired(lab: LibvirtLab, step: int) -> None:
    """What runs is known, its line is held, and its tap is marked."""
    for name in lab.domains():
        if lab.keeper.lookupByName(name).isActive():
            assert lab.driver.list_instances() == [name], f"step {step}"
            assert lab.state() == power_state.RUNNING, f"step {step}"
            assert lab.lines == {name}, f"step {step}"
            assert lab.host_taps.mark(TAP), f"step {step}"


@pytest.mark.parametrize(("how", "least"), [("cut", 9), ("kill", 17)])
def test_a_spawn_that_breaks_off_at_every_step(lab: LibvirtLab, how: str, least: int) -> None:
    step, broken = 0, True
    while broken:
        step += 1
        broken = breaks_at(lab, how, step, lab.spawn)
        next_start(lab)
        known_and_wired(lab, step)
        destroy(lab)  # nova does so after a spawn that has failed
        nothing_is_left(lab)
    assert step > least


@pytest.mark.parametrize(("how", "least"), [("cut", 6), ("kill", 12)])
def test_a_delete_that_breaks_off_at_every_step(lab: LibvirtLab, how: str, least: int) -> None:
    step, broken = 0, True
    while broken:
        step += 1
        lab.spawn()
        broken = breaks_at(lab, how, step, lambda: destroy(lab))
        if how == "cut" and broken:
            assert (lab.folder / "root.raw").exists(), f"step {step}: a guest that may run lost its disk"
        next_start(lab)
        destroy(lab)
        nothing_is_left(lab)
    assert step > least


def test_a_stop_and_a_start_that_break_off_at_every_step(lab: LibvirtLab) -> None:
    def work() -> None:
        lab.driver.power_off(lab.instance)
        lab.driver.power_on(None, lab.instance, lab.network_info)

    step, broken = 0, True
    lab.spawn()
    while broken:
        step += 1
        broken = breaks_at(lab, "kill", step, work)
        next_start(lab)
        known_and_wired(lab, step)
        assert (lab.folder / "root.raw").exists()
        lab.driver.power_on(None, lab.instance, lab.network_info)  # what nova, or a person, asks again
        known_and_wired(lab, step)
        assert lab.state() == power_state.RUNNING
    assert step > 24
    destroy(lab)
    nothing_is_left(lab)
