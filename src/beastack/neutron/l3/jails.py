"""Which routers are on this host, in the place of upstream's list of network namespaces (l3/namespace_manager.py)."""

from typing import Any

from neutron.agent.l3 import namespace_manager
from oslo_log import log as logging

from beastack.freebsd import jail
from beastack.freebsd.errors import HostError
from beastack.freebsd.host import LocalHost
from beastack.neutron.l3 import router
from beastack.privsep import routers

LOG = logging.getLogger(__name__)


def here() -> set[str]:
    """Ids of the routers that have a jail on this host. Raises HostError.

    jls(8) needs no privilege, so a host without routers has no privileged process of this agent's.
    """
    return {n.removeprefix(routers.PREFIX) for n in jail.list_jails(LocalHost()) if n.startswith(routers.PREFIX)}


class JailManager(namespace_manager.NamespaceManager):
    """After the first full synchronisation, routers that the server does not place here are removed."""

    def __init__(self, conf: Any, driver: Any, monitor: Any) -> None:
        super().__init__(conf, driver, None)
        self._monitor = monitor

    def list_all(self) -> set[str]:
        """Jails of routers. One that cannot be read raises: what is unknown is not absent."""
        return {routers.PREFIX + i for i in here()}

    def ensure_router_cleanup(self, router_id: str) -> None:
        """Remove a router that the agent holds no data of."""
        router.remove(router_id, self._monitor)

    def _cleanup(self, prefix: str, router_id: str) -> None:
        LOG.info("Router %s is not placed on this host any more", router_id)
        try:
            router.remove(router_id, self._monitor)
        except HostError:
            LOG.exception("Router %s cannot be removed; the next start of the agent tries again", router_id)
