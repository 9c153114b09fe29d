"""neutron-periodic-workers for a server whose RPC has a process of its own.

The router plugin adds an RPC worker to those of the plugins (services/l3_router/l3_router_plugin.py), which upstream's
periodic workers start as a process, and for its sake another one for all the rest. neutron-rpc-server serves the
plugins' RPC already (neutron/service.py, _get_rpc_workers): here the periodic workers are threads of one process.
"""

from neutron import manager, server, service
from neutron.api import extensions
from neutron_lib.api import attributes
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
    launcher = launching.ServiceLauncher(cfg.CONF)
    for worker in workers:
        launcher.launch_service(worker)
    launcher.wait()


def main() -> None:
    """Entry point; the arguments are neutron's."""
    server.boot_server(serve)
