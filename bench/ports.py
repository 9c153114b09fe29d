"""From plugged taps to ports reported up, and an agent's restart, on a simulated or real host.

    .venv/bin/python -m bench.ports [--host sim:|…] [--ports 1,50,200]

The bridge agent is upstream's loop with our manager and firewall driver; neutron's server is a stand-in that answers
get_devices_details_list and security_group_info_for_devices and notes update_device_up. Commands are run on the host,
each entered from outside, which a real agent need not. Each size begins on an empty host. Root.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from typing import Any
from unittest import mock

from neutron.agent import securitygroups_rpc
from neutron.common import config as common_config
from oslo_concurrency import lockutils
from oslo_config import cfg
from tests.host import snapshot
from tests.host.lab import sweep
from tests.host.restore import restore
from tests.host.targets import open_target

from beastack.freebsd import ifnet, netgraph, pf, pf_host
from beastack.freebsd.host import Host
from beastack.neutron.agent.bridges import Ways
from beastack.neutron.agent.loop import BridgeAgentLoop
from beastack.neutron.agent.manager import BridgeManager
from beastack.privsep import context
from beastack.privsep import guard as privileged_guard
from beastack.privsep import interfaces as privileged_interfaces
from beastack.privsep import pf as privileged_pf

from .hostlayer import Counting
from .machine import described, table
from .security_groups import SG, Server

NETWORK = "bbbbbbbb-1111-2222-3333-444444444444"


def enter(host: Host) -> None:
    """The privileged entry points without their boundary, on this host."""
    for module in (privileged_pf, privileged_guard, privileged_interfaces):
        module.HOST = host  # type: ignore[attr-defined]
        for full, entry in context.entries.items():
            home, _, name = full.rpartition(".")
            if home == module.__name__:
                setattr(module, name, entry)


class Plugin:
    """neutron's server, as far as ports go."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.up: dict[str, float] = {}

    def get_devices_details_list(self, _context: Any, devices: set[str], *_: Any, **__: Any) -> list[dict[str, Any]]:
        return [self._details(device) for device in sorted(devices)]

    def _details(self, device: str) -> dict[str, Any]:
        port = self.server.devices[device]
        return {
            "device": device, "port_id": f"{device[3:]}11-2222-3333-444444444444", "network_id": NETWORK,
            "network_type": "local", "physical_network": None, "segmentation_id": None, "mtu": 1500,
            "mac_address": port["mac_address"], "device_owner": "compute:nova", "admin_state_up": True,
            "fixed_ips": [{"ip_address": port["fixed_ips"][0]}], "allowed_address_pairs": [],
            "port_security_enabled": True,
        }  # fmt: skip

    def update_device_up(self, _context: Any, device: str, *_: Any) -> None:
        self.up[device] = time.perf_counter()

    def update_device_down(self, _context: Any, device: str, *_: Any) -> dict[str, bool]:
        raise AssertionError(f"{device} is reported down")


class Agent:
    """One agent process, from its start."""

    def __init__(self, host: Host, server: Server) -> None:
        self.plugin = Plugin(server)
        sg_agent = securitygroups_rpc.SecurityGroupAgentRpc(mock.Mock(), server, defer_refresh_firewall=True)
        manager = BridgeManager(host, "bench", Ways({}))
        self.loop = BridgeAgentLoop(manager, None, 2, 10, "FreeBSD bridge agent", "bench")
        self.loop.context, self.loop.agent_id, self.loop.plugin_rpc = mock.Mock(), "bench", self.plugin
        self.loop.sg_agent, self.loop.ext_manager = sg_agent, mock.Mock()
        self.loop.network_ports = defaultdict(list)
        self.loop.rpc_callbacks = manager.get_rpc_callbacks(mock.Mock(), self.loop, sg_agent)
        self.previous: dict[str, Any] | None = None

    def iterate(self) -> None:
        """One iteration of the loop."""
        info = self.loop.scan_devices(self.previous, self.previous is None)
        if self.loop.process_network_devices(info):
            raise AssertionError("the agent wants to try again")
        self.previous = info


def measure(host: Counting, ports: int) -> list[list[str]]:
    """The agent runs; ``ports`` guests are started; then the agent is started anew under them."""
    server = Server("beastack_pf", ports, ports)
    agent = Agent(host, server)
    agent.iterate()
    names = sorted(server.devices)
    lines = []

    def line(what: str, before: float, seen: dict[str, float]) -> None:
        assert sorted(seen) == names, f"{len(seen)} of {ports} ports are up"
        spent = max(seen.values()) - before
        lines.append([
            f"{what}: {ports}", f"{spent:.2f}", f"{(min(seen.values()) - before):.2f}", f"{spent / ports * 1000:.0f}",
            f"{host.ran:,}", f"{host.ran / ports:.1f}",
        ])  # fmt: skip

    try:
        for name in names:
            ifnet.ensure_tap(host, name, f"beastack:port:{name[3:]}11-2222-3333-444444444444", 1500)
        host.ran, began = 0, time.perf_counter()
        agent.iterate()
        line("taps plugged to ports up", began, agent.plugin.up)
        host.ran, began = 0, time.perf_counter()
        again = Agent(host, server)
        again.iterate()
        line("an agent's restart", began, again.plugin.up)
        host.ran, began = 0, time.perf_counter()
        server.members += 1
        again.loop.sg_agent.security_groups_member_updated([SG])
        again.iterate()
        lines.append([
            f"a member joins the group of: {ports}", f"{time.perf_counter() - began:.2f}", "", "", f"{host.ran:,}", "",
        ])  # fmt: skip
    finally:
        for name in names:
            netgraph.clear_guard(host, name)
            pf.unload(host, name)
            ifnet.destroy(host, name)
        for one in pf.list_tables(host):
            if one.startswith("bs"):
                pf.drop_table(host, one)
    return lines


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="sim:")
    parser.add_argument("--ports", default="1,50,200")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    common_config.register_common_config_options()
    cfg.CONF([], project="neutron")
    lockutils.set_defaults(tempfile.mkdtemp())
    cfg.CONF.set_override("firewall_driver", "beastack_pf", "SECURITYGROUP")
    cfg.CONF.set_override("enable_security_group", True, "SECURITYGROUP")
    lines: list[list[str]] = []
    with open_target(given.host) as target:
        sweep(target.host)
        before = snapshot.take(target.host)
        host = Counting(target.host)
        try:
            pf_host.prepare(host)
            enter(host)
            for ports in map(int, given.ports.split(",")):
                lines += measure(host, ports)
        finally:
            ifnet.destroy(target.host, f"brq{NETWORK[:11]}")
            restore(target.host, before)
    print(f"{described()}, --host {given.host.partition('?')[0]}\n")
    print(table(["ports", "s", "first, s", "ms a port", "commands", "a port"], lines))


def main() -> None:
    status = 1
    try:
        run()
        status = 0
    except Exception:  # noqa: BLE001 - printed; upstream's threads must not keep the process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
