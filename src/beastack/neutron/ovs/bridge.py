"""``br-int`` as upstream's agent knows it, with two things changed: a port without flows of its own passes nothing, and
flows go to ovs-ofctl(8) by the privileged side's entry, whose failure is raised.

Upstream's own (neutron/agent/common/ovs_lib.py, ``run_ofctl``) hands a command line to root, logs a failure and goes
on: the port would be reported up and filter nothing.
"""

from collections.abc import Sequence
from typing import Any

from neutron.plugins.ml2.drivers.openvswitch.agent.openflow.native import br_int
from neutron_lib.plugins.ml2 import ovs_constants

from beastack.privsep import ovs

NAME = "br-int"
_ACTIONS = {"add-flows": "add", "mod-flows": "mod", "del-flows": "del"}
# Above upstream's NORMAL (1) and below a port's own flows (90 and more) in the table where a frame finds its port.
_PRIORITY = 5
# A frame without a tag, or with one of VLAN 0 (802.1Q, priority tag). What comes from a physical network has its local
# VLAN's tag by then; without a tag it comes from a port of this bridge.
_UNTAGGED = (0x0000, 0x0FFF)


class FlowsNotServed(RuntimeError):
    """The agent asked ovs-ofctl for something that the privileged side has no entry for."""


class ClosedIntegrationBridge(br_int.OVSIntegrationBridge):
    """The integration bridge of a FreeBSD host."""

    def setup_default_table(self, *args: Any, **kwargs: Any) -> None:
        """Upstream's, after a flow that drops what a port sends before it has flows of its own."""
        self.install_drop(table_id=ovs_constants.TRANSIENT_TABLE, priority=_PRIORITY, vlan_vid=_UNTAGGED)
        super().setup_default_table(*args, **kwargs)

    def run_ofctl(self, cmd: str, args: Sequence[str], process_input: str | None = None) -> None:
        """Flows to add, change or delete; raises FlowsNotServed, and what the privileged side raises."""
        action = _ACTIONS.get(cmd)
        if action is None or process_input is None or not set(args) <= {"-", "--bundle"}:
            raise FlowsNotServed(f"ovs-ofctl {cmd} {' '.join(args)}: not served by the privileged side")
        ovs.ovs_flows(self.br_name, action, process_input.splitlines())
