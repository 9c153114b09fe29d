"""Snapshots to glance; interfaces and volumes that come and go; the host's health."""

import subprocess
from io import BufferedReader
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nova.compute import power_state
from nova.network import model

from beastack.freebsd.errors import CommandFailed
from beastack.nova import snapshots, vifs
from beastack.privsep import guests as privileged
from beastack.privsep import iscsi
from nova import exception

from .lab import CONF, MIB, NODE, Lab

NEW = "aaaabbbb-1111-4222-8333-444455556666"
VOLUME = "cccccccc-1111-4222-8333-444455556666"


class Glance:
    """Takes what is uploaded."""

    def __init__(self) -> None:
        self.uploads: list[tuple[str, dict[str, Any], bytes]] = []
        self.fails = False

    def update(self, _context: Any, image_id: str, meta: dict[str, Any], data: BufferedReader, **more: Any) -> None:
        assert more == {"purge_props": False}
        if self.fails:
            raise exception.GlanceConnectionFailed(server="x", reason="y")
        self.uploads.append((image_id, meta, data.read()))


@pytest.fixture
def glance(monkeypatch: pytest.MonkeyPatch) -> Glance:
    made = Glance()
    monkeypatch.setattr(snapshots.glance, "API", lambda: made)
    return made


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("wanted", ["raw", "qcow2"])
def test_a_snapshot_is_the_root_disk(lab: Lab, glance: Glance, tmp_path: Path, running: bool, wanted: str) -> None:
    CONF.set_override("snapshot_format", wanted, "beastack")
    lab.spawn()
    if not running:
        lab.driver.power_off(lab.instance)
    # a guest that writes the head of a qcow2 with a backing file: it is data, nobody looks at it
    backed = tmp_path / "backed.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", str(backed), "1M"],
        check=True,
        capture_output=True,
        timeout=30,
    )
    head = backed.read_bytes()[:4096]
    with open(lab.folder / "root.raw", "r+b") as file:
        file.write(head)
    states: list[Any] = []
    lab.driver.snapshot(None, lab.instance, NEW, lambda **state: states.append(state["task_state"]))
    assert states == ["image_pending_upload", "image_uploading"]
    [(image_id, meta, data)] = glance.uploads
    assert (image_id, meta["disk_format"], meta["status"]) == (NEW, wanted, "active")
    if wanted == "qcow2":
        assert len(data) < 16 * MIB
        (tmp_path / "s").write_bytes(data)
        subprocess.run(
            ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(tmp_path / "s"), str(tmp_path / "s.raw")],
            check=True,
            timeout=60,
        )
        data = (tmp_path / "s.raw").read_bytes()
    assert (len(data), data[:4096]) == (1 << 30, head)
    assert not list((lab.folder.parent / "_base").glob("*.snapshot*"))
    assert lab.state() == (power_state.RUNNING if running else power_state.SHUTDOWN)


def test_a_snapshot_that_fails_leaves_nothing(lab: Lab, glance: Glance) -> None:
    lab.spawn()
    glance.fails = True
    with pytest.raises(exception.GlanceConnectionFailed):
        lab.driver.snapshot(None, lab.instance, NEW, lambda **_: None)
    assert not list((lab.folder.parent / "_base").glob("*.snapshot*"))
    lab.driver.destroy(None, lab.instance, lab.network_info)
    with pytest.raises(exception.InstanceNotFound):
        lab.driver.snapshot(None, lab.instance, NEW, lambda **_: None)


def another(lab: Lab) -> Any:
    network = model.Network(id="n", bridge=None, label="l", subnets=[], mtu=1450)
    return model.VIF(id=NEW, address="fa:16:3e:00:00:02", network=network, type="tap", active=True)


