"""Nova's verbs through libvirt: the driver's own methods, with libvirt's library and its test driver below them."""

import json
from pathlib import Path
from typing import Any

import pytest
from nova.compute import power_state

from beastack.freebsd import bhyve
from beastack.nova import snapshots
from beastack.nova.libvirt import domain, limits
from beastack.privsep import held_taps
from nova import exception

from ..fakes import UUID
from ..lab import CONF, NODE, PORT
from ..test_life import image
from ..test_moving import AWAY, HERE, LOCAL, THERE, flavor
from .lab import TAP, LibvirtLab, destroy, nothing_is_left


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
