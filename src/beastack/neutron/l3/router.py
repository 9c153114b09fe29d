"""One router: what the stock L3 agent creates for it, processes and deletes (neutron/agent/l3/router_info.py).

``process`` compares nothing with what it did before: it states everything again, and the privileged side changes what
differs on the host. So a new agent adopts what runs, and a half-finished change is finished by the next one.
"""

import ipaddress
from collections.abc import Callable
from typing import Any

from neutron.agent.l3 import router_info
from neutron_lib import constants
from oslo_log import log as logging

from beastack.neutron.dhcp.processes import Watched
from beastack.neutron.l3 import plan as plans
from beastack.privsep import haproxy, router_daemons, routers

LOG = logging.getLogger(__name__)
PROXY, ADVERTISER = "beastack-router-proxy", "beastack-radvd"


class JailRouter(router_info.BaseRouterInfo):
    """A router in its vnet jail ``qrouter-ID``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ns_name = routers.jail_name(self.router_id)
        self.ex_gw_port: dict[str, Any] | None = None
        self._told: dict[str, str] = {}
        self._notes: tuple[str, ...] = ()

    def process(self) -> None:
        """Make the jail what the server says. What fails is told to the server and tried again by the agent."""
        statuses = dict.fromkeys(self._fip_ids(), constants.FLOATINGIP_STATUS_ERROR)
        try:
            self._apply()
            up = constants.FLOATINGIP_STATUS_ACTIVE if self.get_ex_gw_port() else constants.FLOATINGIP_STATUS_DOWN
            statuses = dict.fromkeys(statuses, up)
        except Exception:
            LOG.exception("Router %s is not what it should be", self.router_id)
            self.agent.later(self.router_id)
        try:
            self._tell(statuses)
        except Exception:
            # upstream removes a new router whose processing raises, and this one may be in use since long
            LOG.exception("Router %s: its floating IPs' states were not reported", self.router_id)
            self.agent.later(self.router_id)

    def delete(self) -> None:
        """Remove everything of the router from this host."""
        remove(self.router_id, self.process_monitor)

    # --- parts ---

    def _apply(self) -> None:
        metadata = bool(self.agent.metadata)
        plan = plans.make(self.router, self.agent.forwards(self.router), metadata, self.agent_conf.ipv6_gateway)
        if plan.notes != self._notes:
            self._notes = plan.notes
            for note in plan.notes:
                LOG.warning("Router %s: %s", self.router_id, note)
        routers.ensure_router_jail(self.router_id)
        for name in set(routers.list_router_ports(self.router_id)) - {p.name for p in plan.ports}:
            LOG.info("Router %s: port %s is removed", self.router_id, name)
            routers.remove_router_port(self.router_id, name)
        for port in plan.ports:
            routers.ensure_router_port(self.router_id, port.port_id, port.network_id, port.external, port.mac, port.mtu)
        # before the addresses: nothing untranslated passes, and states of an address end before it goes
        if routers.load_router_rules(self.router_id, dict(plan.rules)):
            LOG.info("Router %s: its rules were loaded", self.router_id)
        for port in plan.ports:
            routers.set_router_addresses(self.router_id, port.port_id, port.external, plan.addresses(port))
        self._routes(plan)
        self._proxy(metadata)
        self._advertise(plan)
        self.internal_ports = [p for p in self.router.get(constants.INTERFACE_KEY) or [] if p["admin_state_up"]]
        self.ex_gw_port = self.get_ex_gw_port()

    def _routes(self, plan: plans.Plan) -> None:
        routes = [{"destination": d, "nexthop": n} for d, n in plan.routes]
        failed = routers.set_router_routes(self.router_id, plan.outer, list(plan.gateways), list(plan.onlink), routes)
        for words in failed:
            LOG.warning("Router %s: no route to %s", self.router_id, words)

    def _proxy(self, wanted: bool) -> None:
        if not wanted or not any(_has_ipv4(p) for p in self.router.get(constants.INTERFACE_KEY) or []):
            self.process_monitor.unregister(self.router_id, PROXY)
            router_daemons.stop_router_proxy(self.router_id)
            return
        conf = self.agent_conf
        timeouts = {name: getattr(conf.metadata_haproxy, f"timeout_{name}") for name in haproxy.TIMEOUTS}
        limits = None
        if conf.metadata_rate_limiting.rate_limit_enabled:
            limits = {name: getattr(conf.metadata_rate_limiting, name) for name in haproxy.LIMITS}
        self._serve(
            PROXY,
            lambda: router_daemons.start_router_proxy(self.router_id, timeouts, limits),
            router_daemons.router_proxy_pid,
        )

    def _advertise(self, plan: plans.Plan) -> None:
        if not plan.adverts:
            self.process_monitor.unregister(self.router_id, ADVERTISER)
            router_daemons.stop_advertiser(self.router_id)
            return
        adverts = [dict(a) for a in plan.adverts]
        least, most = self.agent_conf.min_rtr_adv_interval, self.agent_conf.max_rtr_adv_interval
        self._serve(
            ADVERTISER,
            lambda: router_daemons.start_advertiser(self.router_id, adverts, least, most),
            router_daemons.advertiser_pid,
        )

    def _serve(self, service: str, start: Callable[[], str], pid: Callable[[str], int | None]) -> None:
        said = start()
        if said != "running":
            LOG.info("%s of router %s: %s", service, self.router_id, said)
        watched = Watched(f"{service} of router {self.router_id}", lambda: pid(self.router_id) is not None, start)
        self.process_monitor.register(self.router_id, service, watched)

    # --- floating IPs' states ---

    def _fip_ids(self) -> set[str]:
        associated = {f["id"] for f in self.router.get(constants.FLOATINGIP_KEY) or []}
        return associated | set(self.router.get("fip_managed_by_port_forwardings") or ())

    def _tell(self, statuses: dict[str, str]) -> None:
        """The server hears what changed; a floating IP that is no longer here is DOWN."""
        gone = dict.fromkeys(set(self._told) - set(statuses), constants.FLOATINGIP_STATUS_DOWN)
        known = {f["id"]: f.get("status") for f in self.router.get(constants.FLOATINGIP_KEY) or []}
        changed = {i: s for i, s in statuses.items() if s not in (self._told.get(i), known.get(i))}
        if gone or changed:
            self.agent.plugin_rpc.update_floatingip_statuses(self.agent.context, self.router_id, {**gone, **changed})
        self._told = statuses


def _has_ipv4(port: dict[str, Any]) -> bool:
    return any(ipaddress.ip_address(f["ip_address"]).version == 4 for f in port["fixed_ips"])


def remove(router_id: str, monitor: Any) -> None:
    """Remove a router from this host, whatever is left of it."""
    for service in (PROXY, ADVERTISER):
        if monitor is not None:
            monitor.unregister(router_id, service)
    router_daemons.stop_advertiser(router_id)
    router_daemons.stop_router_proxy(router_id)
    routers.remove_router_jail(router_id)
    LOG.info("Router %s: removed from this host", router_id)
