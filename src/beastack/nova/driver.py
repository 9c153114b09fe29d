"""BhyveDriver: nova's compute driver for FreeBSD hosts (contract: nova/virt/driver.py, ComputeDriver).

Loaded as `compute_driver = beastack.BhyveDriver`. Each part of the contract is a mix-in in a module of its own; what
bhyve cannot do is refused with an error that says so (refusals.py), and no capability promises it.
"""

from typing import Any

from beastack.nova.attaching import Attaching
from beastack.nova.consoles import Consoles
from beastack.nova.diagnostics import Diagnostics
from beastack.nova.hostside import HostSide
from beastack.nova.life import Life
from beastack.nova.moving import Moving
from beastack.nova.refusals import Refusals
from beastack.nova.snapshots import Snapshots
from nova.virt import driver as virt_driver


class BhyveDriver(Life, Moving, Snapshots, Attaching, Consoles, Diagnostics, HostSide, Refusals):
    """Guests under bhyve(8), each with a supervisor of its own (beastack.nova.guest)."""

    capabilities: dict[str, Any] = {  # noqa: RUF012 upstream's form
        **virt_driver.ComputeDriver.capabilities,
        "has_imagecache": True,
        "supports_attach_interface": True,
        "supports_evacuate": True,
        "supports_image_type_raw": True,
        "supports_image_type_qcow2": True,
        "supports_pcpus": True,
    }
