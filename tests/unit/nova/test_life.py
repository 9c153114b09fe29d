"""Pause, rescue, rebuild, config drive, blank disks, and what flavors wish for, through the driver's own methods."""

from pathlib import Path
from typing import Any

import pycdlib
import pytest
from nova.compute import power_state

from beastack.freebsd import bhyve
from beastack.nova import config_drive, disks, wishes
from beastack.nova.refusals import REASONS
from beastack.privsep import guest_files
from nova import exception, objects

from .lab import IMAGE_ID, MIB, Lab

RESCUE_ID = "22222222-2222-4333-8444-555555555555"


def stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_pause_and_unpause(lab: Lab) -> None:
    lab.spawn()
    pid = lab.host.state().bhyve_pid
    lab.driver.pause(lab.instance)
    lab.driver.pause(lab.instance)
    lab.until(lambda: stopped(pid))
    assert lab.state() == power_state.PAUSED
    lab.driver.unpause(lab.instance)
    lab.driver.unpause(lab.instance)
    lab.until(lambda: not stopped(pid))
    assert lab.state() == power_state.RUNNING
    lab.driver.pause(lab.instance)
    lab.driver.reboot(None, lab.instance, lab.network_info, "HARD")
    assert lab.state() == power_state.RUNNING
    lab.driver.pause(lab.instance)
    lab.driver.power_off(lab.instance, 5, 1)
    assert lab.state() == power_state.SHUTDOWN
    for change in (lab.driver.pause, lab.driver.unpause):
        with pytest.raises(exception.InstanceFaultRollback):
            change(lab.instance)
    assert not lab.events


def test_a_hold_ends_with_whoever_holds(lab: Lab) -> None:
    lab.spawn()
    pid = lab.host.state().bhyve_pid
    guest = lab.driver._guest(lab.instance)
    with guest.held(), guest.held():
        lab.until(lambda: stopped(pid))
        assert lab.state() == power_state.RUNNING
    lab.until(lambda: not stopped(pid))
    with guest_files.connected(lab.folder, guest_files.CONTROL, 5) as dying:
        dying.sendall(b'{"do": "hold"}\n')
        dying.recv(4096)
        lab.until(lambda: stopped(pid))
    lab.until(lambda: not stopped(pid))
    with guest.held():  # a pause meanwhile outlives the hold
        lab.driver.pause(lab.instance)
    lab.driver.pause(lab.instance)
    lab.until(lambda: stopped(pid))


def machine(lab: Lab) -> bhyve.Machine:
    return lab.driver._guest(lab.instance).machine()


def places(lab: Lab) -> dict[int, str]:
    found = machine(lab)
    pairs = zip(found.disk_slots(), found.disks, strict=True)
    return {slot: Path(disk.path).name for slot, disk in pairs}


def image(image_id: str = RESCUE_ID, **properties: Any) -> Any:
    return objects.ImageMeta.from_dict(
        {"id": image_id, "disk_format": "raw", "container_format": "bare", "properties": properties, "size": MIB}
    )


def test_rescue_and_unrescue(lab: Lab) -> None:
    lab.instance.flavor.swap = 64
    lab.spawn()
    with open(lab.folder / "root.raw", "r+b") as file:
        file.write(b"precious")
    lab.content = b"R" * MIB
    before = machine(lab)
    lab.driver.rescue(None, lab.instance, lab.network_info, image(), "pw", None, None)
    assert places(lab) == {3: "rescue.raw", 4: "swap.raw", 11: "root.raw"}
    assert machine(lab).disks[0].path.endswith("rescue.raw")
    assert str(machine(lab).bootrom.variables).endswith("rescue-vars.fd")
    assert lab.state() == power_state.RUNNING
    # a start of the host meanwhile: still rescued
    lab.driver.power_off(lab.instance)
    lab.driver.resume_state_on_host_boot(None, lab.instance, lab.network_info, None)
    assert places(lab)[3] == "rescue.raw"
    lab.driver.unrescue(None, lab.instance)
    assert machine(lab) == before
    assert lab.state() == power_state.RUNNING
    assert (lab.folder / "root.raw").read_bytes()[:8] == b"precious"
    assert not (lab.folder / "rescue.raw").exists()
    assert not (lab.folder / "rescue-vars.fd").exists()


