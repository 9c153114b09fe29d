"""Starts of nova-compute and of libvirt's daemon: what runs is found, what is others' left alone."""

import shutil

import pytest
from nova.compute import power_state

from beastack.nova.seam import Unusable
from beastack.nova.stores.base import ROOT
from beastack.privsep import guest_files
from nova import exception

from ..fakes import UUID
from ..lab import NODE
from .lab import TAP, LibvirtLab, destroy, nothing_is_left


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
