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