def test_an_interface_comes_at_the_next_start(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.spawn()
    vif = another(lab)
    lab.driver.attach_interface(None, lab.instance, lab.image, vif)
    assert vifs.tap_name(vif) in lab.taps
    assert "no hot-plug" in caplog.text
    both = model.NetworkInfo([*lab.network_info, vif])
    starts = lab.host.starts()
    lab.driver.reboot(None, lab.instance, both, "HARD")  # another machine: a reset would not show it
    assert lab.host.starts() == starts + 1
    assert "--force-reset" not in (lab.host.base / "bhyvectl.log").read_text()
    machine = lab.driver._guest(lab.instance).machine()
    assert [nic.mac for nic in machine.nics] == ["fa:16:3e:00:00:01", "fa:16:3e:00:00:02"]
    with pytest.raises(exception.InterfaceDetachFailed, match="stop the server first"):
        lab.driver.detach_interface(None, lab.instance, vif)
    assert vifs.tap_name(vif) in lab.taps
    lab.driver.power_off(lab.instance)
    lab.driver.detach_interface(None, lab.instance, vif)
    assert vifs.tap_name(vif) not in lab.taps
    lab.driver.power_on(None, lab.instance, lab.network_info)
    assert len(lab.driver._guest(lab.instance).machine().nics) == 1


def test_an_interface_that_came_to_a_running_guest_goes_at_once(lab: Lab) -> None:
    lab.spawn()
    vif = another(lab)
    lab.driver.attach_interface(None, lab.instance, lab.image, vif)
    lab.driver.detach_interface(None, lab.instance, vif)  # bhyve never held it
    assert vifs.tap_name(vif) not in lab.taps


def connection(**data: Any) -> dict[str, Any]:
    values = {"target_iqn": "iqn.2010-10.org.openstack:v", "target_portal": "10.0.0.1:3260", "target_lun": 1, **data}
    return {"driver_volume_type": "iscsi", "serial": VOLUME, "data": values}


@pytest.fixture
def sessions(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The privileged side's sessions: volume -> device, a file of the guest's folder here."""
    found: dict[str, str] = {}

    def attach(uuid: str, volume: str) -> str:
        assert (lab.folder / f"volume-{volume}.json").exists()
        found[volume] = str(lab.folder / "da0")
        Path(found[volume]).touch()
        return found[volume]

    monkeypatch.setattr(iscsi, "attach_volume", attach)
    monkeypatch.setattr(iscsi, "detach_volume", lambda _uuid, volume: found.pop(volume, None))
    return found


def test_a_volume_comes_at_the_next_start(lab: Lab, sessions: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    lab.spawn()
    lab.driver.attach_volume(None, connection(), lab.instance, "/dev/vdb")
    assert "no hot-plug" in caplog.text
    bdi = {"block_device_mapping": [{"connection_info": connection(), "mount_device": "/dev/vdb"}]}
    lab.driver.reboot(None, lab.instance, lab.network_info, "HARD", bdi)
    machine = lab.driver._guest(lab.instance).machine()
    assert machine.disks[-1].path == sessions[VOLUME]
    assert (lab.folder / f"volume-{VOLUME}.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(exception.DeviceDetachFailed, match="stop the server first"):
        lab.driver.detach_volume(None, connection(), lab.instance, "/dev/vdb")
    lab.driver.power_off(lab.instance)
    lab.driver.detach_volume(None, connection(), lab.instance, "/dev/vdb")
    assert sessions == {}
    assert not (lab.folder / f"volume-{VOLUME}.json").exists()
    lab.driver.attach_volume(None, connection(), lab.instance, "/dev/vdb")
    lab.driver.destroy(None, lab.instance, lab.network_info)
    assert sessions == {}


def test_volumes_that_cannot_be_attached(lab: Lab, sessions: dict[str, str]) -> None:
    lab.spawn()
    rbd = {"driver_volume_type": "rbd", "serial": VOLUME, "data": {}}
    with pytest.raises(exception.VolumeDriverNotFound, match="rbd"):
        lab.driver.attach_volume(None, rbd, lab.instance, "/dev/vdb")
    for bad in ({"encrypted": True}, {"access_mode": "ro"}):
        with pytest.raises(exception.InvalidVolume):
            lab.driver.attach_volume(None, connection(**bad), lab.instance, "/dev/vdb")
    with pytest.raises(exception.InvalidVolume):
        lab.driver.attach_volume(None, connection(), lab.instance, "/dev/vdb", encryption={"provider": "luks"})
    found = lab.driver.get_volume_connector(lab.instance)
    assert found["initiator"] == "iqn.1994-09.org.freebsd:fbsd1"


def test_an_unusable_hypervisor_disables_the_host_with_its_reason(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beastack.nova.resources.available", lambda *_: {})
    monkeypatch.setattr(lab.driver, "_host_facts", lambda: SimpleNamespace())

    def broken() -> None:
        raise CommandFailed(("kldload", "-n", "vmm"), 1, "", "kldload: can't load vmm: Operation not supported")

    monkeypatch.setattr(privileged, "prepare_host", broken)
    lab.driver.init_host("fbsd1")  # the service lives, to tell
    lab.driver.get_available_resource("fbsd1")
    assert lab.service.disabled
    assert "can't load vmm" in lab.service.disabled_reason
    assert lab.service.disabled_reason.startswith("AUTO: ")
    assert lab.virtapi.enabled == {NODE: False}
    monkeypatch.setattr(privileged, "prepare_host", lambda: None)
    lab.driver.get_available_resource("fbsd1")
    assert (lab.service.disabled, lab.service.disabled_reason, lab.virtapi.enabled) == (False, None, {NODE: True})
    lab.service.disabled, lab.service.disabled_reason = True, "broken fan"  # by a person: it stays
    lab.driver.get_available_resource("fbsd1")
    assert lab.service.disabled_reason == "broken fan"
    (lab.host.base / "code.fd").unlink()
    lab.driver.get_available_resource("fbsd1")
    assert lab.service.disabled_reason == "broken fan"
