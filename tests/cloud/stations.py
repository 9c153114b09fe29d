"""Stations: vnet jails at neutron's ports, in the place of guests. A tap's other end is an epair's half in a jail."""

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .conftest import until

PROBER = Path(__file__).with_name("prober.py")
SIM = Path(sys.executable).with_name("beastack-sim")
NIC = "nic0"


class Hosts:
    """The simulated hosts of one cloud."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    def argv(self, host: str, *words: str) -> list[str]:
        return [str(SIM), "host", "exec", "--dir", str(self.run_dir / "hosts" / host), "--", *words]

    def run(self, host: str, *words: str, stdin: str = "", limit: float = 60) -> subprocess.CompletedProcess[str]:
        argv = self.argv(host, *words)
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=limit, check=False)

    def ok(self, host: str, *words: str, stdin: str = "", limit: float = 60) -> str:
        done = self.run(host, *words, stdin=stdin, limit=limit)
        assert done.returncode == 0, f"{host}: {words}: {done.stdout}{done.stderr}"
        return done.stdout


@dataclass(frozen=True)
class Station:
    """A jail NAME on HOST at a port; ``cidrs`` are its addresses with prefix lengths."""

    name: str
    host: str
    port: str
    mac: str
    cidrs: tuple[str, ...]
    mtu: int

    @property
    def tap(self) -> str:
        return f"tap{self.port[:11]}"

    def address(self, version: int) -> str:
        return next(c.partition("/")[0] for c in self.cidrs if (":" in c) == (version == 6))

    def script(self) -> str:
        """Makes the cable and the jail, and starts the server; the mark is on the tap before it has its name."""
        inside = [
            f"ifconfig $B name {NIC}",
            f"ifconfig {NIC} ether {self.mac}",
            f"ifconfig {NIC} mtu {self.mtu}",
            *(f"ifconfig {NIC} {'inet6' if ':' in c else 'inet'} {c} alias" for c in self.cidrs),
            f"ifconfig {NIC} up",
        ]
        server = [sys.executable, "-I", str(PROBER), "serve", self.name]
        lines = [
            "E=$(ifconfig epair create group beastack); B=${E%a}b",
            f"jail -c name={self.name} path=/ vnet persist allow.raw_sockets",
            f"ifconfig $B vnet {self.name}",
            *(f"jexec {self.name} {line}" for line in inside),
            f"ifconfig $E description beastack:port:{self.port} mtu {self.mtu}",
            f"ifconfig $E name {self.tap}",
            f"ifconfig {self.tap} up",
            f"daemon -f jexec {self.name} {shlex.join(server)}",
        ]
        return "\n".join(lines)


@dataclass
class Lab:
    """Makes networks, ports and stations through the API and on the hosts."""

    api: Any
    hosts: Hosts
    networks: dict[str, Any] = field(default_factory=dict)
    stations: dict[str, Station] = field(default_factory=dict)

    def network(self, name: str, four: str, six: str, **provider: Any) -> Any:
        """A network with a subnet of each family, without DHCP: its stations know their addresses."""
        made = self.networks[name] = self.api.network.create_network(name=name, **provider)
        for version, cidr in ((4, four), (6, six)):
            self.api.network.create_subnet(
                network_id=made.id, ip_version=version, cidr=cidr, is_dhcp_enabled=False, gateway_ip=None
            )
        return made

    def add(self, network: str, wanted: dict[str, tuple[str, str]], **more: Any) -> None:
        """Ports and jails; ``wanted``: name -> (host, security group's id, "" for a port without port security)."""
        net = self.networks[network]
        common = {"network_id": net.id, "admin_state_up": True, **more}
        asked = []
        for name, (host, group) in wanted.items():
            secure = {"security_groups": [group]} if group else {"port_security_enabled": False, "security_groups": []}
            asked.append({**common, "name": name, "binding:host_id": host, "device_owner": "compute:test", **secure})
        made = {port.name: port for port in self.api.network.create_ports(asked)}
        prefixes = {s.id: s.cidr.partition("/")[2] for s in self.api.network.subnets(network_id=net.id)}
        scripts: dict[str, list[str]] = {}
        for name, (host, _) in wanted.items():
            port = made[name]
            cidrs = tuple(f"{ip['ip_address']}/{prefixes[ip['subnet_id']]}" for ip in port.fixed_ips)
            found = Station(name, host, port.id, port.mac_address, cidrs, net.mtu)
            self.stations[name] = found
            scripts.setdefault(host, []).append(found.script())
        for host, parts in scripts.items():
            self.hosts.ok(host, "sh", "-e", stdin="\n".join(parts) + "\n")

    def active(self, *names: str) -> None:
        """Wait until the agents have wired these ports."""
        left = {self.stations[n].port: n for n in names or self.stations}

        def ready() -> bool:
            for port in self.api.network.ports():
                if port.status == "ACTIVE":
                    left.pop(port.id, None)
            return not left

        until(f"ports to be ACTIVE: {sorted(left.values())}", ready, 60)

    def remove(self, *names: str) -> None:
        """Jails, cables and ports."""
        for name in names:
            station = self.stations.pop(name)
            self.hosts.ok(station.host, "sh", "-e", stdin=f"jail -r {name}\nifconfig {station.tap} destroy\n")
            self.api.network.delete_port(station.port)

    def inside(self, name: str, *words: str) -> list[str]:
        """The command line that runs words in a station."""
        return self.hosts.argv(self.stations[name].host, "jexec", name, *words)

    def probe(self, name: str, cells: dict[str, Any], seconds: float = 8) -> dict[str, str | None]:
        """Ask from one station: {cell: (kind, address, port, seconds or None)} -> who answered."""
        argv = self.inside(name, sys.executable, "-I", str(PROBER), "probe", str(seconds))
        done = subprocess.run(
            argv, input=json.dumps(cells), capture_output=True, text=True, timeout=seconds + 40, check=False
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, str | None] = json.loads(done.stdout)
        return found

    def send(self, name: str, *frames: bytes) -> None:
        """Frames out of a station's card, as they are."""
        words = [sys.executable, "-I", str(PROBER), "send", NIC, *(frame.hex() for frame in frames)]
        done = subprocess.run(self.inside(name, *words), capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
