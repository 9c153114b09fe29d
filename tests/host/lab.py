"""What the tests build on a host, and how all of it is taken away again: guests as vnet jails behind a bridge."""

import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from beastack.freebsd import car, ifnet, jail, netgraph, pf
from beastack.freebsd.host import Host, JailHost
from beastack.freebsd.ifnet_read import list_interfaces

# Everything carries it, so that a run that was killed can be cleaned up by the next one.
PREFIX = "bsc"
ANYTHING_OF_OURS = re.compile(r"bsc[a-z]*[0-9]+|bsc-[a-z0-9]+")
# Seconds. Generous, as the host may be an emulated one.
PATIENCE = 20.0


def until(condition: Callable[[], bool], what: str, limit: float = PATIENCE) -> None:
    """Wait for a condition of the host; AssertionError when it does not come."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"waited {limit:.0f} s for {what}"
        time.sleep(0.1)


@dataclass(frozen=True)
class Guest:
    """A vnet jail that stands for a guest: ``port`` is its tap's place in the bridge, ``nic`` its own card."""

    number: int
    jail: str
    port: str
    nic: str
    mac: str
    address: str
    host: JailHost

    def pings(self, address: str, source: str | None = None) -> bool:
        """Whether one of two echo requests is answered in 2 s."""
        own = ["-S", source] if source else []
        version = ["-6"] if ":" in address else []
        argv = ["ping", *version, "-n", "-c", "2", "-i", "0.5", "-t", "2", *own, address]
        return self.host.run(argv, check=False, timeout=PATIENCE).rc == 0

    def reaches(self, address: str, source: str | None = None) -> None:
        """Echo requests are answered, soon."""
        until(lambda: self.pings(address, source), f"{self.jail} to reach {address}")

    def connects(self, address: str, port: int) -> bool:
        """Whether a TCP connection comes up in 2 s."""
        argv = ["nc", "-n", "-z", "-w", "2", address, str(port)]
        return self.host.run(argv, check=False, timeout=PATIENCE).rc == 0


class Lab:
    """Makes things, remembers them, and removes them in reverse order."""

    def __init__(self, host: Host, folder: str) -> None:
        self.host = host
        self.folder = folder
        self._stack = ExitStack()

    def close(self) -> None:
        """Remove everything; every step is tried, the first failure is raised."""
        self._stack.close()

    def later(self, action: Callable[[], object]) -> None:
        """Do this at the end."""
        self._stack.callback(action)

    def bridge(self, number: int = 0) -> str:
        """A bridge that is up."""
        name = f"{PREFIX}br{number}"
        self.later(lambda: ifnet.destroy(self.host, name))
        ifnet.ensure_bridge(self.host, name, "beastack:conformance:bridge")
        return name

    def tap(self, number: int = 0, mtu: int = 1500) -> str:
        """A tap that nobody has open."""
        name = f"{PREFIX}tap{number}"
        self.later(lambda: ifnet.destroy(self.host, name))
        ifnet.ensure_tap(self.host, name, "beastack:conformance:tap", mtu)
        return name

    def epair(self, number: int = 0) -> tuple[str, str]:
        """Both halves; the other one keeps its first name."""
        name = f"{PREFIX}ep{number}"
        self.later(lambda: ifnet.destroy(self.host, name))
        other = ifnet.ensure_epair(self.host, name, "beastack:conformance:epair")
        assert other is not None, f"{name} was there already"
        return name, other

    def jail(self, name: str) -> JailHost:
        """An empty vnet jail."""
        full = f"{PREFIX}-{name}"
        self.later(lambda: jail.remove(self.host, full))
        jail.ensure_vnet(self.host, full)
        return JailHost(self.host, full)

    def plug(self, number: int, guest: str) -> tuple[str, str]:
        """A cable into a jail: the port on the host, the card in the jail."""
        port = f"{PREFIX}tap{number}"
        self.later(lambda: ifnet.destroy(self.host, port))
        nic = ifnet.ensure_epair(self.host, port, f"beastack:conformance:guest{number}")
        assert nic is not None, f"{port} was there already"
        ifnet.move_to_jail(self.host, nic, guest)
        ifnet.set_up(self.host, port)
        return port, nic

    def guest(self, number: int, bridge: str | None, address: str = "") -> Guest:
        """A jail with a card on the bridge, 10.5.0.NUMBER/24 unless another address is given."""
        inside = self.jail(f"vm{number}")
        port, nic = self.plug(number, inside.name)
        mac = f"fa:16:3e:00:00:{number:02x}"
        ifnet.set_mac(inside, nic, mac)
        cidr = address or f"10.5.0.{number}/24"
        ifnet.add_address(inside, nic, cidr)
        ifnet.set_up(inside, nic)
        if bridge is not None:
            ifnet.attach_member(self.host, bridge, port)
        return Guest(number, inside.name, port, nic, mac, cidr.partition("/")[0], inside)

    def guests(self, count: int) -> tuple[str, list[Guest]]:
        """A bridge and guests that reach each other."""
        bridge = self.bridge()
        made = [self.guest(number, bridge) for number in range(1, count + 1)]
        for other in made[1:]:
            made[0].reaches(other.address)
        return bridge, made

    def listener(self, guest: Guest, port: int) -> None:
        """A TCP server in a guest; it ends with the jail."""
        argv = ["daemon", "-f", "-p", f"{self.folder}/{guest.jail}.{port}", "nc", "-n", "-l", "-k", guest.address]
        guest.host.run([*argv, str(port)])
        until(lambda: guest.connects(guest.address, port), f"a server on {guest.address}:{port}")


def sweep(host: Host) -> None:
    """Remove what an earlier run left behind."""
    for name in jail.list_jails(host):
        if ANYTHING_OF_OURS.fullmatch(name):
            jail.remove(host, name)
    for name, found in list_interfaces(host).items():
        if ANYTHING_OF_OURS.fullmatch(name) and ifnet.GROUP in found.groups:
            ifnet.destroy(host, name)


def clear_filters(host: Host) -> None:
    """Remove our guards, anchors and tables where pf and netgraph are in use."""
    clear_guards(host)
    clear_pf(host)


def clear_guards(host: Host) -> None:
    """Remove our guards and limits where netgraph is in use."""
    for port in car.list_rates(host):
        if ANYTHING_OF_OURS.fullmatch(port):
            car.clear_rate(host, port)
    for port in netgraph.list_guards(host):
        if ANYTHING_OF_OURS.fullmatch(port):
            netgraph.clear_guard(host, port)


def clear_pf(host: Host) -> None:
    """Remove our anchors and tables where pf is in use."""
    for port in pf.list_anchors(host):
        if ANYTHING_OF_OURS.fullmatch(port):
            pf.unload(host, port)
            pf.kill_states(host, port)
    for table in pf.list_tables(host):
        if table.startswith(f"{PREFIX}_"):
            pf.drop_table(host, table)
