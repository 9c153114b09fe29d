"""neutron-periodic-workers for a server whose RPC has a process of its own.

The router plugin adds an RPC worker to its other ones (services/l3_router/l3_router_plugin.py), and upstream's periodic
workers start that as a process. neutron-rpc-server serves the plugins' RPC already (neutron/service.py,
_get_rpc_workers), so it is left out here: 86 MB less. All others are threads of one process, as upstream groups them.
"""

from neutron import manager, server, service
from neutron.api import extensions
from neutron_lib.api import attributes
from neutron_lib.callbacks import events, registry, resources
from neutron_lib.db import api as db
from neutron_lib.plugins import directory
from oslo_config import cfg
from oslo_log import log as logging
from oslo_service import service as launching

LOG = logging.getLogger(__name__)


def serve() -> None:
    """Start every periodic worker of every plugin, and wait for the end (neutron/server/periodic.py)."""
    manager.init()
    extensions.PluginAwareExtensionManager.get_instance().extend_resources("2.0", attributes.RESOURCES)
    plugins = [p for p in directory.get_unique_plugins() if hasattr(p, "get_workers")]
    workers = [w for plugin in plugins for w in plugin.get_workers() if not isinstance(w, service.RpcWorker)]
    LOG.info("Periodic workers: %d of %d plugins", len(workers), len(plugins))
    launcher = launching.ProcessLauncher(cfg.CONF, restart_method="mutate")
    # a connection to the database must not be shared with the process that is forked now
    db.get_context_manager().dispose_pool()
    launcher.launch_service(service.AllServicesNeutronWorker(workers), 1)
    registry.publish(resources.PROCESS, events.AFTER_SPAWN, None)
    launcher.wait()


def main() -> None:
    """Entry point; the arguments are neutron's."""
    server.boot_server(serve)
