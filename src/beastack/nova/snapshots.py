"""A server's root disk to glance, running or not, as a raw or qcow2 image.

What is read is a ZFS snapshot, or the file while the guest stands still; in both cases what a power cut would have
left. The format is ours from beginning to end: what the guest wrote is never probed.
"""

from typing import Any

from nova.compute import task_states
from nova.image import glance
from oslo_log import log as logging
from oslo_utils import fileutils

from beastack.nova.base import Base
from beastack.nova.stores.base import ROOT
from nova import exception
from nova.virt import images

LOG = logging.getLogger(__name__)


class Snapshots(Base):
    """Mix-in of BhyveDriver."""

    def snapshot(self, context: Any, instance: Any, image_id: Any, update_task_state: Any) -> None:
        """Upload the root disk as the image that nova has already registered."""
        guest = self._guest(instance)
        if ROOT not in self._store.disks(guest.uuid):
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        wanted = str(self._options.snapshot_format)
        raw = self._instances / "_base" / f"{image_id}.snapshot"
        out = raw.with_suffix(".snapshot-converted") if wanted != "raw" else raw
        update_task_state(task_state=task_states.IMAGE_PENDING_UPLOAD)
        with fileutils.remove_path_on_error(str(raw)), fileutils.remove_path_on_error(str(out)):
            if self._store.needs_hold:
                with guest.held():
                    self._store.export(guest.uuid, ROOT, raw)
            else:
                self._store.export(guest.uuid, ROOT, raw)
            if out != raw:
                images.convert_image(str(raw), str(out), "raw", wanted)
                raw.unlink()
            update_task_state(task_state=task_states.IMAGE_UPLOADING, expected_state=task_states.IMAGE_PENDING_UPLOAD)
            with open(out, "rb") as data:
                glance.API().update(context, image_id, _metadata(instance, wanted), data, purge_props=False)
        out.unlink()
        LOG.info("Snapshot uploaded as image %s (%s)", image_id, wanted, instance=instance)


def _metadata(instance: Any, disk_format: str) -> dict[str, Any]:
    base = instance.image_meta
    return {
        "status": "active",
        "disk_format": disk_format,
        "container_format": "bare",
        "properties": {
            "kernel_id": "",
            "ramdisk_id": "",
            "image_location": "snapshot",
            "image_state": "available",
            "owner_id": instance.project_id,
            **({"hw_architecture": base.properties.hw_architecture} if base.properties.get("hw_architecture") else {}),
        },
    }
