"""Owns one network stack (FreeBSD: vnet, Linux: network namespace) and what belongs to it: interfaces and routes."""

import ipaddress
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beastack.sim.linux.namespaces import CLONE_NEWNET, inside
from beastack.sim.linux.netlink import Netlink
from beastack.sim.linux.raw import RawSender
from beastack.sim.net.interface import Interface

if TYPE_CHECKING:
    from beastack.sim.engine.jails import Jail

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where Linux differs from FreeBSD by default: answer ARP for the asked interface only, keep the other addresses of a
# subnet when the first goes, no reverse path filter; and room in the datagram sockets that are the guests' cables.
_SETTINGS = {
    "net/ipv4/ip_forward": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/conf/all/arp_ignore": "1",
    # a redirect may lead to 127.0.0.1 (08); what comes as such over a wire the engine drops, as FreeBSD does
    "net/ipv4/conf/all/route_localnet": "1",
    "net/ipv4/conf/all/arp_announce": "2",
    "net/ipv4/conf/all/promote_secondaries": "1",
    "net/ipv4/conf/default/promote_secondaries": "1",
    # `all` alone decides: net.inet.ip.redirect
    "net/ipv4/conf/all/send_redirects": "1",
    "net/ipv4/conf/default/send_redirects": "0",
    "net/unix/max_dgram_qlen": "1024",
}
_SETTINGS6 = {
    "net/ipv6/conf/all/forwarding": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/disable_ipv6": "1",
    "net/ipv6/conf/default/addr_gen_mode": "1",
}


@dataclass(frozen=True)
class Route:
    """A static route: by a gateway, or onto an interface when `gateway` is None."""

    network: Network
    gateway: Address | None
    interface: Interface


@dataclass(eq=False)
class Vnet:
    """A network stack. `jail` is None for the host's own."""

    netns: int
    home: int
    jail: "Jail | None" = None
    interfaces: list[Interface] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    pf: Any = None
    netgraph: Any = None
    netlink: Netlink = field(init=False)
    raw: RawSender = field(init=False)
    inode: int = field(init=False)

    def __post_init__(self) -> None:
        self.inode = os.fstat(self.netns).st_ino
        with inside(self.netns, CLONE_NEWNET, self.home):
            self.netlink = Netlink()
            self.raw = RawSender()
        for name, value in _SETTINGS.items():
            self.write(name, value)
        if self.has_ipv6:
            for name, value in _SETTINGS6.items():
                self.write(name, value)

    @property
    def has_ipv6(self) -> bool:
        return Path("/proc/sys/net/ipv6").is_dir()

    def write(self, name: str, value: str) -> None:
        """Set one of Linux's network sysctls in this stack."""
        with inside(self.netns, CLONE_NEWNET, self.home):
            Path("/proc/sys", name).write_text(value)

    def read(self, name: str) -> str:
        with inside(self.netns, CLONE_NEWNET, self.home):
            return Path("/proc/sys", name).read_text().strip()

    def find(self, name: str) -> Interface | None:
        return next((interface for interface in self.interfaces if interface.name == name), None)

    def loopback(self) -> Interface:
        return next(interface for interface in self.interfaces if interface.name == "lo0")

    def connected(self, address: Address) -> Interface | None:
        """The interface whose own network holds this address, the most specific one first."""
        best: tuple[int, Interface] | None = None
        for interface in self.interfaces:
            if not interface.administratively_up:
                continue
            for own in interface.addresses():
                if own.network.version != address.version or address not in own.network:
                    continue
                if best is None or own.prefix > best[0]:
                    best = (own.prefix, interface)
        return best[1] if best else None

    def lookup(self, address: Address) -> Route | None:
        """The static route that an address takes."""
        matching = [
            route for route in self.routes if route.network.version == address.version and address in route.network
        ]
        return max(matching, key=lambda route: route.network.prefixlen, default=None)

    def close(self) -> None:
        self.netlink.close()
        self.raw.close()
        os.close(self.netns)


FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
