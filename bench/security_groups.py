"""Security groups: our firewall driver against upstream's iptables and Open vSwitch drivers, on the same inputs.

    .venv/bin/python -m bench.security_groups [--ports 100] [--rounds 3]

Each driver is driven by upstream's own SecurityGroupAgentRpc, fed by one stand-in for neutron's server. The commands
are captured and not run, for all alike (``bench/captured.py``): time is CPU time of this process without the stand-ins,
so without the kernels' work, which differs, and without the crossing of privilege boundaries, which all three have.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

from neutron.agent import securitygroups_rpc
from neutron.agent.common import ovs_lib
from neutron.agent.linux import utils as linux_utils
from neutron.conf.plugins.ml2.drivers import ovs_conf
from oslo_concurrency import lockutils
from oslo_config import cfg

from beastack.freebsd import pf_host
from beastack.privsep import context, pf
from beastack.privsep import guard as _guard  # noqa: F401 - its entry points are made

from .captured import Bridge, FreeBSD, Linux, Meter
from .machine import described, table

SG = "11111111-2222-3333-4444-555555555555"
DRIVERS = {"beastack_pf": "pf", "iptables": "iptables + ipset", "openvswitch": "Open vSwitch"}
SIZES = (10, 100, 1000, 5000)
RULES = 20


def address(number: int) -> str:
    return f"10.{20 + number // 65000}.{number // 250 % 250}.{number % 250 + 1}"


class Server:
    """security_group_info_for_devices of neutron's server: ports of one group with 20 rules, two about its members."""

    def __init__(self, driver: str, ports: int, members: int) -> None:
        self.ids = [f"{n:08x}-1111-2222-3333-444444444444" for n in range(ports)]
        names = self.ids if driver == "openvswitch" else [f"tap{one[:11]}" for one in self.ids]
        self.members = members
        self.rules: list[dict[str, Any]] = [
            {"direction": "egress", "ethertype": "IPv4", "stateful": True},
            {"direction": "egress", "ethertype": "IPv6", "stateful": True},
            {"direction": "ingress", "ethertype": "IPv4", "remote_group_id": SG, "stateful": True},
            {"direction": "ingress", "ethertype": "IPv6", "remote_group_id": SG, "stateful": True},
        ]
        while len(self.rules) < RULES:
            self.add_rule()
        self.devices = {name: self._port(name, number) for number, name in enumerate(names)}

    def add_rule(self) -> None:
        number = 1000 + len(self.rules)
        self.rules.append({
            "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": number,
            "port_range_max": number, "source_ip_prefix": f"192.0.{number % 200}.0/24", "stateful": True,
        })  # fmt: skip

    def _port(self, name: str, number: int) -> dict[str, Any]:
        own = address(number)
        provider = {"direction": "ingress", "ethertype": "IPv4", "protocol": "udp", "port_range_min": 68,
                    "port_range_max": 68, "source_port_range_min": 67, "source_port_range_max": 67}  # fmt: skip
        return {
            "device": name, "network_id": "aaaaaaaa-1111-2222-3333-444444444444", "device_owner": "compute:nova",
            "mac_address": f"fa:16:3e:00:{number // 256:02x}:{number % 256:02x}", "fixed_ips": [own],
            "allowed_address_pairs": [], "port_security_enabled": True, "security_groups": [SG],
            "security_group_source_groups": [SG], "security_group_remote_address_groups": [],
            "security_group_rules": [
                {**provider, "dest_ip_prefix": f"{own}/32"}, {**provider, "dest_ip_prefix": "255.255.255.255/32"},
            ],
        }  # fmt: skip

    def security_group_info_for_devices(self, _context: Any, devices: list[str]) -> dict[str, Any]:
        """Fresh objects, as they come out of a message."""
        found = [
            (address(number), f"fa:16:3e:01:{number // 256 % 256:02x}:{number % 256:02x}")
            for number in range(self.members)
        ]
        return {
            "devices": {d: self._copy(self.devices[d]) for d in devices},
            "security_groups": {SG: [dict(rule) for rule in self.rules]},
            "sg_member_ips": {SG: {"IPv4": found, "IPv6": []}},
        }

    @staticmethod
    def _copy(port: dict[str, Any]) -> dict[str, Any]:
        return {k: [dict(i) if isinstance(i, dict) else i for i in v] if isinstance(v, list) else v
                for k, v in port.items()}  # fmt: skip


@dataclass
class Cost:
    milliseconds: float
    commands: int
    sent: int
    read: int


