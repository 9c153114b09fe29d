"""Firewall driver ``beastack_pf`` (neutron.agent.firewall_drivers): one pf anchor a port, one pf table a group.

Driven by upstream's SecurityGroupAgentRpc (neutron/agent/securitygroups_rpc.py). What should be there is collected, and
``filter_defer_apply_off`` makes the difference: only ports whose rules changed and tables whose members changed are
loaded. A port whose rules could not be loaded is closed on the privileged side and listed in ``failed``; the agent
keeps it off its bridge.

Trust: devices that the server does not describe come as "trusted" (neutron's own ports, but also ports that are
unknown). Here they are closed until the agent has read the owner from the server and calls ``trust``.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from neutron.agent import firewall
from oslo_log import log as logging

from beastack.freebsd.pf_rules import Rule, to_dict
from beastack.neutron.firewall.port import Plan, closed_port, open_port, plan
from beastack.neutron.firewall.translate import table
from beastack.privsep import pf

LOG = logging.getLogger(__name__)
_FAMILIES = {4: "IPv4", 6: "IPv6"}
# More withdrawn members than this: all states of the port are ended at once.
MOST_KILLS = 16


class PfFirewallDriver(firewall.FirewallDriver):
    """Ports, groups and members as the server described them; and what pf holds of them."""

    provides_arp_spoofing_protection = True

    def __init__(self, integration_bridge: object = None) -> None:
        self._lock = threading.RLock()
        self._ports: dict[str, dict[str, Any]] = {}
        self._trusted: set[str] = set()
        self._unknown: set[str] = set()
        self._rules: dict[str, list[dict[str, Any]]] = {}
        self._members: dict[str, dict[str, list[list[str]]]] = {}
        self._dirty: set[str] = set()
        self._gone: set[str] = set()
        self._deferred = 0
        self._plans: dict[str, Plan] = {}
        self._loaded: dict[str, tuple[Rule, ...]] = {}
        self._tables: dict[str, frozenset[str]] = {}
        self._read_tables = False
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
            self._ports[device] = port
            self._trusted.discard(device)
            self._unknown.discard(device)
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
            self._members[sg_id] = ips

    def security_group_updated(self, action_type: str, sec_group_ids: Any, device_id: Any = None) -> None:
        """Nothing to prepare: the new rules and members follow."""

    def process_trusted_ports(self, port_ids: Iterable[str]) -> None:
        """Devices that the server does not describe: closed, unless the agent trusts them already."""
        with self._lock:
            for device in port_ids:
                if device not in self._ports and device not in self._trusted:
                    self._unknown.add(device)
                    self._want(device)

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

    def forget(self, devices: Iterable[str]) -> None:
        """pf does not hold these ports' rules any more; they are loaded again with the next change."""
        with self._lock:
            for device in devices:
                self._loaded.pop(device, None)
                if device in self._ports or device in self._trusted or device in self._unknown:
                    self._dirty.add(device)
            self._tables.clear()
            self._read_tables = False

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
            self._plans[device] = self._plan(device)
            self._report(device)
        broken = self._apply_tables()
        for device in sorted(dirty | {d for d in self.failed if d in self._plans}):
            self._load(device, broken)
        self._drop_tables()

    def _report(self, device: str) -> None:
        reports = self._plans[device].reports
        if reports != self._reported.get(device, ()):
            for report in reports:
                LOG.error("Port %s: %s", device, report)
        self._reported[device] = reports

    def _load(self, device: str, broken: Mapping[str, str]) -> None:
        wanted = self._plans[device]
        names = {*wanted.tables, *(table(f, g) for g in wanted.groups for f in _FAMILIES)}
        reason = next((broken[name] for name in sorted(names) if name in broken), None)
        rules = wanted.rules if reason is None else ()
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
        try:
            pf.unload_port(device)
        except Exception as e:  # noqa: BLE001 - a rest of rules for an absent interface harms nobody; the next start removes it
            LOG.warning("Port %s: its rules stay behind: %s", device, e)

    def _wanted_tables(self) -> dict[str, frozenset[str]]:
        wanted: dict[str, frozenset[str]] = {}
        for one in self._plans.values():
            wanted.update(one.tables)
            for group in one.groups:
                members = self._members.get(group, {})
                for family, ethertype in _FAMILIES.items():
                    wanted[table(family, group)] = frozenset(str(m[0]) for m in members.get(ethertype) or ())
        return wanted

    def _apply_tables(self) -> dict[str, str]:
        """Load the tables that changed; returns those that could not be, with the reason."""
        broken = {}
        for name, members in sorted(self._wanted_tables().items()):
            if self._tables.get(name) == members:
                continue
            self._tables.pop(name, None)
            try:
                went = pf.replace_table(name, sorted(members))
                self._tables[name] = members
                self._end_states(name, went)
            except Exception as e:  # noqa: BLE001 - the ports that use it are closed, others go on
                broken[name] = f"table {name}: {e}"
        for device, one in self._plans.items():
            names = {*one.tables, *(table(f, g) for g in one.groups for f in _FAMILIES)}
            if names & broken.keys():
                self._loaded.pop(device, None)
                self.failed.setdefault(device, "a table was not loaded")
        return broken

    def _end_states(self, name: str, went: list[str]) -> None:
        """End what the members that went were allowed, on the ports that use the table."""
        for device, one in self._plans.items():
            names = {*one.tables, *(table(f, g) for g in one.groups for f in _FAMILIES)}
            if not went or name not in names:
                continue
            if len(went) > MOST_KILLS:
                pf.kill_states(device)
                continue
            for address in went:
                pf.kill_address_states(device, address)

    def _drop_tables(self) -> None:
        wanted = self._wanted_tables()
        try:
            if not self._read_tables:
                for name in set(pf.list_tables()) - set(wanted):
                    self._tables[name] = frozenset()
                self._read_tables = True
            for name in sorted(set(self._tables) - set(wanted)):
                pf.drop_table(name)
                del self._tables[name]
        except Exception as e:  # noqa: BLE001 - an unused table allows nothing
            LOG.warning("Tables without use stay behind: %s", e)