def test_a_rescue_that_fails_leaves_the_guest_as_it_was(lab: Lab) -> None:
    lab.spawn()
    (lab.host.base / "refuse").touch()
    with pytest.raises(exception.InstancePowerOnFailure):
        lab.driver.rescue(None, lab.instance, lab.network_info, image(), "pw", None, None)
    assert set(lab.driver._store.disks(lab.instance.uuid)) == {"root"}
    (lab.host.base / "refuse").unlink()
    lab.driver.power_on(None, lab.instance, lab.network_info)
    assert places(lab) == {3: "root.raw"}


def test_rebuild_is_destroy_and_spawn_with_another_image(lab: Lab) -> None:
    lab.spawn()
    lab.driver.destroy(None, lab.instance, lab.network_info)
    lab.image = image("33333333-2222-4333-8444-555555555555")
    lab.content = b"n" * MIB
    lab.spawn()
    assert (lab.folder / "root.raw").read_bytes()[:4] == b"nnnn"


def test_blank_disks(lab: Lab) -> None:
    lab.instance.flavor.ephemeral_gb, lab.instance.flavor.swap = 2, 128
    asked = [{"size": 1, "device_name": "/dev/vdb"}, {"size": 1, "device_name": "/dev/vdc"}]
    lab.spawn(block_device_info={"ephemerals": asked, "swap": None, "block_device_mapping": []})
    assert places(lab) == {3: "root.raw", 4: "ephemeral0.raw", 5: "ephemeral1.raw", 6: "swap.raw"}
    assert (lab.folder / "swap.raw").stat().st_size == 128 * MIB
    lab.driver.destroy(None, lab.instance, lab.network_info)
    lab.spawn()
    assert places(lab) == {3: "root.raw", 4: "ephemeral0.raw", 5: "swap.raw"}
    assert (lab.folder / "ephemeral0.raw").stat().st_size == 2 << 30


def test_volumes_have_places_that_do_not_collide(tmp_path: Path) -> None:
    from beastack.nova.stores.files import FileStore

    store = FileStore(tmp_path)
    folder = tmp_path / "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
    folder.mkdir()
    for name in ("root", "ephemeral0", "swap"):
        store.create(folder.name, name, MIB)
    both = [disks.Volume("/dev/da1", "/dev/vdd"), disks.Volume("/dev/da0", "/dev/vdb")]
    first = {d.path: d.slot for d in disks.layout(store, store.disks(folder.name), folder, bhyve.DiskKind.VIRTIO, both)}
    second = {
        d.path: d.slot for d in disks.layout(store, store.disks(folder.name), folder, bhyve.DiskKind.VIRTIO, both[:1])
    }
    assert first["/dev/da1"] == second["/dev/da1"]
    many = [disks.Volume(f"/dev/da{n}", f"/dev/vd{chr(98 + n)}") for n in range(5)]
    slots = [d.slot for d in disks.layout(store, store.disks(folder.name), folder, bhyve.DiskKind.VIRTIO, many)]
    assert len(set(slots)) == len(slots) == 8
    with pytest.raises(exception.BuildAbortException):
        disks.layout(
            store,
            store.disks(folder.name),
            folder,
            bhyve.DiskKind.VIRTIO,
            [*many, disks.Volume("/dev/da9", "/dev/vdz")],
        )


