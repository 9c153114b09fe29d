"""Nova's verbs through libvirt: the driver's own methods, with libvirt's library and its test driver below them."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from nova.compute import power_state

from beastack.freebsd import bhyve
from beastack.nova import snapshots
from beastack.nova.libvirt import domain, limits
from beastack.nova.seam import Unusable
from beastack.nova.stores.base import ROOT
from beastack.privsep import guest_files, held_taps
from nova import exception

from ..fakes import UUID
from ..lab import CONF, NODE, PORT, Lab
from ..test_life import image
from ..test_moving import AWAY, HERE, LOCAL, THERE, flavor
from .lab import Killed, LibvirtLab

TAP = "tap0f1e2d3c-11"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> Iterator[LibvirtLab]:
    made = LibvirtLab(tmp_path, monkeypatch, module)
    CONF.set_override("my_ip", HERE)
    made.driver.init_host("fbsd1")
    yield made
    made.close()
    made.host.end()
    shutil.rmtree(made.screens)
    CONF.reset()
    CONF.clear()


def nothing_is_left(lab: LibvirtLab) -> None:
    assert lab.domains() == []
    assert lab.taps == []
    assert lab.lines == set()
    assert not lab.folder.exists()
    assert lab.driver.list_instances() == []
    with pytest.raises(exception.InstanceNotFound):
        lab.driver.get_info(lab.instance)


def destroy(lab: Lab) -> None:
    lab.driver.destroy(None, lab.instance, lab.network_info)


def test_spawn_and_destroy(lab: LibvirtLab) -> None:
    lab.spawn()
    assert lab.virtapi.waited == [("network-vif-plugged", PORT)]
    assert lab.state() == power_state.RUNNING
    assert lab.domains() == lab.driver.list_instances() == lab.driver.list_instance_uuids() == [UUID]
    assert lab.host_taps.mark(TAP) == f"beastack:port:{PORT}"
    assert lab.lines == {UUID}
    xml = lab.keeper.lookupByName(UUID).XMLDesc()
    assert domain.is_ours(xml, UUID)
    assert f"{lab.folder}/root.raw" in xml
    assert "graphics" not in xml
    destroy(lab)
    nothing_is_left(lab)
    destroy(lab)
    nothing_is_left(lab)


def test_power_and_reboots(lab: LibvirtLab) -> None:
    lab.spawn()
    lab.driver.power_off(lab.instance, 10, 1)
    assert lab.presses == 1
    assert lab.state() == power_state.SHUTDOWN
    assert (lab.domains(), lab.taps) == ([], [])
    lab.driver.power_off(lab.instance)
    lab.driver.power_on(None, lab.instance, lab.network_info)
    lab.driver.power_on(None, lab.instance, lab.network_info)
    assert lab.state() == power_state.RUNNING
    for kind in ("SOFT", "HARD"):
        before = lab.keeper.lookupByName(UUID).ID()
        lab.instance.flavor.memory_mb *= 2
        lab.driver.reboot(None, lab.instance, lab.network_info, kind)
        after = lab.keeper.lookupByName(UUID)
        assert after.ID() != before
        assert after.maxMemory() == lab.instance.flavor.memory_mb * 1024
        assert lab.host_taps.mark(TAP)
    assert not lab.events


def test_a_guest_that_does_not_hear_is_ended_by_force(lab: LibvirtLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beastack.nova.libvirt.guest.PRESS_AGAIN", 0.3)
    lab.spawn()
    lab.deaf = True
    lab.driver.power_off(lab.instance, 1, 1)
    assert lab.presses > 1
    assert lab.state() == power_state.SHUTDOWN


def test_a_server_that_is_not_to_run_has_no_domain(lab: LibvirtLab) -> None:
    lab.spawn(power_on=False)
    assert lab.domains() == []
    assert lab.virtapi.waited == []  # without a tap nobody would say that it is wired
    assert lab.state() == power_state.SHUTDOWN
    assert lab.driver.list_instances() == [UUID]


def test_a_network_that_does_not_come(lab: LibvirtLab) -> None:
    lab.virtapi.late = True
    with pytest.raises(exception.VirtualInterfaceCreateException):
        lab.spawn()
    nothing_is_left(lab)


def test_a_tap_that_is_not_held_apart_ends_the_guest(lab: LibvirtLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(name: str, _description: str) -> None:
        raise held_taps.NotHeld(f"{name} is not in bsholding")

    monkeypatch.setattr(held_taps, "adopt_tap", elsewhere)
    with pytest.raises(exception.InstancePowerOnFailure, match="not in bsholding"):
        lab.spawn()
    nothing_is_left(lab)


def test_what_libvirt_cannot_do_is_refused(lab: LibvirtLab) -> None:
    lab.spawn()
    for change in (lab.driver.pause, lab.driver.unpause):
        with pytest.raises(exception.InstanceFaultRollback, match="libvirt's bhyve driver has no"):
            change(lab.instance)
    assert lab.state() == power_state.RUNNING
    with pytest.raises(exception.ConsoleTypeUnavailable, match=r"on a TCP port of 127\.0\.0\.1"):
        lab.driver.get_vnc_console(None, lab.instance)
    assert lab.driver.get_serial_console(None, lab.instance).port == 6079
    with pytest.raises(exception.InstanceQuiesceNotSupported, match="stop the server first"):
        lab.driver.snapshot(None, lab.instance, NODE, lambda **_: None)
    lab.driver.power_off(lab.instance)
    with pytest.raises(exception.InstanceNotReady):
        lab.driver.get_serial_console(None, lab.instance)
    assert set(limits.CANNOT) <= {name for name in dir(lab.driver)}


def test_a_stopped_servers_snapshot(lab: LibvirtLab, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    class Glance:
        def update(self, _context: Any, image_id: str, *_: Any, **_more: Any) -> None:
            taken.append(image_id)

    monkeypatch.setattr(snapshots.glance, "API", Glance)
    lab.spawn()
    lab.driver.power_off(lab.instance)
    lab.driver.snapshot(None, lab.instance, NODE, lambda **_: None)
    assert taken == [NODE]


@pytest.mark.parametrize(
    ("specs", "version", "words"),
    [
        ({}, 11_003_000, "UEFI variables"),
        ({"hw_rng:allowed": "false"}, 11_003_000, "UEFI variables"),
        ({}, 9_000_000, "virtio-rnd"),
    ],
)
def test_machines_that_libvirt_cannot_run(
    lab: LibvirtLab, specs: dict[str, str], version: int | None, words: str
) -> None:
    lab.version = version or lab.version
    lab.instance.flavor.extra_specs = specs
    with pytest.raises(exception.BuildAbortException, match=words):
        lab.spawn()
    nothing_is_left(lab)


@pytest.mark.parametrize(
    ("specs", "words"),
    [({"beastack:disk_bus": "nvme"}, "an NVMe disk"), ({"quota:cpu_quota": "50000"}, "a limit by rctl")],
)
def test_wishes_that_libvirt_cannot_grant_harm_nothing(lab: LibvirtLab, specs: dict[str, str], words: str) -> None:
    lab.spawn()
    wanted = flavor()
    wanted.extra_specs = specs
    with pytest.raises(exception.InstanceFaultRollback, match=words):
        lab.driver.migrate_disk_and_power_off(None, lab.instance, HERE, wanted, lab.network_info)
    lab.instance.flavor.extra_specs = specs
    with pytest.raises(exception.InstanceUnacceptable, match=words):
        lab.driver.prepare_for_spawn(lab.instance)
    with pytest.raises(exception.UnsupportedHardware, match=words):
        lab.driver.rescue(None, lab.instance, lab.network_info, image(), "pw", None, None)
    with pytest.raises(exception.UnsupportedHardware, match=words):
        lab.driver._refuse_unbuilt(lab.instance, lab.image, [])
    assert lab.state() == power_state.RUNNING
    destroy(lab)
    with pytest.raises(exception.UnsupportedHardware, match=words):
        lab.spawn()
    nothing_is_left(lab)


def test_an_old_libvirt_disables_the_host(lab: LibvirtLab) -> None:
    lab.version = 11_003_000
    lab.driver._health.tell(None)  # type: ignore[union-attr]
    assert lab.service.disabled_reason == "AUTO: libvirt 11.3.0 is too old: 11.4.0 or later is needed"


def test_the_config_drive_is_a_cd(lab: LibvirtLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beastack.nova.config_drive.wanted", lambda _: True)
    monkeypatch.setattr("beastack.nova.config_drive.write", lambda *words: (words[4] / "config.iso").write_bytes(b"x"))
    lab.spawn()
    machine = lab.driver._guest(lab.instance).machine()
    assert machine.cd == bhyve.Cd(f"{lab.folder}/config.iso")
    assert [Path(disk.path).name for disk in machine.disks] == ["root.raw"]
    assert "device='cdrom'" in lab.keeper.lookupByName(UUID).XMLDesc()


def test_rescue_and_unrescue(lab: LibvirtLab) -> None:
    lab.spawn()
    before = lab.driver._guest(lab.instance).machine()
    lab.driver.rescue(None, lab.instance, lab.network_info, image(), "pw", None, None)
    assert "rescue.raw" in lab.keeper.lookupByName(UUID).XMLDesc()
    lab.driver.unrescue(None, lab.instance)
    assert lab.driver._guest(lab.instance).machine() == before
    assert "rescue.raw" not in lab.keeper.lookupByName(UUID).XMLDesc()
    assert lab.host_taps.mark(TAP) == f"beastack:port:{PORT}"


def test_a_resize_on_one_host(lab: LibvirtLab) -> None:
    lab.spawn()
    told = lab.driver.migrate_disk_and_power_off(None, lab.instance, HERE, flavor(), lab.network_info)
    assert lab.domains() == []
    lab.instance.flavor = flavor()
    lab.driver.finish_migration(None, LOCAL, lab.instance, told, lab.network_info, lab.image, True, {}, None, True)
    assert lab.state() == power_state.RUNNING
    lab.driver.confirm_migration(None, LOCAL, lab.instance, lab.network_info)
    destroy(lab)
    nothing_is_left(lab)


def test_a_server_that_moves_away_leaves_no_domain(lab: LibvirtLab) -> None:
    CONF.set_override("handover_port", 0, "beastack")
    lab.spawn()
    told = lab.driver.migrate_disk_and_power_off(None, lab.instance, THERE, flavor(), lab.network_info)
    assert json.loads(told)["secret"]
    assert (lab.domains(), lab.taps, lab.driver.list_instances()) == ([], [], [])
    lab.driver.finish_revert_migration(None, lab.instance, lab.network_info, AWAY)
    assert lab.state() == power_state.RUNNING
    destroy(lab)
    nothing_is_left(lab)


# -- by itself


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


# -- starts of nova-compute, and of the daemon


def test_a_new_driver_finds_what_runs(lab: LibvirtLab) -> None:
    lab.spawn()
    identity = lab.keeper.lookupByName(UUID).ID()
    lab.lines.clear()  # its holder was killed
    (lab.host.base / "taps" / TAP).write_text("")  # and we, before the tap was marked
    lab.runner.close()
    lab.anew()
    lab.driver.init_host("fbsd1")
    assert lab.keeper.lookupByName(UUID).ID() == identity
    assert lab.lines == {UUID}
    assert lab.host_taps.mark(TAP)
    lab.end_by_itself(UUID)
    lab.runner.look()
    assert len(lab.events) == 1


def test_after_a_boot_of_the_host(lab: LibvirtLab) -> None:
    lab.spawn()
    lab.end_by_itself(UUID)  # defined, not running, without taps
    lab.driver.resume_state_on_host_boot(None, lab.instance, lab.network_info, None)
    assert lab.state() == power_state.RUNNING
    identity = lab.keeper.lookupByName(UUID).ID()
    lab.driver.resume_state_on_host_boot(None, lab.instance, lab.network_info, None)
    assert lab.keeper.lookupByName(UUID).ID() == identity


FOREIGN = (
    f"<domain type='test'><name>{UUID}</name><uuid>{UUID}</uuid><memory>8192</memory><os><type>hvm</type></os></domain>"
)


def test_other_peoples_domains_are_left_alone(lab: LibvirtLab) -> None:
    theirs = lab.keeper.createXML(FOREIGN.replace(UUID, NODE))
    assert lab.driver.list_instances() == []
    same = lab.keeper.createXML(FOREIGN)
    assert lab.driver.list_instances() == []
    with pytest.raises(exception.HypervisorUnavailable, match="does not carry Beastack's mark"):
        lab.spawn()
    assert same.isActive()
    assert "metadata" not in same.XMLDesc()
    same.destroy()
    lab.spawn()
    destroy(lab)
    assert theirs.isActive()
    theirs.destroy()


def test_a_domain_of_ours_without_a_folder_is_told_and_can_be_deleted(lab: LibvirtLab) -> None:
    lab.spawn()
    shutil.rmtree(lab.folder)
    assert lab.driver.list_instance_uuids() == [UUID]
    assert lab.state() == power_state.RUNNING  # unknown is not absent
    destroy(lab)
    assert lab.domains() == []


def test_a_daemon_that_is_gone(lab: LibvirtLab) -> None:
    lab.spawn()
    lab.runner.look()
    lab.dead = True
    assert lab.state() == power_state.NOSTATE
    assert lab.driver.list_instances() == [UUID]
    with pytest.raises(Unusable):
        lab.runner.look()
    lab.driver.resume_state_on_host_boot(None, lab.instance, lab.network_info, None)
    with pytest.raises(exception.InstancePowerOffFailure, match="libvirt"):
        lab.driver.power_off(lab.instance)
    with pytest.raises(exception.InstancePowerOffFailure, match="libvirt"):
        destroy(lab)
    assert lab.driver._store.disks(UUID) == {ROOT: 1 << 30}  # a guest that may run keeps its disks
    lab.driver._health.tell(None)  # type: ignore[union-attr]
    assert lab.service.disabled
    assert lab.service.disabled_reason.startswith("AUTO: libvirt cannot be reached")
    lab.anew()
    lab.driver.init_host("fbsd1")  # the service starts, and says why it is disabled
    assert lab.state() == power_state.NOSTATE
    lab.dead = False
    lab.driver._health.tell(None)  # type: ignore[union-attr]
    assert not lab.service.disabled
    assert lab.state() == power_state.RUNNING
    assert not lab.events
    destroy(lab)
    nothing_is_left(lab)


def test_a_daemon_that_was_restarted_is_asked_once_more(lab: LibvirtLab) -> None:
    lab.spawn()
    lab.runner._link._connection._dead = True  # type: ignore[union-attr]
    assert lab.state() == power_state.RUNNING


def test_a_guest_of_the_native_path_is_not_run_twice(lab: LibvirtLab) -> None:
    lab.spawn()
    lab.driver.power_off(lab.instance)
    lock = guest_files.take_lock(lab.folder, 1.0)
    assert lock is not None
    assert lab.state() == power_state.RUNNING
    with pytest.raises(exception.InstancePowerOnFailure, match="native path"):
        lab.driver._guest(lab.instance).start()
    assert lab.domains() == []


# -- the connection dies at each call, before it reaches the daemon and before its answer comes; or nova-compute itself


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
