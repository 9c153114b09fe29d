"""Build hook: an editable install also places ``nova.virt.beastack`` where nova looks for compute drivers.

nova loads drivers only from below ``nova.virt`` (nova/virt/driver.py, load_compute_driver), and an editable
install's path entry cannot extend that regular package; so the file goes into site-packages itself.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NovaVirtHook(BuildHookInterface):  # type: ignore[misc]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            build_data["force_include_editable"]["src/nova/virt/beastack"] = "nova/virt/beastack"
