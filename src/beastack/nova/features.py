"""What nova's users may expect of this driver, worked out from the driver itself: docs/compute.md shows the table.

    python -m beastack.nova.features        prints it

A feature works when the driver has its own form of the methods behind it (or nova composes it of such), and is refused
when the driver's refusals name one. Nothing here says so by hand.
"""

from dataclasses import dataclass

from beastack.freebsd.bhyve import Capabilities
from beastack.nova.driver import BhyveDriver
from beastack.nova.libvirt import limits
from beastack.nova.libvirt.runner import LibvirtRunner
from beastack.nova.refusals import REASONS, UNBUILT, WITHOUT
from nova.virt import driver as virt_driver

RELEASES = ((14, 3), (15, 0), (15, 1))


@dataclass(frozen=True, slots=True)
class Feature:
    """One row: what a person knows it by, the driver's methods behind it, the driver's capability that promises it,
    what of bhyve it needs (fields of Capabilities).
    """

    name: str
    methods: tuple[str, ...]
    capability: str = ""
    needs: tuple[str, ...] = ()
    note: str = ""
    asks: str = ""  # what a new server asks for, of refusals.UNBUILT


_NEXT = "a running guest has it from its next stop and start, or hard reboot, on"
FEATURES = (
    Feature("create, delete", ("spawn", "destroy", "cleanup", "delete_instance_files")),
    Feature("stop, start", ("power_off", "power_on"), note="power button first; by force after nova's time"),
    Feature("soft and hard reboot", ("reboot",)),
    Feature("guest powers off or reboots by itself", ("get_info", "list_instance_uuids"), note="seen at once"),
    Feature("resume guests when the host starts", ("resume_state_on_host_boot",)),
    Feature("pause, unpause", ("pause", "unpause"), note="bhyve is stopped and continued by signals"),
    Feature("suspend, resume", ("suspend", "resume")),
    Feature("rescue, unrescue", ("rescue", "unrescue"), note="any image; the guest's own root is another disk"),
    Feature("rebuild", ("destroy", "spawn"), note="composed by nova"),
    Feature(
        "resize on one host",
        ("migrate_disk_and_power_off", "finish_migration", "confirm_migration", "finish_revert_migration"),
        note="disks never shrink",
    ),
    Feature(
        "resize, cold migration to another host",
        ("migrate_disk_and_power_off", "finish_migration", "confirm_migration", "finish_revert_migration"),
        note="disks go over TLS, see decisions/0005",
    ),
    Feature("live migration", ("live_migration", "check_can_live_migrate_destination")),
    Feature("evacuate", ("spawn", "instance_on_disk"), "supports_evacuate", note="from the image: no shared storage"),
    Feature("shelve, unshelve", ("snapshot", "destroy", "spawn"), note="composed by nova"),
    Feature("snapshot to an image", ("snapshot",),
            note="running (as a power cut would leave it) or stopped; raw or qcow2"),
    Feature("image cache", ("manage_image_cache", "cache_image"), "has_imagecache"),
    Feature("images in raw", ("spawn",), "supports_image_type_raw"),
    Feature("images in qcow2", ("spawn",), "supports_image_type_qcow2"),
    Feature("UEFI with a guest's own variables", ("spawn",), needs=("variables",)),
    Feature("pinned processors (hw:cpu_policy)", ("update_provider_tree",), "supports_pcpus"),
    Feature("attach and detach interfaces", ("attach_interface", "detach_interface"), "supports_attach_interface",
            note=f"{_NEXT}; what a running guest holds is not taken from it"),
    Feature("attach and detach volumes (iSCSI)", ("attach_volume", "detach_volume", "get_volume_connector"),
            note=f"{_NEXT}; what a running guest holds is not taken from it"),
    Feature("extend an attached volume", ("extend_volume",), "supports_extend_volume"),
    Feature("swap an attached volume", ("swap_volume",)),
    Feature("quiesced snapshots", ("quiesce",)),
    Feature("console log", ("get_console_output",)),
    Feature("serial console", ("get_serial_console",)),
    Feature("graphic console (VNC)", ("get_vnc_console",)),
    Feature("diagnostics", ("get_diagnostics", "get_instance_diagnostics")),
    Feature("host disabled with a reason", ("get_available_resource",)),
    Feature("change the password of a guest", ("set_admin_password",)),
    Feature("crash dump", ("trigger_crash_dump",)),
    Feature("boot from a volume", ("spawn",), asks="a root disk on a volume"),
    Feature("images with a kernel beside them", ("spawn",), asks="a kernel of its own"),
    Feature("files injected into the disk", ("spawn",), asks="injected files without a config drive"),
    Feature("volumes of several servers", ("attach_volume",), "supports_multiattach"),
    Feature("tagged devices", ("spawn",), "supports_device_tagging"),
    Feature("certificates of images", ("spawn",), "supports_trusted_certs"),
    Feature("rescue of a server on a volume", ("rescue",), "supports_bfv_rescue"),
    Feature("Secure Boot", ("spawn",), "supports_secure_boot"),
    Feature("TPM", ("spawn",), "supports_vtpm"),
    Feature("encrypted disks", ("spawn",), "supports_ephemeral_encryption"),
    Feature("accelerators (cyborg)", ("spawn",), "supports_accelerators"),
    Feature("shares (manila)", ("spawn",), "supports_virtio_fs"),
    Feature("images in ISO", ("spawn",), "supports_image_type_iso"),
)  # fmt: skip


def own(method: str) -> bool:
    """Whether the driver has a form of its own of it."""
    return getattr(BhyveDriver, method) is not getattr(virt_driver.ComputeDriver, method)


def state(feature: Feature) -> str:
    """``works``, ``refused: WHY`` or ``not built``."""
    for method in feature.methods:
        if method in REASONS:
            return f"refused: {REASONS[method]}"
    if feature.asks:
        return f"refused: {UNBUILT[feature.asks]}"
    promised = not feature.capability or bool(BhyveDriver.capabilities[feature.capability])
    if not promised and feature.capability in WITHOUT:
        return f"refused: {WITHOUT[feature.capability]}"
    return "works" if promised and all(map(own, feature.methods)) else "not built"


def releases(feature: Feature) -> str:
    """On which releases of FreeBSD, by what their bhyve can do."""
    if state(feature) != "works":
        return ""
    able = [
        f"{major}.{minor}"
        for major, minor in RELEASES
        if all(getattr(Capabilities.of_release(major, minor), need) for need in feature.needs)
    ]
    return ", ".join(able)


def through_libvirt(feature: Feature) -> str:
    """The same with `[beastack] hypervisor = libvirt`, by what that way refuses and lacks; empty where bhyve itself
    cannot.
    """
    if state(feature) != "works":
        return ""
    for method in feature.methods:
        if method in LibvirtRunner.cannot:
            return f"refused: {LibvirtRunner.cannot[method]}"
    less = [limits.LESS[feature.name]] if feature.name in limits.LESS else []
    return "; ".join(["built", *less])


def table() -> str:
    """The table as Markdown."""
    lines = [
        "| feature | state | FreeBSD | remark | through libvirt, not tried on FreeBSD |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {each.name} | {state(each)} | {releases(each)} | {each.note} | {through_libvirt(each)} |"
        for each in FEATURES
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
