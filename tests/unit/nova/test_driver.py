"""The driver's first duties: spawn, power, images, resources."""

import hashlib
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nova.compute import power_state

from beastack.nova import driver as driver_module
from beastack.nova import hostside, image_cache, vifs
from beastack.privsep import guest_files
from nova import exception
from nova.virt import driver as virt_driver

from .fakes import UUID
from .lab import CONF, IMAGE_ID, MIB, PORT, Lab


def test_is_a_compute_driver_that_promises_what_it_has() -> None:
    assert issubclass(driver_module.BhyveDriver, virt_driver.ComputeDriver)
    promised = {name for name, value in driver_module.BhyveDriver.capabilities.items() if value}
    assert promised == {
        *("supports_image_type_raw", "supports_image_type_qcow2", "has_imagecache", "supports_attach_interface"),
        *("supports_evacuate", "supports_pcpus"),
    }


def test_spawn_and_destroy(lab: Lab) -> None:
    lab.spawn()
    assert lab.virtapi.waited == [("network-vif-plugged", PORT)]
    assert lab.taps == ["tap0f1e2d3c-11"]
    assert lab.state() == power_state.RUNNING
    assert lab.driver.list_instance_uuids() == lab.driver.list_instances() == [UUID]
    assert lab.driver.instance_on_disk(lab.instance)
    root = lab.folder / "root.raw"
    assert root.stat().st_size == 1 << 30
    assert root.stat().st_blocks * 512 <= 2 * MIB
    with open(root, "rb") as file:
        assert file.read(MIB) == lab.content
    _wait_for(lambda: b"guest up 1" in lab.driver.get_console_output(None, lab.instance))
    lab.driver.destroy(None, lab.instance, lab.network_info)
    assert not lab.folder.exists()
    assert lab.taps == []
    assert lab.driver.list_instances() == []
    with pytest.raises(exception.InstanceNotFound):
        lab.driver.get_info(lab.instance)
    lab.driver.destroy(None, lab.instance, lab.network_info)  # twice is fine


def _wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_power_and_reboots(lab: Lab) -> None:
    lab.spawn()
    lab.driver.power_off(lab.instance, 10, 1)
    assert lab.state() == power_state.SHUTDOWN
    assert guest_files.read_state(lab.folder).reason == "stopped on request"  # type: ignore[union-attr]
    lab.driver.power_off(lab.instance)
    lab.driver.power_on(None, lab.instance, lab.network_info)
    assert lab.state() == power_state.RUNNING
    lab.driver.reboot(None, lab.instance, lab.network_info, "SOFT")
    assert lab.state() == power_state.RUNNING
    assert lab.host.starts() == 3
    lab.driver.reboot(None, lab.instance, lab.network_info, "HARD")
    assert "--force-reset" in (lab.host.base / "bhyvectl.log").read_text()
    assert lab.host.starts() == 4
    lab.instance.flavor.memory_mb = 512  # the machine changes: a reset would not show it
    lab.driver.reboot(None, lab.instance, lab.network_info, "HARD")
    assert '"memory_mib": 512' in (lab.folder / "machine.json").read_text()
    assert lab.host.starts() == 5
    lab.driver.power_off(lab.instance)
    lab.driver.reboot(None, lab.instance, lab.network_info, "HARD")
    assert lab.state() == power_state.RUNNING
    assert not lab.events


def test_tells_nova_when_a_guest_ends_by_itself(lab: Lab) -> None:
    lab.spawn()
    lab.type("poweroff")
    assert lab.event.wait(10)
    assert (lab.events[0].uuid, lab.events[0].get_name()) == (UUID, "Stopped")
    assert lab.state() == power_state.SHUTDOWN


def test_a_new_driver_finds_what_runs_and_watches_it(lab: Lab) -> None:
    lab.spawn()
    second = driver_module.BhyveDriver(lab.virtapi)
    second.register_event_listener(lab.on_event)
    second.init_host("fbsd1")
    lab.type("crash")
    assert lab.event.wait(10)
    assert second.get_info(lab.instance).state == power_state.CRASHED


def test_image_is_made_once_and_cannot_shrink(lab: Lab) -> None:
    lab.spawn()
    lab.driver.destroy(None, lab.instance, lab.network_info)
    lab.spawn()
    assert lab.fetches == 1
    lab.driver.destroy(None, lab.instance, lab.network_info)
    base = lab.folder.parent / "_base" / f"{IMAGE_ID}.raw"
    before = hashlib.sha256(base.read_bytes()).digest()
    assert before == hashlib.sha256(lab.content).digest()
    with open(base, "r+b") as file:
        file.truncate((1 << 30) + 512)
    with pytest.raises(exception.FlavorDiskSmallerThanImage):
        lab.spawn()
    assert lab.driver.list_instances() == []


def test_image_must_be_what_glance_says(lab: Lab) -> None:
    lab.image.disk_format = "qcow2"
    with pytest.raises(exception.ImageUnacceptable):
        lab.spawn()
    lab.image.disk_format = "vmdk"
    with pytest.raises(exception.ImageUnacceptable):
        lab.spawn()
    lab.image.disk_format = "raw"
    lab.content = b"QFI\xfb" + b"\0\0\0\3" + b"\0" * 2048  # a qcow2 that is declared raw would read host files
    with pytest.raises(exception.ImageUnacceptable):
        lab.spawn()
    assert not list((lab.folder.parent / "_base").glob("*.fetched"))


def _qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True, capture_output=True, timeout=30)


