"""What of neutron's QoS the bridge agent's hosts can do, for the server: it refuses all other rules of their ports.

What a guest sends may be limited (freebsd/car.py says how, and why what is sent to it may not).
"""

from functools import cache
from typing import Any

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.services.qos import base
from neutron_lib.services.qos import constants as qos

from beastack.freebsd.car import MAX_BURST_KB, MAX_KBPS, MIN_KBPS

SUPPORTED_RULES: dict[str, dict[str, dict[str, list[Any]]]] = {
    qos.RULE_TYPE_BANDWIDTH_LIMIT: {
        qos.MAX_KBPS: {"type:range": [MIN_KBPS, MAX_KBPS]},
        qos.MAX_BURST: {"type:range": [0, MAX_BURST_KB]},
        qos.DIRECTION: {"type:values": [constants.EGRESS_DIRECTION]},
    }
}


class BridgeQosServerDriver(base.DriverBase):
    """Known to the ``qos`` service plugin by itself, when that is loaded."""

    def __init__(self) -> None:
        super().__init__(
            name="freebsdbridge",
            vif_types=[portbindings.VIF_TYPE_TAP],
            vnic_types=[portbindings.VNIC_NORMAL],
            supported_rules=SUPPORTED_RULES,
            requires_rpc_notifications=True,
        )


@cache
def register() -> BridgeQosServerDriver:
    """Once a process; the mechanism driver does it."""
    return BridgeQosServerDriver()
