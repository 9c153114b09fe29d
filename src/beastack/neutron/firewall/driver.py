"""Firewall driver ``beastack_pf`` (neutron.agent.firewall_drivers): one pf anchor a port, one pf table a group.

Driven by upstream's SecurityGroupAgentRpc (neutron/agent/securitygroups_rpc.py). What should be there is collected, and
``filter_defer_apply_off`` makes the difference: only ports whose rules changed and tables whose members changed are
touched; a port that is described again as before costs a comparison. A port whose rules could not be loaded is closed
on the privileged side and listed in ``failed``; the agent keeps it off its bridge.

Trust: devices that the server does not describe come as "trusted" (neutron's own ports, but also ports that are
unknown). Here they are closed until the agent has read the owner from the server and calls ``trust``.
"""

import threading
from collections.abc import Collection, Iterable
from typing import Any

from neutron.agent import firewall
from oslo_log import log as logging

from beastack.freebsd.pf_rules import Rule, to_dict
from beastack.neutron.firewall.port import Plan, closed_port, open_port, plan
from beastack.neutron.firewall.tables import Tables
from beastack.privsep import pf

LOG = logging.getLogger(__name__)


class PfFirewallDriver(firewall.FirewallDriver):
    """Ports, groups and members as the server described them; and what pf holds of them."""

    provides_arp_spoofing_protection = True

    def __init__(self, integration_bridge: object = None) -> None:
        self._lock = threading.RLock()
        self._ports: dict[str, dict[str, Any]] = {}
        self._trusted: set[str] = set()
        self._unknown: set[str] = set()
        self._rules: dict[str, list[dict[str, Any]]] = {}
        self._tables = Tables()
        self._dirty: set[str] = set()
        self._gone: set[str] = set()
        self._deferred = 0
        self._plans: dict[str, Plan] = {}
        self._loaded: dict[str, tuple[Rule, ...]] = {}
        self._reported: dict[str, tuple[str, ...]] = {}
        self.failed: dict[str, str] = {}

    # what upstream calls

    @property
    def ports(self) -> dict[str, dict[str, Any]]:
        """Filtered ports by device; a copy, as RPC threads look at it."""
        with self._lock:
            return dict(self._ports)

    def prepare_port_filter(self, port: dict[str, Any]) -> None:
        """A port to be filtered."""
        with self._lock:
            device = port["device"]
            same = self._ports.get(device) == port and device in self._plans
            self._ports[device] = port
            self._trusted.discard(device)
            self._unknown.discard(device)
            if same:
                self._maybe_apply()
            else:
                self._want(device)

    def update_port_filter(self, port: dict[str, Any]) -> None:
        """A port, or its groups, changed."""
        self.prepare_port_filter(port)

    def apply_port_filter(self, port: dict[str, Any]) -> None:
        """The same: everything is applied at the end of a deferral."""
        self.prepare_port_filter(port)

    def remove_port_filter(self, port: dict[str, Any]) -> None:
        """The port is gone."""
        self.remove_trusted_ports([port["device"]])

    def update_security_group_rules(self, sg_id: str, rules: list[dict[str, Any]]) -> None:
        """A group's rules."""
        with self._lock:
            if self._rules.get(sg_id) != rules:
                self._rules[sg_id] = rules
                self._dirty |= {d for d, p in self._ports.items() if sg_id in (p.get("security_groups") or ())}

    def update_security_group_members(self, sg_id: str, ips: dict[str, list[list[str]]]) -> None:
        """Members of a remote group or an address group: [address, MAC] by ethertype."""
        with self._lock:
            self._tables.set_members(sg_id, ips)

    def security_group_updated(self, action_type: str, sec_group_ids: Any, device_id: Any = None) -> None:
        """Nothing to prepare: the new rules and members follow."""

    def process_trusted_ports(self, port_ids: Iterable[str]) -> None:
        """Devices that the server does not describe: neutron's own, or nobody's. Nothing is loaded for them here.

        A new one is in no bridge. One that was wired before the agent's restart keeps its rules until the agent has
        asked who owns it: it calls ``trust``, or takes it off its bridge (``BridgeManager.settle``).
        """
        with self._lock:
            self._unknown |= {d for d in port_ids if d not in self._ports and d not in self._trusted}

    def remove_trusted_ports(self, port_ids: Iterable[str]) -> None:
        """The devices are gone."""
        with self._lock:
            for device in port_ids:
                self._ports.pop(device, None)
                self._trusted.discard(device)
                self._unknown.discard(device)
                self._dirty.discard(device)
                self._gone.add(device)
            self._maybe_apply()

    def filter_defer_apply_on(self) -> None:
        """Collect changes."""
        with self._lock:
            self._deferred += 1

    def filter_defer_apply_off(self) -> None:
        """Apply what was collected."""
        with self._lock:
            self._deferred = max(0, self._deferred - 1)
            self._maybe_apply()

    # what the agent calls

    def trust(self, device: str) -> None:
        """Open a port that the server says is neutron's own."""
        with self._lock:
            self._ports.pop(device, None)
            self._unknown.discard(device)
            self._trusted.add(device)
            self._want(device)

    def ready(self, device: str) -> str | None:
        """None when the port's rules are in force; else why not."""
        with self._lock:
            if device in self.failed:
                return self.failed[device]
            if device not in self._ports and device not in self._trusted:
                return "the server has not described its security groups"
            return None if device in self._loaded else "its rules are not loaded"

    def retain(self, devices: Collection[str]) -> None:
        """Remove the ports of all other devices: the host does not have them.

        A message that names a device can be read before its removal and be acted on after it. Rules that could not be
        removed are tried again.
        """
        with self._lock:
            late = (self._plans.keys() | self._ports.keys() | self._trusted | self._unknown) - set(devices)
            if late or self._gone:
                self.remove_trusted_ports(late)

    def forget(self, devices: Iterable[str]) -> None:
        """pf does not hold these ports' rules any more; they are loaded again with the next change."""
        with self._lock:
            for device in devices:
                self._loaded.pop(device, None)
                if device in self._ports or device in self._trusted or device in self._unknown:
                    self._dirty.add(device)
            self._tables.forget()

    # making the difference

    def _want(self, device: str) -> None:
        self._dirty.add(device)
        self._gone.discard(device)
        self._maybe_apply()

    def _maybe_apply(self) -> None:
        if not self._deferred:
            self._apply()

    def _plan(self, device: str) -> Plan:
        if device in self._ports:
            try:
                return plan(self._ports[device], self._rules)
            except Exception as e:  # noqa: BLE001 - a port that cannot be understood is closed, the others are served
                return Plan((), reports=(f"nothing is let through: {type(e).__name__}: {e}",))
        return open_port(device) if device in self._trusted else closed_port()

    def _apply(self) -> None:
        dirty, self._dirty = self._dirty, set()
        gone, self._gone = self._gone, set()
        for device in sorted(gone):
            self._remove(device)
        for device in sorted(dirty):
            new = self._plans[device] = self._plan(device)
            self._tables.use(device, new.groups, new.tables)
            self._report(device)
        closed = self._tables.apply()
        for device in sorted((dirty | closed | self.failed.keys()) & self._plans.keys()):
            self._load(device)
        self._tables.drop_unused()

    def _report(self, device: str) -> None:
        reports = self._plans[device].reports
        if reports != self._reported.get(device, ()):
            for report in reports:
                LOG.error("Port %s: %s", device, report)
        self._reported[device] = reports

    def _load(self, device: str) -> None:
        reason = self._tables.trouble(device)
        rules = self._plans[device].rules if reason is None else ()
        try:
            if self._loaded.get(device) != rules:
                self._loaded.pop(device, None)
                pf.load_port_rules(device, [to_dict(rule) for rule in rules])  # type: ignore[misc]
                self._loaded[device] = rules
        except Exception as e:  # noqa: BLE001 - whatever the privileged side raised, this port is not open, others may be
            reason = f"pf did not take its rules: {e}"
        if reason is None:
            self.failed.pop(device, None)
        else:
            self._loaded.pop(device, None)
            self.failed[device] = reason
            LOG.error("Port %s is closed: %s", device, reason)

    def _remove(self, device: str) -> None:
        for known in (self._plans, self._loaded, self._reported, self.failed):
            known.pop(device, None)
        self._tables.use(device, (), {})
        try:
            pf.unload_port(device)
        except Exception as e:  # noqa: BLE001 - a rest of rules for an absent interface harms nobody; it is tried again
            self._gone.add(device)
            LOG.warning("Port %s: its rules stay behind for now: %s", device, e)
