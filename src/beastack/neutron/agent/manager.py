"""The manager of upstream's CommonAgentLoop: how ports are wired on a FreeBSD host.

Upstream's order for a port is: security groups (the firewall driver loads the port's anchor), anti-spoofing (the
guard), plug, and only then ``update_device_up``. Here the plug is the gate: a tap becomes a bridge member when its
rules and its guard are in force, and leaves the bridge when one of them is refused.
"""

import threading
from collections import deque
from collections.abc import Collection, Container, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from neutron.agent import securitygroups_rpc
from neutron.plugins.ml2.drivers.agent import _agent_manager_base as base
from neutron_lib import constants
from neutron_lib.agent import topics
from neutron_lib.api.definitions import portbindings
from neutron_lib.utils import net
from oslo_log import log as logging

from beastack.freebsd.errors import HostError
from beastack.freebsd.host import Host
from beastack.freebsd.pf_rules import to_dict
from beastack.neutron.agent.bridges import Bridges, CannotPlug, Ways
from beastack.neutron.agent.devices import PREFIX, DeviceWatch, bridge_of
from beastack.neutron.agent.rates import Rates
from beastack.neutron.agent.rpc import BridgeRpcCallbacks
from beastack.neutron.agent.tunnels import Tunnels
from beastack.neutron.firewall.driver import PfFirewallDriver
from beastack.neutron.firewall.port import open_port, pairs
from beastack.neutron.mech_freebsdbridge import ADOPTED, MAPPINGS, TYPES, bridge_name
from beastack.privsep import guard, pf, uplinks
from beastack.privsep.held_taps import HOLDING

LOG = logging.getLogger(__name__)
EXTENSION_DRIVER_TYPE = "freebsdbridge"
MOST_ALARMS = 10


