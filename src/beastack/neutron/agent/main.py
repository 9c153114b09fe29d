"""``beastack-bridge-agent``: the L2 agent of a FreeBSD host (template: neutron/plugins/ml2/drivers/macvtap/agent)."""

import sys

from neutron.agent import securitygroups_rpc  # noqa: F401 - registers [securitygroup]
from neutron.common import config as common_config
from neutron.conf.agent import agent_extensions_manager as extensions
from neutron.plugins.ml2.drivers.agent import config as agent_config  # noqa: F401 - registers [agent]
from oslo_config import cfg
from oslo_log import log as logging
from oslo_service import service

from beastack.freebsd.host import LocalHost
from beastack.neutron import config
from beastack.neutron.agent.bridges import Ways
from beastack.neutron.agent.flooding import Flooding, end
from beastack.neutron.agent.loop import BridgeAgentLoop
from beastack.neutron.agent.manager import BridgeManager
from beastack.neutron.agent.tunnels import Tunnels, state_folder
from beastack.neutron.mech_freebsdbridge import AGENT_TYPE

LOG = logging.getLogger(__name__)
BINARY = "beastack-bridge-agent"


def tunnels(ways: Ways) -> Tunnels | None:
    """Tunnels that need the replicator and l2population's entries."""
    folder = state_folder(cfg.CONF.state_path)
    if not ways.tunnel_address or ways.tunnel_group:
        if end(folder):
            LOG.info("The replicator of earlier settings is not needed and ends")
        return None
    return Tunnels(folder, ways.tunnel_address, Flooding(folder, ways.tunnel_address))


def build() -> BridgeAgentLoop:
    """The agent as configured; raises SystemExit with the reason."""
    options = config.register(cfg.CONF)
    try:
        ways = config.ways(cfg.CONF)
    except ValueError as e:
        raise SystemExit(f"[{config.GROUP}] {e}") from e
    extensions.register_agent_ext_manager_opts(cfg.CONF)
    cfg.CONF.set_default("extensions", ["qos"], "agent")
    manager = BridgeManager(LocalHost(), cfg.CONF.host, ways, options.retry_interval, tunnels(ways))
    return BridgeAgentLoop(
        manager,
        options,
        cfg.CONF.AGENT.polling_interval,
        cfg.CONF.AGENT.quitting_rpc_timeout,
        AGENT_TYPE,
        BINARY,
    )


def main() -> None:
    """Entry point; the arguments are neutron's."""
    common_config.register_common_config_options()
    config.register(cfg.CONF)
    common_config.init(sys.argv[1:])
    common_config.setup_logging()
    agent = build()
    # the privileged helper is started by the first call, in the process that serves: never before this one forks
    service.launch(cfg.CONF, agent, restart_method="mutate").wait()


if __name__ == "__main__":
    main()
