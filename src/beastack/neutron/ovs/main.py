"""``beastack-ovs-agent``: upstream's neutron-openvswitch-agent on a FreeBSD host.

Before it starts, the privileged side makes the bridges, as upstream's ends when a physical network's is not there.
"""

import sys
from typing import Any

from neutron.agent import securitygroups_rpc  # noqa: F401 - registers [securitygroup]
from neutron.common import config as common_config
from neutron.plugins.ml2.drivers.openvswitch.agent.common import config as ovs_config  # noqa: F401 - registers [ovs]
from neutron.plugins.ml2.drivers.openvswitch.agent.openflow.native import main as upstream
from neutron_lib.utils import helpers
from os_ken.base import app_manager
from oslo_config import cfg

from beastack.neutron.ovs.bridge import NAME
from beastack.neutron.ovs.watch import GuardWatch
from beastack.privsep import ovs

FIREWALL = "beastack_ovs"
# Ours, and the one that it asks for switches; os-ken would load that for the first module that imports its API.
APPS = ("beastack.neutron.ovs.app", "os_ken.app.ofctl.service")


def cards(conf: Any) -> list[str]:
    """Network cards of ``bridge_mappings``; raises ValueError for settings with which ports would not be filtered."""
    if conf.SECURITYGROUP.firewall_driver != FIREWALL:
        raise ValueError(f"[securitygroup] firewall_driver: {FIREWALL} is wanted")
    if conf.OVS.datapath_type != "netdev" or conf.OVS.integration_bridge != NAME:
        raise ValueError(f"[ovs] datapath_type = netdev and integration_bridge = {NAME} are wanted")
    if conf.AGENT.tunnel_types:
        raise ValueError("[agent] tunnel_types: tunnels are not served (docs/decisions/0006-openvswitch.md)")
    if conf.AGENT.minimize_polling:
        raise ValueError("[agent] minimize_polling = false is wanted: its monitor is looked for in /proc")
    found = helpers.parse_mappings(conf.OVS.bridge_mappings)
    for bridge in found.values():
        if not bridge.startswith("br-") or bridge == NAME:
            raise ValueError(f"[ovs] bridge_mappings: {bridge}: br- and a network card's name is wanted")
    return [bridge.removeprefix("br-") for bridge in found.values()]


def main() -> None:
    """Entry point; the arguments are neutron's."""
    common_config.register_common_config_options()
    common_config.init(sys.argv[1:])
    upstream.init_config()
    common_config.setup_logging()
    try:
        wanted = cards(cfg.CONF)
    except ValueError as e:
        raise SystemExit(str(e)) from e
    ovs.ovs_prepare(wanted)
    GuardWatch().start()
    app_manager.AppManager.run_apps(list(APPS))