def test_a_config_drive_as_a_disk_and_as_a_cd(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    class Metadata:
        def __init__(self, instance: Any, **more: Any) -> None:
            self.more = more

        def metadata_for_config_drive(self) -> list[tuple[str, Any]]:
            extra = self.more["extra_md"]
            return [("openstack/latest/meta_data.json", str(extra)), ("openstack/content/0000", b"\0binary")]

    monkeypatch.setattr(config_drive.metadata, "InstanceMetadata", Metadata)
    lab.instance.config_drive = "True"
    lab.instance.system_metadata["image_hw_cdrom_bus"] = "sata"
    lab.driver.spawn(None, lab.instance, lab.image, [("/etc/motd", "x")], "secret", {}, lab.network_info)
    found = machine(lab)
    assert places(lab)[12] == "config.iso"
    assert found.disks[-1].read_only
    assert found.cd is not None
    iso = pycdlib.PyCdlib()
    iso.open(str(lab.folder / "config.iso"))
    assert iso.pvd.volume_identifier.decode().strip() == "config-2"
    with iso.open_file_from_iso(joliet_path="/openstack/latest/meta_data.json") as file:
        assert b"secret" in file.read()
    with iso.open_file_from_iso(rr_path="/openstack/content/0000") as file:
        assert file.read() == b"\0binary"
    iso.close()
    assert (lab.folder / "config.iso").stat().st_mode & 0o777 == 0o600


def test_a_card_of_another_kind(lab: Lab) -> None:
    lab.instance.system_metadata = {"image_hw_vif_model": "e1000"}
    lab.spawn()
    assert [nic.kind for nic in machine(lab).nics] == [bhyve.NicKind.E1000]


def test_what_cannot_be_is_refused_before_volumes_are_attached(lab: Lab) -> None:
    lab.driver.prepare_for_spawn(lab.instance)
    lab.instance.system_metadata = {"image_hw_tpm_version": "2.0"}
    with pytest.raises(exception.InstanceUnacceptable, match=r"hw_tpm_version=2.0 \(guests have no TPM\)"):
        lab.driver.prepare_for_spawn(lab.instance)
    lab.instance.system_metadata = {}
    lab.instance.kernel_id = "3f0a8a4e-0c34-4c55-9d1b-0f7a8d7f2f11"
    with pytest.raises(exception.InstanceUnacceptable, match="a kernel of its own: the firmware starts"):
        lab.driver.prepare_for_spawn(lab.instance)


def test_a_rebuild_that_cannot_be_leaves_the_disks(lab: Lab) -> None:
    lab.spawn()
    words = (None, None, {}, None, None, None)
    with pytest.raises(exception.UnsupportedHardware, match="hw_firmware_type"):
        lab.driver.rebuild(None, lab.instance, image(hw_firmware_type="bios"), *words)
    with pytest.raises(NotImplementedError):  # nova composes it
        lab.driver.rebuild(None, lab.instance, image(), *words)
    assert (lab.folder / "root.raw").is_file() or (lab.folder / "machine.json").is_file()


def test_a_resize_to_what_cannot_be_is_taken_back_before_the_guest_stops(lab: Lab) -> None:
    lab.spawn()
    flavor = lab.instance.flavor.obj_clone()
    flavor.extra_specs = {"hw:tpm_version": "2.0"}
    with pytest.raises(exception.InstanceFaultRollback):
        lab.driver.migrate_disk_and_power_off(None, lab.instance, "192.0.2.9", flavor, lab.network_info)
    assert lab.host.state().state == "running"


def test_injected_files_need_a_config_drive(lab: Lab) -> None:
    with pytest.raises(exception.BuildAbortException, match="config drive"):
        lab.driver.spawn(None, lab.instance, lab.image, [("/etc/motd", "x")], None, {}, lab.network_info)
    lab.instance.image_ref = ""
    with pytest.raises(exception.BuildAbortException, match="volume"):
        lab.spawn()


def test_wishes_of_a_flavor(lab: Lab) -> None:
    lab.instance.flavor.extra_specs = {
        "beastack:wired_memory": "true",
        "beastack:disk_bus": "nvme",
        "hw_rng:allowed": "False",
        "hw:cpu_sockets": "2",
        "trait:COMPUTE_FIRMWARE_UEFI": "required",
        "quota:cpu_quota": "50000",
        "quota:cpu_period": "100000",
        "quota:disk_read_bytes_sec": "1048576",
    }
    lab.spawn()
    found = machine(lab)
    assert (found.wired, found.random, found.disks[0].kind) == (True, False, bhyve.DiskKind.NVME)
    assert (found.topology.sockets, found.topology.cores) == (2, 1)
    assert found.limits == (bhyve.Limit("pcpu", 100), bhyve.Limit("readbps", MIB))
    rules = (lab.host.base / "rctl.log").read_text().splitlines()
    pid = lab.host.state().bhyve_pid
    assert rules == [f"-a process:{pid}:pcpu:deny=100", f"-a process:{pid}:readbps:throttle=1048576"]


def test_a_limit_that_cannot_be_set_stops_the_guest(lab: Lab) -> None:
    lab.instance.flavor.extra_specs = {"quota:cpu_quota": "50000"}
    (lab.host.base / "no-racct").touch()
    with pytest.raises(exception.InstancePowerOnFailure, match="RACCT"):
        lab.spawn()
    assert not lab.folder.exists()


@pytest.mark.parametrize(
    "specs",
    [
        {"beastack:no_such": "1"},
        {"beastack:disk_bus": "scsi"},
        {"quota:cpu_shares": "5"},
        {"quota:vif_inbound_average": "5"},
        {"hw:mem_page_size": "large"},
        {"hw:tpm_version": "2.0"},
        {"hw:watchdog_action": "reset"},
    ],
)
def test_wishes_that_cannot_be_kept_are_refused(specs: dict[str, str]) -> None:
    flavor = objects.Flavor(vcpus=1, extra_specs=specs)
    with pytest.raises(exception.UnsupportedHardware, match=next(iter(specs))):
        wishes.read(flavor, None)


@pytest.mark.parametrize("specs", [{"quota:cpu_quota": "-1"}, {"quota:cpu_quota": "x"}, {"hw_rng:allowed": "perhaps"}])
def test_wishes_that_are_none(specs: dict[str, str]) -> None:
    with pytest.raises(exception.InvalidInput):
        wishes.read(objects.Flavor(vcpus=1, extra_specs=specs), None)


@pytest.mark.parametrize(
    "properties",
    [
        {"hw_disk_bus": "scsi"},
        {"hw_vif_model": "e1000e"},
        {"hw_firmware_type": "bios"},
        {"os_secure_boot": "required"},
        {"hw_machine_type": "q35"},
        {"hw_numa_nodes": "2"},
        {"hw_boot_menu": "true"},
        {"hw_ephemeral_encryption": "true"},
    ],
)
def test_images_that_want_other_hardware(properties: dict[str, str]) -> None:
    with pytest.raises(exception.UnsupportedHardware, match=next(iter(properties))):
        wishes.read(objects.Flavor(vcpus=1, extra_specs={}), image(**properties))


def test_pinned_processors_and_a_device_of_the_host(lab: Lab) -> None:
    cell = objects.InstanceNUMACell(id=0, cpuset=set(), pcpuset={0, 1}, memory=256, cpu_pinning={0: 2, 1: 3})
    lab.instance.numa_topology = objects.InstanceNUMATopology(cells=[cell])
    lab.instance.pci_devices = objects.PciDeviceList(objects=[objects.PciDevice(address="0000:01:10.1")])
    disks.make_folder(lab.folder.parent, lab.folder.name)
    found = lab.driver._machine(lab.instance, [])
    assert found.pins == (bhyve.Pin(0, 2), bhyve.Pin(1, 3))
    assert found.passthrough == (bhyve.PciDevice(1, 16, 1),)
    assert found.wired


def test_what_cannot_be_is_refused_in_words(lab: Lab) -> None:
    lab.spawn()
    for call in (
        lambda: lab.driver.suspend(None, lab.instance),
        lambda: lab.driver.resume(None, lab.instance, None),
        lambda: lab.driver.set_admin_password(lab.instance, "x"),
        lambda: lab.driver.extend_volume(None, None, lab.instance, 1),
        lambda: lab.driver.swap_volume(None, None, None, lab.instance, None, 1),
        lambda: lab.driver.quiesce(None, lab.instance, None),
        lambda: lab.driver.trigger_crash_dump(lab.instance),
    ):
        with pytest.raises(NotImplementedError) as caught:
            call()
        assert str(caught.value) in REASONS.values()
    for move in (
        lambda: lab.driver.check_can_live_migrate_destination(None, lab.instance, None, None),
        lambda: lab.driver.live_migration(None, lab.instance, "x", None, None),
    ):
        with pytest.raises(exception.MigrationPreCheckError, match="running guest"):
            move()
    assert lab.state() == power_state.RUNNING


def test_diagnostics(lab: Lab) -> None:
    lab.spawn()
    found = lab.driver.get_diagnostics(lab.instance)
    assert (found["state"], found["cpus"], found["Resident memory"]) == ("running", 2, 40968192)
    shown = lab.driver.get_instance_diagnostics(lab.instance)
    assert (shown.num_cpus, shown.num_nics, shown.num_disks) == (2, 1, 1)
    assert (shown.state, shown.hypervisor, shown.memory_details.used) == ("running", "bhyve", 39)
    assert IMAGE_ID
