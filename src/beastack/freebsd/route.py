"""Routes of a host or jail, IPv4 and IPv6 (route(8), netstat(1); shared/freebsd/15.1/03)."""

import ipaddress
from contextlib import suppress
from dataclasses import dataclass

from beastack.freebsd.errors import HostError, NoSuchRoute, RouteExists, UnexpectedOutput
from beastack.freebsd.host import Host
from beastack.freebsd.libxo import rows

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_DEFAULTS = ("default", "::/0", "0.0.0.0/0")


@dataclass(frozen=True)
class Route:
    """One entry of the table: ``default`` or a network, its gateway (``link#N`` when it is on the wire), the interface.

    ``flags`` are netstat's letters: S is what somebody set, G what has a gateway.
    """

    destination: str
    gateway: str
    interface: str
    flags: str = ""

    @property
    def network(self) -> Network | None:
        """The destination as a network; None for the default and for what belongs to one interface (``fe80::%lo0``)."""
        if "%" in self.destination:
            return None
        try:
            return ipaddress.ip_network(self.destination)
        except ValueError:
            return None

    @property
    def is_static(self) -> bool:
        """Whether somebody set it; the kernel's own entries for addresses of the host are static ones on loopback."""
        return "S" in self.flags and not (self.gateway.startswith("link#") and self.interface == "lo0")


def parse_routes(text: str, argv: tuple[str, ...] = ("netstat",)) -> list[Route]:
    """``netstat --libxo json -rn``. Raises UnexpectedOutput."""
    families = rows(text, argv, "statistics", "route-information", "route-table", "rt-family")
    return [
        Route(entry.text("destination"), entry.text("gateway"), entry.text("interface-name"), entry.text("flags"))
        for family in families
        for entry in family.rows("rt-entry")
    ]


def list_routes(host: Host, family: str = "inet") -> list[Route]:
    """The table of ``inet`` or ``inet6``."""
    done = host.run(["netstat", "--libxo", "json", "-rn", "-f", family])
    return parse_routes(done.out, done.argv)


def _words(version: int) -> tuple[list[str], str]:
    """route(8) for a family, and netstat's word for the family."""
    return (["route"], "inet") if version == 4 else (["route", "-6"], "inet6")


def set_default(host: Host, gateway: str | None, version: int = 4) -> None:
    """Make ``gateway`` the default route of IPv4 or IPv6 (``version``); None removes it.

    When the new one is refused the old one is set again.
    """
    command, family = _words(version)
    current = next((r.gateway for r in list_routes(host, family) if r.destination in _DEFAULTS), None)
    if current == gateway:
        return
    if current is not None:
        with suppress(NoSuchRoute):
            host.run([*command, "delete", "default"])
    if gateway is None:
        return
    try:
        with suppress(RouteExists):
            host.run([*command, "add", "default", gateway])
    except HostError:
        if current is not None:
            with suppress(HostError):  # the first error is the one to tell
                host.run([*command, "add", "default", current])
        raise


def _find(host: Host, network: Network) -> Route | None:
    _, family = _words(network.version)
    return next((r for r in list_routes(host, family) if r.network == network and r.is_static), None)


def ensure(host: Host, destination: str, gateway: str | None = None, interface: str | None = None) -> None:
    """A static route to a network by a gateway, or straight onto an interface. One to elsewhere is replaced.

    Raises ValueError for what is no network or no gateway of its family, UnexpectedOutput when another is there after
    all (two callers at once).
    """
    network = ipaddress.ip_network(destination)
    if (gateway is None) == (interface is None):
        raise ValueError(f"route to {destination}: either a gateway or an interface")
    if gateway is not None and ipaddress.ip_address(gateway).version != network.version:
        raise ValueError(f"route to {destination}: gateway {gateway} is of another family")
    command, _ = _words(network.version)
    current = _find(host, network)
    if current is not None:
        if _goes(current, gateway, interface):
            return
        remove(host, destination)
    argv = [*command, "add", "-net", str(network), *([gateway] if gateway else ["-interface", str(interface)])]
    try:
        host.run(argv)
    except RouteExists as e:
        current = _find(host, network)
        if current is None or not _goes(current, gateway, interface):
            raise UnexpectedOutput(argv, str(current), f"the route by {gateway or interface}") from e


def _goes(route: Route, gateway: str | None, interface: str | None) -> bool:
    if gateway is not None:
        return route.gateway.partition("%")[0] == gateway
    return route.interface == interface and "G" not in route.flags


def remove(host: Host, destination: str) -> None:
    """Remove a static route; gone is fine."""
    network = ipaddress.ip_network(destination)
    command, _ = _words(network.version)
    with suppress(NoSuchRoute):
        host.run([*command, "delete", "-net", str(network)])
