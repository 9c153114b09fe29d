"""A vnet jail at a Neutron port in a guest's place: filtered, guarded and bridged as one, and there in two seconds."""

import ipaddress
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from .conftest import NAME, until


def entering(host: str = "fbsd1") -> tuple[list[str], dict[str, str]]:
    """What enters a simulated host, and its environment (docs/contracts.md): `beastack host` takes a second."""
    folder = Path("/var/lib/beastack") / NAME / "hosts" / host
    pid = json.loads((folder / "engine.json").read_text())["pid"]
    path = f"{folder / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return ["nsenter", "-t", str(pid), "-m", "-n", "-u", "-p"], {"PATH": path, "BEASTACK_SIM": str(folder)}


def on_host(
    *argv: str, host: str = "fbsd1", check: bool = True, limit: float = 60, words: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command on a FreeBSD host of the cloud, with ``words`` on its standard input."""
    enter, env = entering(host)
    done = subprocess.run(
        [*enter, *argv], input=words, env=env, capture_output=True, text=True, timeout=limit, check=False
    )
    assert done.returncode == 0 or not check, f"{argv}: {done.stdout}{done.stderr}"
    return done


class StandIn:
    """One port's jail. ``admin`` binds the port to the host, as nova would."""

    def __init__(self, admin: Any, port: Any, host: str = "fbsd1", gateway: bool = True) -> None:
        self.port, self.host = port, host
        self.name, self.tap, self.nic = f"guest-{port.id[:8]}", f"tap{port.id[:11]}", f"g{port.id[:8]}"
        self._admin = admin
        made = self.run("ifconfig", "epair", "create", "group", "beastack").stdout.strip()
        inner = made[:-1] + "b"
        self.run("ifconfig", made, "description", f"beastack:port:{port.id}")
        self.run("ifconfig", made, "name", self.tap)
        self.run("jail", "-c", f"name={self.name}", "path=/", "vnet", "persist", "allow.raw_sockets")
        self.run("ifconfig", inner, "vnet", self.name)
        self.inside("ifconfig", inner, "name", self.nic)
        self.inside("ifconfig", self.nic, "ether", port.mac_address)
        self.inside("ifconfig", "lo0", "127.0.0.1/8", "up")
        network = admin.network.get_network(port.network_id)
        for end, command in ((self.tap, self.run), (self.nic, self.inside)):
            command("ifconfig", end, "mtu", str(network.mtu))
            command("ifconfig", end, "up")
        admin.network.update_port(port, binding_host_id=host, device_owner="compute:stand-in", device_id=port.id)
        for fixed in port.fixed_ips:
            subnet = admin.network.get_subnet(fixed["subnet_id"])
            length = ipaddress.ip_network(subnet.cidr).prefixlen
            family = "inet6" if subnet.ip_version == 6 else "inet"
            self.inside("ifconfig", self.nic, family, f"{fixed['ip_address']}/{length}")
            if gateway and subnet.gateway_ip and family == "inet":
                self.inside("route", "add", "default", subnet.gateway_ip)

    @property
    def address(self) -> str:
        """Its first IPv4 address."""
        return next(str(f["ip_address"]) for f in self.port.fixed_ips if "." in f["ip_address"])

    @property
    def address6(self) -> str:
        """Its first IPv6 address."""
        return next(str(f["ip_address"]) for f in self.port.fixed_ips if ":" in f["ip_address"])

    def run(self, *argv: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """A command on the host (``on_host``)."""
        return on_host(*argv, host=self.host, **more)

    def inside(self, *argv: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """A command in the jail."""
        return self.run("jexec", self.name, *argv, **more)

    def wired(self) -> None:
        """Wait until the bridge agent has wired the port."""
        until(
            f"port {self.port.id} to be ACTIVE", lambda: self._admin.network.get_port(self.port.id).status == "ACTIVE"
        )

    def pings(self, address: str, count: int = 1) -> bool:
        """Whether one of ``count`` requests is answered."""
        program = "ping6" if ":" in address else "ping"
        return self.inside(program, "-n", "-c", str(count), "-t", "2", address, check=False).returncode == 0

    def reaches(self, address: str, seconds: float = 30) -> float:
        """Wait for an answer to a ping; how long that took."""
        began = time.monotonic()
        until(f"{self.name} to reach {address}", lambda: self.pings(address), seconds)
        return time.monotonic() - began

    def asks(self, address: str, port: int, words: str = "") -> str:
        """What a TCP server answers; empty when there is none."""
        argv = ("nc", "-n", "-w", "3", address, str(port))
        return self.inside(*argv, words=words, check=False, limit=30).stdout

    def answers(self, port: int, words: str) -> None:
        """Let a TCP server answer its first client with ``words``."""
        file = f"/tmp/{self.name}-{port}"
        self.inside("tee", file, words=words)
        serve = f"exec nc -n -l {self.address} {port} <{file}"
        self.inside("daemon", "-f", "-p", f"{file}.pid", "sh", "-c", serve)
        until(f"port {port} of {self.name} to be listened on", lambda: self._listens(port), 10)

    def _listens(self, port: int) -> bool:
        return f"{self.address}:{port}" in self.inside("sockstat", "-4", "-l", "-n").stdout

    def remove(self) -> None:
        """End it; the port stays."""
        self.run("jail", "-r", self.name, check=False)
        self.run("ifconfig", self.tap, "destroy", check=False)
