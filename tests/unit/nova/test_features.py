"""The table of features is the driver's own word, and the documentation's."""

import inspect
from pathlib import Path

import pytest

from beastack.nova import features, image_properties
from beastack.nova.driver import BhyveDriver
from beastack.nova.libvirt import limits
from beastack.nova.libvirt.runner import LibvirtRunner
from beastack.nova.native import NativeRunner
from beastack.nova.refusals import REASONS, UNBUILT, WITHOUT, Refusals
from nova import objects
from nova.virt import driver as virt_driver

DOCS = Path(__file__).parents[3] / "docs" / "compute.md"
# Methods of upstream's contract that raise NotImplementedError there and here, and why that is right.
NOT_OURS = {
    "parts of live migration, which is refused at its first step": {
        *("check_can_live_migrate_source", "cleanup_live_migration_destination_check", "pre_live_migration"),
        *("live_migration_abort", "live_migration_force_complete", "post_live_migration_at_destination"),
        *("post_live_migration_at_source", "rollback_live_migration_at_destination", "get_instance_disk_info"),
    },
    "nova chooses the names of devices itself": {
        *("default_device_names_for_instance", "default_root_device_name", "get_device_name_for_instance"),
    },
    "metrics that nothing here collects": {"block_stats", "get_all_volume_usage", "get_host_cpu_stats"},
    "of other hypervisors": {
        *("get_mks_console", "get_spice_console", "host_maintenance_mode", "host_power_action", "power_update_event"),
        *("poll_rebooting_instances", "set_host_enabled", "instance_exists"),
    },
    "soft delete is nova's stop when a driver has no form of its own": {"soft_delete", "restore"},
    "shared file systems are not built": {"mount_share", "umount_share", "is_share_mounted"},
    "quiesce is refused": {"unquiesce"},
    "snapshots of attached NFS volumes, which cannot be attached": {"volume_snapshot_create", "volume_snapshot_delete"},
}


def test_the_documentation_shows_the_table() -> None:
    assert features.table() in DOCS.read_text(), "run: .venv/bin/python -m beastack.nova.features"


def test_the_documentation_shows_the_image_properties() -> None:
    assert image_properties.table() in DOCS.read_text(), "run: .venv/bin/python -m beastack.nova.image_properties"


def test_every_property_is_novas_and_each_value_one_of_its_values() -> None:
    objects.register_all()
    for known in image_properties.PROPERTIES:
        field = objects.ImageMetaProps.fields[known.name]
        for value in known.served:
            assert field.coerce(None, known.name, value) == value


def test_what_a_new_server_may_ask_for_in_vain_is_shown() -> None:
    assert {each.asks for each in features.FEATURES} - {""} == set(UNBUILT)
    assert set(WITHOUT) <= {each.capability for each in features.FEATURES}
    assert not any(BhyveDriver.capabilities[name] for name in WITHOUT)


def test_no_method_of_the_contract_is_forgotten() -> None:
    open_ones = set()
    for name, method in vars(virt_driver.ComputeDriver).items():
        if name.startswith("_") or not inspect.isfunction(method) or features.own(name):
            continue
        if "NotImplementedError" in inspect.getsource(method):
            open_ones.add(name)
    assert open_ones == set().union(*NOT_OURS.values())


def test_every_refusal_is_shown_and_every_refusing_method_says_why() -> None:
    shown = {method for feature in features.FEATURES for method in feature.methods}
    assert set(REASONS) <= shown
    own = {name for name in vars(Refusals) if not name.startswith("_")}
    assert own - set(REASONS) == {"check_can_live_migrate_destination"}


def test_capabilities_and_states_agree() -> None:
    by_capability = {each.capability: features.state(each) for each in features.FEATURES if each.capability}
    for name, value in BhyveDriver.capabilities.items():
        if value:
            assert by_capability[name] == "works", name
        elif name in by_capability:
            assert by_capability[name] != "works", name


@pytest.mark.parametrize("name", ["suspend, resume", "live migration"])
def test_what_bhyve_cannot_do(name: str) -> None:
    found = next(each for each in features.FEATURES if each.name == name)
    assert features.state(found).startswith("refused: bhyve cannot")
    assert features.releases(found) == ""


def test_a_feature_without_methods_of_ours_does_not_work() -> None:
    assert features.state(features.Feature("x", ("soft_delete",))) == "not built"
    assert features.state(features.Feature("x", ("spawn",), "supports_remote_managed_ports")) == "not built"
    assert features.state(features.Feature("x", ("spawn",), "supports_vtpm")) == "refused: guests have no TPM"


def test_the_way_through_libvirt_is_the_runners_own_word() -> None:
    by_name = {each.name: features.through_libvirt(each) for each in features.FEATURES}
    assert set(limits.LESS) <= set(by_name)
    assert set(LibvirtRunner.cannot) <= {method for each in features.FEATURES for method in each.methods}
    assert by_name["pause, unpause"] == f"refused: {LibvirtRunner.cannot['pause']}"
    assert by_name["live migration"] == ""
    assert by_name["stop, start"] == "built"
    assert NativeRunner.cannot == {}
