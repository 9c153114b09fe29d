"""Whether the hypervisor can be used; when not, the compute service is disabled with the reason."""

from pathlib import Path
from typing import Any

from nova.conf import CONF
from oslo_log import log as logging

from beastack.nova.seam import Runner
from beastack.nova.stores.base import DiskStore
from nova import exception, objects

LOG = logging.getLogger(__name__)
PREFIX = "AUTO: "  # as upstream's libvirt driver: what we disabled, we enable; what a person disabled, we leave


class Health:
    """Looks, and tells nova when the answer has changed."""

    def __init__(self, options: Any, store: DiskStore, runner: Runner, virtapi: Any) -> None:
        self._options, self._store, self._runner, self._virtapi = options, store, runner, virtapi
        self.reason = ""

    def look(self) -> str:
        """Why no guest can start here; empty when guests can."""
        self.reason = self._found()
        if self.reason:
            LOG.error("The hypervisor cannot be used: %s", self.reason)
        return self.reason

    def _found(self) -> str:
        for name in ("bootrom", "bootrom_vars"):
            path = getattr(self._options, name)
            if not path or not Path(path).is_file():
                return f"[beastack] {name} = {path}: there is no such file"
        try:
            self._runner.prepare()
            self._store.prepare()
            self._store.space()
        except Exception as error:  # noqa: BLE001 across the privilege boundary any class may come
            return " ".join(str(error).split())[:200] or type(error).__name__
        return ""

    def tell(self, context: Any) -> None:
        """Look again, and bring the service's record in line."""
        reason = self.look()
        try:
            service = objects.Service.get_by_compute_host(context, CONF.host)
        except exception.ComputeHostNotFound:
            return  # the very first start: the next update tells
        words = f"{PREFIX}{reason}"[:255]
        ours = service.disabled and str(service.disabled_reason or "").startswith(PREFIX)
        if reason and (not service.disabled or (ours and service.disabled_reason != words)):
            service.disabled, service.disabled_reason = True, words
        elif not reason and ours:
            service.disabled, service.disabled_reason = False, None
        else:
            return
        service.save()
        for node in objects.ComputeNodeList.get_all_by_host(context, CONF.host):
            self._virtapi.update_compute_provider_status(context, node.uuid, not service.disabled)
