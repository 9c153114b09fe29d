"""What a guest of libvirt's does by itself is seen, and nothing runs unfiltered meanwhile."""

import pytest
from nova.compute import power_state

from beastack.privsep import held_taps

from ..fakes import UUID
from ..lab import PORT
from .lab import TAP, LibvirtLab


def test_a_guest_that_ends_by_itself(lab: LibvirtLab) -> None:
    lab.spawn()
    lab.runner.look()
    assert not lab.events
    lab.end_by_itself(UUID)
    lab.runner.look()
    lab.runner.look()
    assert [(each.uuid, each.get_name()) for each in lab.events] == [(UUID, "Stopped")]
    assert lab.state() == power_state.SHUTDOWN
    lab.driver.power_on(None, lab.instance, lab.network_info)
    assert lab.state() == power_state.RUNNING


def test_a_guest_that_was_stopped_on_request_is_no_news(lab: LibvirtLab) -> None:
    lab.spawn()
    lab.runner.look()
    lab.driver.power_off(lab.instance)
    lab.runner.look()
    assert not lab.events


def test_a_guest_that_reboots_by_itself_has_its_new_taps_marked(lab: LibvirtLab) -> None:
    lab.spawn()
    lab.reboot_by_itself(UUID)
    assert lab.host_taps.list_held_taps() == [TAP]
    lab.runner.look()
    assert lab.host_taps.mark(TAP) == f"beastack:port:{PORT}"
    assert not lab.events


def test_new_taps_that_are_not_held_apart_end_the_guest(lab: LibvirtLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def unheld(_name: str, _description: str) -> None:
        raise held_taps.NotHeld("bsholding is not in monitor mode")

    lab.spawn()
    lab.reboot_by_itself(UUID)
    monkeypatch.setattr(held_taps, "adopt_tap", unheld)
    monkeypatch.setattr("beastack.nova.libvirt.runner.SETTLE", 0.0)
    lab.runner.look()
    assert lab.state() == power_state.SHUTDOWN
    assert [each.get_name() for each in lab.events] == ["Stopped"]
    assert lab.taps == []


def test_a_tap_that_is_on_its_way_is_waited_for(lab: LibvirtLab, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt, tries = held_taps.adopt_tap, iter([True])

    def late(name: str, description: str) -> None:
        if next(tries, False):
            raise held_taps.NotHeld(f"{name} is not in bsholding")
        adopt(name, description)

    lab.spawn()
    lab.reboot_by_itself(UUID)
    monkeypatch.setattr(held_taps, "adopt_tap", late)
    lab.runner.look()
    assert lab.host_taps.mark(TAP)
    assert (lab.state(), lab.events) == (power_state.RUNNING, [])


def test_a_line_that_nobody_holds_is_held_again(lab: LibvirtLab) -> None:
    lab.spawn()
    lab.lines.clear()
    lab.until(lambda: lab.runner.look() or lab.lines)  # type: ignore[func-returns-value]
    assert lab.lines == {UUID}


def test_diagnostics(lab: LibvirtLab) -> None:
    lab.spawn()
    assert lab.driver.get_diagnostics(lab.instance)["state"] == "running"
    found = lab.driver.get_instance_diagnostics(lab.instance)
    assert (found.state, found.uptime, found.num_cpus) == ("running", None, 2)


def test_somebody_looks_without_being_asked(lab: LibvirtLab) -> None:
    lab.runner.close()
    lab.anew()
    lab.runner._look_seconds = 0.05
    lab.driver.init_host("fbsd1")
    lab.spawn()
    lab.end_by_itself(UUID)
    assert lab.event.wait(10)