def test_qcow2_is_converted_and_a_backing_file_refused(lab: Lab, tmp_path: Path) -> None:
    source = tmp_path / "i.raw"
    source.write_bytes(b"q" * MIB)
    _qemu_img("convert", "-O", "qcow2", str(source), str(tmp_path / "i.qcow2"))
    _qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", str(source), str(tmp_path / "b.qcow2"))
    lab.image.disk_format = "qcow2"
    lab.content = (tmp_path / "b.qcow2").read_bytes()
    with pytest.raises(exception.ImageUnacceptable):
        lab.spawn()
    lab.content = (tmp_path / "i.qcow2").read_bytes()
    lab.spawn()
    with open(lab.folder / "root.raw", "rb") as file:
        assert file.read(MIB) == b"q" * MIB
    assert image_cache.FORMATS == ("raw", "qcow2")


def test_disks_are_made_while_neutron_makes_the_port(lab: Lab) -> None:
    """Nova's network_info waits for neutron's answer when it is looked at."""
    seen: list[list[str]] = []

    class Slow(list):  # type: ignore[type-arg]
        def __len__(self) -> int:
            seen.append([each.name for each in lab.folder.iterdir()])
            return super().__len__()

    lab.network_info = Slow(lab.network_info)
    lab.spawn()
    assert "root.raw" in seen[0]


def test_a_port_that_neutron_refuses_leaves_nothing(lab: Lab) -> None:
    class Refused(list):  # type: ignore[type-arg]
        waited = False

        def __len__(self) -> int:
            if not self.waited:
                self.waited = True
                raise exception.PortLimitExceeded()
            return 0

    lab.network_info = Refused()
    with pytest.raises(exception.PortLimitExceeded):
        lab.spawn()
    assert not lab.folder.exists()
    assert lab.taps == []


def test_network_that_does_not_come(lab: Lab) -> None:
    lab.virtapi.late = True
    with pytest.raises(exception.VirtualInterfaceCreateException):
        lab.spawn()
    assert lab.host.starts() == 0
    assert lab.taps == []
    CONF.set_override("vif_plugging_is_fatal", False)
    lab.spawn()
    assert lab.state() == power_state.RUNNING


def test_unknown_vif_type(lab: Lab) -> None:
    lab.network_info[0]["type"] = "hw_veb"
    with pytest.raises(exception.VirtualInterfacePlugException, match="'tap', 'ovs'"):
        vifs.plug(lab.instance, lab.network_info)


def test_a_port_of_open_vswitch_is_plugged_once_its_tap_is_there(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    plugged = []

    def plug(tap: str, port: str, mac: str, uuid: str | None) -> None:
        assert tap in lab.taps
        plugged.append((tap, port, mac, uuid))

    monkeypatch.setattr(vifs.ovs, "ovs_plug", plug)
    vif = lab.network_info[0]
    vif["type"] = "ovs"
    vifs.plug(lab.instance, lab.network_info)
    assert plugged == [(vifs.tap_name(vif), vif["id"], vif["address"], lab.instance.uuid)]
    vif["details"] = {"ovs_hybrid_plug": True}
    with pytest.raises(exception.VirtualInterfacePlugException, match="hybrid"):
        vifs.plug(lab.instance, lab.network_info)
    assert len(plugged) == 1
    # a runner that makes no ports of Open vSwitch takes none
    with pytest.raises(exception.VirtualInterfacePlugException, match="'ovs'"):
        vifs.check(lab.instance, lab.network_info)


def test_bhyve_that_does_not_start(lab: Lab) -> None:
    (lab.host.base / "refuse").touch()
    with pytest.raises(exception.InstancePowerOnFailure, match="Device busy"):
        lab.spawn()
    assert not lab.folder.exists()


def test_resources(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "hw.ncpu": "4\n",
        "hw.physmem": f"{8 << 30}\n",
        "hw.model": "AMD EPYC\n",
        "kern.boottime": "{ sec = 1795225000, usec = 1 } Sat Nov 21 03:00:00 2026\n",
        "kern.osrelease": "15.1-RELEASE\n",
    }
    fake = SimpleNamespace(run=lambda argv, **_: SimpleNamespace(out=answers[argv[2]]))
    monkeypatch.setattr(hostside, "LocalHost", lambda: fake)
    lab.spawn()
    found = lab.driver.get_available_resource("fbsd1")
    assert (found["vcpus"], found["memory_mb"], found["vcpus_used"], found["memory_mb_used"]) == (4, 8192, 2, 256)
    assert found["supported_instances"] == [("x86_64", "bhyve", "hvm")]
    assert (found["hypervisor_type"], found["hypervisor_version"]) == ("bhyve", 15001000)
    assert (found["local_gb_used"], found["hypervisor_hostname"]) == (1, "fbsd1")
    assert " up " in lab.driver.get_host_uptime()
    assert lab.driver.get_available_nodes() == ["fbsd1"]
    kept: dict[str, Any] = {}
    traits: set[str] = set()
    tree = SimpleNamespace(
        data=lambda _: SimpleNamespace(inventory={}),
        update_inventory=lambda _, inventory: kept.update(inventory),
        add_traits=lambda _, *names: traits.update(names),
        remove_traits=lambda _, *names: traits.difference_update(names),
    )
    lab.driver.update_provider_tree(tree, "fbsd1")
    assert {"COMPUTE_FIRMWARE_UEFI", "COMPUTE_STORAGE_BUS_VIRTIO", "COMPUTE_IMAGE_TYPE_QCOW2"} <= traits
    assert not {"COMPUTE_SAME_HOST_COLD_MIGRATE", "COMPUTE_RESCUE_BFV"} & traits
    assert set(kept) == {"VCPU", "MEMORY_MB", "DISK_GB"}
    assert kept["MEMORY_MB"]["reserved"] == CONF.reserved_host_memory_mb
    assert kept["VCPU"]["allocation_ratio"] == 4.0
