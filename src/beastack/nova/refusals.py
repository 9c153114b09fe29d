"""What bhyve cannot do: refused in words, and never promised by a capability."""

from typing import Any

from beastack.nova.base import Base
from nova import exception

# Asked of the driver -> why not. docs/compute.md shows it.
REASONS = {
    "suspend": "bhyve cannot save a running guest's state (its save and restore is not built into FreeBSD's kernels)",
    "resume": "bhyve cannot save a running guest's state, so there is nothing to resume from",
    "live_migration": "bhyve cannot move a running guest to another host; migrate the stopped server instead",
    "set_admin_password": "guests have no agent that could change a password",
    "swap_volume": "bhyve cannot exchange the disk of a running guest",
    "extend_volume": "the iSCSI session is not scanned anew, so the host itself does not see that the volume grew",
    "quiesce": "guests have no agent that could freeze their file systems",
    "trigger_crash_dump": "bhyvectl has no option that sends the guest an NMI",
}
# What a new server may ask for and does not get -> why not: refused before its volumes and disks are made.
UNBUILT = {
    "a root disk on a volume": "a server starts from an image's copy; volumes can be further disks",
    "a kernel of its own": "the firmware starts what is on the guest's disk",
    "injected files without a config drive": "what a guest's disk holds is never touched",
}
# Capabilities of nova's that are not promised -> why not. Nova refuses by them.
WITHOUT = {
    "supports_multiattach": "a volume is one server's: nothing keeps two guests from writing to it at once",
    "supports_device_tagging": "what is in a config drive is not written anew when devices come and go",
    "supports_trusted_certs": "images' certificates are not checked",
    "supports_bfv_rescue": UNBUILT["a root disk on a volume"],
    "supports_secure_boot": "the firmware has no keys of Secure Boot",
    "supports_vtpm": "guests have no TPM",
    "supports_ephemeral_encryption": "disks of guests are not encrypted",
    "supports_accelerators": "devices come by ppt(4) and a flavor's alias, not by cyborg",
    "supports_virtio_fs": "shared file systems are not built",
    "supports_image_type_iso": "guests start from disks",
}


def unbuilt(instance: Any, injected_files: Any = None, config_drive: bool = True) -> str:
    """Why the server cannot be, or nothing."""
    asked = []
    if not instance.image_ref:
        asked.append("a root disk on a volume")
    if instance.kernel_id or instance.ramdisk_id:
        asked.append("a kernel of its own")
    if injected_files and not config_drive:
        asked.append("injected files without a config drive")
    return "; ".join(f"the bhyve driver cannot give {what}: {UNBUILT[what]}" for what in asked)


def _not_built(what: str) -> NotImplementedError:
    # nova/compute/manager.py: for suspend and the like it takes this back to the state before and tells the words
    return NotImplementedError(REASONS[what])


class Refusals(Base):
    """Mix-in of BhyveDriver."""

    def suspend(self, context: Any, instance: Any) -> None:
        """Refused."""
        raise _not_built("suspend")

    def resume(
        self, context: Any, instance: Any, network_info: Any, block_device_info: Any = None, share_info: Any = None
    ) -> None:
        """Refused."""
        raise _not_built("resume")

    def check_can_live_migrate_destination(
        self,
        context: Any,
        instance: Any,
        src_compute_info: Any,
        dst_compute_info: Any,
        block_migration: bool = False,
        disk_over_commit: bool = False,
    ) -> None:
        """Refused before anything has moved."""
        raise exception.MigrationPreCheckError(reason=REASONS["live_migration"])

    def live_migration(
        self,
        context: Any,
        instance: Any,
        dest: Any,
        post_method: Any,
        recover_method: Any,
        block_migration: bool = False,
        migrate_data: Any = None,
    ) -> None:
        """Refused."""
        raise exception.MigrationPreCheckError(reason=REASONS["live_migration"])

    def set_admin_password(self, instance: Any, new_pass: Any) -> None:
        """Refused."""
        raise _not_built("set_admin_password")

    def swap_volume(
        self,
        context: Any,
        old_connection_info: Any,
        new_connection_info: Any,
        instance: Any,
        mountpoint: Any,
        resize_to: Any,
    ) -> None:
        """Refused."""
        raise _not_built("swap_volume")

    def extend_volume(self, context: Any, connection_info: Any, instance: Any, requested_size: Any) -> None:
        """Refused."""
        raise _not_built("extend_volume")

    def quiesce(self, context: Any, instance: Any, image_meta: Any) -> None:
        """Refused."""
        raise _not_built("quiesce")

    def trigger_crash_dump(self, instance: Any) -> None:
        """Refused."""
        raise _not_built("trigger_crash_dump")