class BridgeManager(base.CommonAgentManagerBase):
    """Ports of one host."""

    def __init__(
        self, host: Host, hostname: str, ways: Ways, retry_seconds: float = 10.0, tunnels: Tunnels | None = None
    ) -> None:
        """``tunnels``: None where there are no vxlan networks, or the kernel floods them to a multicast group."""
        self._hostname = hostname
        self._ways = ways
        self.tunnels = tunnels
        self._retry_seconds = retry_seconds
        self._lock = threading.RLock()
        self._bridges = Bridges(host, ways)
        self.watch = DeviceWatch(host)
        self._details: dict[str, dict[str, Any]] = {}
        self._refused: dict[str, str] = {}
        # device -> the pairs of its guard; None: it has none, as it should
        self._guards: dict[str, list[tuple[str, str]] | None] = {}
        self._last: set[str] | None = None
        self._agent: Any = None
        self._sg_agent: Any = None
        self.unsafe: str | None = None
        self._alarms: deque[str] = deque(maxlen=MOST_ALARMS)
        self.rates = Rates(self._lock, self.alarm, retry_seconds)

    # what the loop asks

    def get_agent_configurations(self) -> dict[str, Any]:
        """What the mechanism driver reads of this agent."""
        ways = self._ways
        tunnels = [constants.TYPE_VXLAN] if ways.tunnel_address else []
        found: dict[str, Any] = {
            MAPPINGS: dict(ways.cards),
            ADOPTED: dict(ways.adopted),
            TYPES: ways.types,
            "tunnel_types": tunnels,
            # with a multicast group the kernel learns, and l2population has nothing to say to this host
            "l2pop_network_types": tunnels if self.tunnels else [],
        }
        if ways.tunnel_address:
            found["tunneling_ip"] = ways.tunnel_address
        return found

    def get_agent_id(self) -> str:
        """One agent a host."""
        return f"beastack-{self._hostname}"

    def get_extension_driver_type(self) -> str:
        """The name under which L2 extensions look for drivers (``qos``)."""
        return EXTENSION_DRIVER_TYPE

    def get_agent_api(self, **kwargs: Any) -> Rates:
        """What the QoS driver says its wishes to."""
        return self.rates

    def get_rpc_callbacks(self, context: Any, agent: Any, sg_agent: Any) -> BridgeRpcCallbacks:
        """Where the server's notifications arrive."""
        self._agent, self._sg_agent = agent, sg_agent
        return BridgeRpcCallbacks(context, agent, sg_agent, self)

    def get_rpc_consumers(self) -> list[list[str]]:
        """What the agent listens to."""
        return [
            [topics.PORT, topics.UPDATE],
            [topics.NETWORK, topics.UPDATE],
            [topics.NETWORK, topics.DELETE],
            [topics.L2POPULATION, topics.UPDATE],
            [topics.SECURITY_GROUP, topics.UPDATE],
        ]

    def get_all_devices(self) -> set[str]:
        """Taps of ports. A host that cannot be read is as it was last seen: unknown is not absent."""
        try:
            self._last = self.watch.scan()
        except HostError as e:
            if self._last is None:
                raise
            LOG.error("The host's interfaces cannot be read, what was seen last counts: %s", e)
        return set(self._last)

    def get_devices_modified_timestamps(self, devices: Iterable[str]) -> dict[str, int]:
        """Generations; a device whose generation grew is processed again."""
        return self.watch.generations(devices)

    def ensure_port_admin_state(self, device: str, admin_state_up: bool) -> None:
        """A port that is administratively down is in no bridge (see plug_interface)."""
        if not admin_state_up:
            self._unplug(device)

    def setup_arp_spoofing_protection(self, device: str, device_details: dict[str, Any]) -> None:
        """The guard of a port; called before plug_interface, which refuses the port when this failed."""
        with self._lock:
            self._details[device] = device_details
            free = net.is_port_trusted(device_details) or not device_details.get("port_security_enabled", True)
            wanted = None if free else pairs(device_details)
            bridge = self._bridge(device_details)
            if device in self._guards and self._guards[device] == wanted and self.watch.is_plugged(device, bridge):
                return
            self._guards.pop(device, None)
            try:
                if wanted is None:
                    guard.clear_guard(device)
                else:
                    guard.set_guard(device, [list(pair) for pair in wanted])
            except Exception as e:  # noqa: BLE001 - whatever it was, this port stays out and the others are served
                self._refused[device] = f"its guard is not in force: {e}"
                return
            self._guards[device] = wanted
            self._refused.pop(device, None)

    def plug_interface(self, network_id: str, network_segment: Any, device: str, device_owner: str) -> bool:
        """Wire a port whose rules and guard are in force; True when it is wired."""
        with self._lock:
            details = self._details.get(device, {})
            try:
                reason = self.unsafe or self._refused.get(device) or self._filter(device, device_owner, details)
                if reason is None and not details.get("admin_state_up", True):
                    self._unplug(device)
                    return False
                if reason is None:
                    self._wire(network_id, network_segment, device)
                    return True
            except CannotPlug as e:
                reason = str(e)
            except Exception as e:  # noqa: BLE001 - one port's trouble must not stop the loop; it is retried
                reason = f"{type(e).__name__}: {e}"
            LOG.error("Port %s is not wired: %s; tried again in %g s", device, reason, self._retry_seconds)
            self._unplug(device)
            self.watch.retry(device, self._retry_seconds)
            return False

    def delete_arp_spoofing_protection(self, devices: Iterable[str]) -> None:
        """Ports that are gone: their guards went with their interfaces, their bridges may be idle."""
        with self._lock:
            for device in devices:
                self._forget(device)
                self._quietly("limit", self.rates.gone, device)
                self._quietly("guard", guard.clear_guard, device)
            self._quietly("idle bridges", self._sweep)

    def delete_unreferenced_arp_protection(self, current_devices: Iterable[str]) -> None:
        """At start: remove rules, guards and bridges of ports that are not there any more."""
        current = set(current_devices)
        with self._lock:
            for name in sorted(set(pf.list_ports()) - current - set(self.watch.interfaces)):
                LOG.info("Rules of %s, which is gone, are removed", name)
                if name.startswith(PREFIX):
                    pf.unload_port(name)
                else:
                    uplinks.destroy_uplink(name)
            for device in set(guard.list_guards()) - current:
                guard.clear_guard(device)
            self._quietly("limits of ports that are gone", self.rates.sweep, current)
            self._sweep()
            if self.tunnels is not None:
                self.tunnels.tidy(self.watch.interfaces)

    # what the callbacks and the health check ask

    def network_deleted(self, network_id: str) -> None:
        """The server deleted a network; its bridge goes when its last port goes."""
        with self._lock:
            self._quietly(f"bridge of network {network_id}", self._sweep)

    def retain(self, devices: Collection[str]) -> None:
        """Rules of ports whose devices are not among these, the host's and those to be removed next, go."""
        driver = self._driver()
        if driver is not None:
            driver.retain(devices)

    def settle(self, devices: Iterable[str]) -> None:
        """The server was asked about these: those that it does not know belong in no bridge."""
        with self._lock:
            wired = set(self.watch.all_plugged())
            for device in sorted(set(devices) - wired):
                bridge = bridge_of(self.watch.interfaces, device)
                if device not in self._details and bridge not in (None, HOLDING):
                    self.alarm(f"{device} is in {bridge}, and the server knows no such port of this host: taken out")
                    self._unplug(device)

    def awaits(self, device: str, port: Mapping[str, Any]) -> bool:
        """Whether this is a server's port, bound to this host, and without a tap when the host was seen last."""
        here = port.get(portbindings.HOST_ID) == self._hostname
        server = str(port.get("device_owner", "")).startswith(constants.DEVICE_OWNER_COMPUTE_PREFIX)
        return here and server and device not in (self._last or ())

    def devices_of(self, network_id: str) -> set[str]:
        """The ports of a network, as they were last described."""
        with self._lock:
            return {d for d, details in self._details.items() if details.get("network_id") == network_id}

    def guarded(self) -> set[str]:
        """Wired ports that must have a guard."""
        with self._lock:
            return {d for d in self.watch.all_plugged() if self._guards.get(d) is not None}

    def reopen(self, devices: Iterable[str]) -> None:
        """These ports lost their rules or guard: out of the bridge, and wired again by the loop."""
        with self._lock:
            lost = sorted(devices)
            driver = self._driver()
            if driver is not None:
                driver.forget(lost)
            for device in lost:
                LOG.error("Port %s lost its rules or its guard; it is wired again when both are in force", device)
                self._guards.pop(device, None)
                self._unplug(device)
                self.watch.retry(device, 0)

    def reopen_ways(self, filtered: Container[str]) -> None:
        """VLANs and tunnels that lost their rules pass nothing: they get them again."""
        with self._lock:
            for name in self._bridges.reopen(self.watch.interfaces, filtered):
                self.alarm(f"{name} had lost its rules and passed nothing; they are loaded again")

    def close(self, reason: str) -> None:
        """The host does not filter: take every filtered port out of its bridge until it does."""
        with self._lock:
            if self.unsafe is None:
                self.alarm(f"filtered ports are taken out of their bridges: {reason}")
            self.unsafe = reason
            for device in sorted(self.guarded()):
                LOG.error("Port %s is taken out of its bridge: %s", device, reason)
                self._unplug(device)
                self.watch.retry(device, self._retry_seconds)

    def safe(self) -> None:
        """The host filters."""
        if self.unsafe is not None:
            LOG.warning("This host filters again")
        self.unsafe = None

    def alarm(self, text: str) -> None:
        """What an operator must hear of: the log, and the agent's record at the server (network agent show)."""
        LOG.error("ALARM: %s", text)
        self._alarms.append(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}")

    @property
    def alarms(self) -> list[str]:
        """The last ones, oldest first, UTC."""
        return list(self._alarms)

    # the parts of the gate

    def _driver(self) -> PfFirewallDriver | None:
        """Our firewall driver, when it is the one that is configured and switched on."""
        found = getattr(self._sg_agent, "firewall", None)
        on = isinstance(found, PfFirewallDriver) and securitygroups_rpc.is_firewall_enabled()
        return found if on else None

    def _filter(self, device: str, device_owner: str, details: Mapping[str, Any]) -> str | None:
        """None when the port's rules are in force."""
        driver = self._driver()
        if driver is None:
            # the operator switched security groups off: guards stay, rules let everything pass
            pf.load_port_rules(device, [to_dict(r) for r in open_port(device).rules])  # type: ignore[misc]
            return None
        if net.is_port_trusted({"device_owner": device_owner}):
            driver.trust(device)
        return driver.ready(device)

    def _wire(self, network_id: str, segment: Any, device: str) -> None:
        seen = self.watch.interfaces
        wired = self._bridges.ensure(network_id, segment, seen)
        if wired.vni is not None and self.tunnels is not None:
            self.tunnels.wired(network_id, wired.vni, wired.fresh)
        if self.watch.is_plugged(device, wired.bridge):
            return
        self._bridges.attach(wired.bridge, device, None if self.watch.is_touched(device) else seen)
        self.watch.plugged(device, wired.bridge)

    def _bridge(self, details: Mapping[str, Any]) -> str:
        adopted = self._ways.adopted.get(str(details.get("physical_network")))
        flat = details.get("network_type") == constants.TYPE_FLAT
        return adopted if flat and adopted else bridge_name(details["network_id"])

    def _sweep(self) -> None:
        gone = self._bridges.sweep()
        self.watch.drop(gone)
        if self.tunnels is not None:
            self.tunnels.gone(n for n in self.tunnels.networks() if bridge_name(n) not in gone)

    def _unplug(self, device: str) -> None:
        self.watch.unplugged(device)
        self._quietly(f"member {device}", self._bridges.detach, device)

    def _forget(self, device: str) -> None:
        self.watch.forget(device)
        for known in (self._details, self._refused, self._guards):
            known.pop(device, None)

    def _quietly(self, what: str, action: Any, *args: Any) -> None:
        """Cleaning up: a failure is reported and left to the next time."""
        try:
            action(*args)
        except Exception:
            LOG.exception("Removing the %s failed", what)
