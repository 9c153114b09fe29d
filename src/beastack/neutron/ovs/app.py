"""The os-ken application that upstream's agent runs in, with our integration bridge among its bridge classes.

As neutron/plugins/ml2/drivers/openvswitch/agent/openflow/native/ovs_oskenapp.py, whose ``start`` names the classes.
The agent itself takes them as an argument.
"""

import functools
import signal
from typing import Any

from neutron.plugins.ml2.drivers.openvswitch.agent.openflow.native import base_oskenapp, br_phys, br_tun, ovs_oskenapp
from os_ken.lib import hub

from beastack.neutron.ovs.bridge import ClosedIntegrationBridge


class OvsAgentApp(base_oskenapp.BaseNeutronAgentOSKenApp):
    """The agent's thread beside os-ken's own."""

    def start(self) -> Any:
        """Start os-ken's loop and the agent; returns the agent's thread."""
        super().start()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, ovs_oskenapp.signal_handler)
        classes = {
            "br_int": ClosedIntegrationBridge,
            "br_phys": br_phys.OVSPhysicalBridge,
            "br_tun": br_tun.OVSTunnelBridge,
        }
        made = {name: functools.partial(kind, os_ken_app=self) for name, kind in classes.items()}
        return hub.spawn(ovs_oskenapp.agent_main_wrapper, made, ovs_oskenapp.register_signal, raise_error=True)