class Bench:
    """An agent with one of the drivers."""

    def __init__(self, driver: str, ports: int, members: int) -> None:
        self.meter = Meter()
        self.server = Server(driver, ports, members)
        cfg.CONF.set_override("firewall_driver", driver, "SECURITYGROUP")
        cfg.CONF.set_override("enable_security_group", True, "SECURITYGROUP")
        bridge = None
        if driver == "beastack_pf":
            host = FreeBSD(self.meter)
            pf_host.prepare(host)
            pf.HOST = host  # type: ignore[assignment]
            for full, entry in context.entries.items():
                if full.startswith("beastack.privsep.pf."):
                    setattr(pf, full.rpartition(".")[2], entry)
        else:
            linux = Linux(self.meter)
            linux_utils.execute = linux.execute
            ports_there = {
                one: ovs_lib.VifPort(
                    f"tap{one[:11]}", number + 10, one, f"fa:16:3e:00:{number // 256:02x}:{number % 256:02x}", None
                )
                for number, one in enumerate(self.server.ids)
            }
            bridge = Bridge(self.meter, ports_there) if driver == "openvswitch" else None
        self.agent = securitygroups_rpc.SecurityGroupAgentRpc(
            mock.Mock(), self.server, defer_refresh_firewall=True, integration_bridge=bridge
        )

    def cost(self, action: Callable[[], None]) -> Cost:
        """One change, and what it took; the server's stand-in is made to answer before the clock runs."""
        info = self.server.security_group_info_for_devices
        answers: dict[tuple[str, ...], Any] = {}

        def answer(_context: Any, devices: list[str]) -> Any:
            began = time.process_time()
            answers[tuple(devices)] = info(_context, devices)
            self.meter.away += time.process_time() - began
            return answers[tuple(devices)]

        self.meter.reset()
        with mock.patch.object(self.server, "security_group_info_for_devices", answer):
            began = time.process_time()
            action()
            spent = time.process_time() - began - self.meter.away
        return Cost(spent * 1000, self.meter.commands, self.meter.sent, self.meter.read)

    def first(self) -> Cost:
        return self.cost(lambda: self.agent.setup_port_filters(set(self.server.devices), set()))

    def join(self) -> Cost:
        self.server.members += 1
        return self.cost(self._tell(self.agent.security_groups_member_updated))

    def rule(self) -> Cost:
        self.server.add_rule()
        return self.cost(self._tell(self.agent.security_groups_rule_updated))

    def _tell(self, notification: Callable[[list[str]], None]) -> Callable[[], None]:
        def told() -> None:
            notification([SG])
            self.agent.setup_port_filters(set(), set())

        return told


def median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(c.milliseconds for c in costs),
        *(
            int(statistics.median(values))
            for values in zip(*((c.commands, c.sent, c.read) for c in costs), strict=True)
        ),
    )


def measure(driver: str, ports: int, rounds: int) -> dict[str, Cost]:
    found: dict[str, Cost] = {}
    for size in SIZES:
        bench = Bench(driver, ports, size)
        first = bench.first()
        if size == 100:
            found[f"first programming: {ports} ports, {RULES} rules"] = first
        found[f"one member joins {size:,}"] = median([bench.join() for _ in range(rounds)])
        if size == 100:
            found["one rule more"] = median([bench.rule() for _ in range(rounds)])
    return found


def rows(results: dict[str, dict[str, Cost]]) -> list[list[str]]:
    lines = []
    for what in sorted(
        results["beastack_pf"], key=lambda name: (not name.startswith("first"), name.startswith("one r"))
    ):
        ours = results["beastack_pf"][what]
        for driver, costs in results.items():
            cost = costs[what]
            times = "" if driver == "beastack_pf" else f"{cost.milliseconds / ours.milliseconds:.1f}×"
            bytes_ = "" if driver == "beastack_pf" else f"{(cost.sent + cost.read) / (ours.sent + ours.read):.1f}×"
            lines.append([
                f"{what}: {DRIVERS[driver]}", f"{cost.milliseconds:.1f}", times, f"{cost.commands:,}", f"{cost.sent:,}",
                f"{cost.read:,}", bytes_,
            ])  # fmt: skip
    return lines


def main() -> None:
    status = 1
    try:
        run()
        status = 0
    except Exception:  # noqa: BLE001 - printed; the process must end here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)  # upstream's conntrack worker never ends


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ports", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    ovs_conf.register_ovs_agent_opts(cfg.CONF)
    cfg.CONF([], project="neutron")
    lockutils.set_defaults(None)
    cfg.CONF.set_override("lock_path", tempfile.mkdtemp(), "oslo_concurrency")
    results = {driver: measure(driver, given.ports, given.rounds) for driver in DRIVERS}
    print(f"{described()}\n")
    head = ["change: driver", "Python, ms", "ratio to pf", "commands", "bytes sent", "bytes read", "ratio to pf"]
    print(table(head, rows(results)))


if __name__ == "__main__":
    main()
