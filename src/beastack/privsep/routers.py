"""Entry points for the vnet jails of routers, ``qrouter-`` + the router's id, with a pf(4) and routes of their own.

A router's inner ports are ``qr-…`` in the jail, its external one ``qg-…`` (``jail_ports``). Every entry makes one part
what its arguments say, and changes nothing when it is so already: an agent that starts anew interrupts nothing.
"""

import ipaddress

from beastack.freebsd import jail, kld, pf_router, route, sysctl
from beastack.freebsd.errors import HostError, NoSuchJail
from beastack.freebsd.host import Host, LocalHost
from beastack.freebsd.pf_router import Apart, Floating, Forward, Inner, Router
from beastack.freebsd.route import Route
from beastack.privsep import checks, haproxy, jail_ports
from beastack.privsep.checks import Refused
from beastack.privsep.context import entry, query

HOST = LocalHost()
PREFIX = "qrouter-"
INNER, OUTER = "qr-", "qg-"
PORTS = (INNER, OUTER)
MOST_JAILS = 1000
MOST_ROUTES = 4096
MOST_RULES = 4096
# What a router is: it forwards, and it tells no guest of a shorter way past its translations.
SYSCTLS = (("net.inet.ip.forwarding", 1), ("net.inet6.ip6.forwarding", 1), ("net.inet.ip.redirect", 0))
RULES = {"inner", "outer", "address", "snat", "unchanged", "floating", "forwards", "metadata", "apart"}


def jail_name(router_id: object) -> str:
    """The router's jail."""
    return PREFIX + checks.uuid(router_id)


def port_name(value: object, prefix: str) -> str:
    """A port's interface in a router's jail."""
    name = checks.interface_name(value)
    if not name.startswith(prefix):
        raise Refused(f"interface: {name} is no port {prefix}… of a router")
    return name


def _prefix(external: object) -> str:
    return OUTER if checks.flag(external, "external") else INNER


@entry
def ensure_router_jail(router_id: str) -> None:
    """The router's jail, which forwards."""
    name = jail_name(router_id)
    known = [n for n in jail.list_jails(HOST) if n.startswith(PREFIX)]
    if name not in known and len(known) >= MOST_JAILS:
        raise Refused(f"jail: there are {len(known)} already")
    # a jail cannot load what its translations need
    kld.ensure_loaded(HOST, ("pf",))
    jail.ensure_vnet(HOST, name)
    for key, value in SYSCTLS:
        sysctl.ensure(HOST.jail(name), key, value)


@entry
def remove_router_jail(router_id: str) -> None:
    """Destroy the jail's ports with their host ends, end its processes and remove it; gone is fine."""
    jail_ports.remove_jail(jail_name(router_id), PORTS)


@query
def list_router_ports(router_id: str) -> list[str]:
    """Names of the jail's ports (qr-…, qg-…); empty when the jail is gone."""
    return jail_ports.names(jail_name(router_id), PORTS)


@entry
def ensure_router_port(router_id: str, port_id: str, network_id: str, external: bool, mac: str, mtu: int) -> None:
    """The port's epair, with one end in the jail under its name, MAC and MTU (bytes), both ends up."""
    name, bridge = jail_name(router_id), f"brq{checks.uuid(network_id)[:11]}"
    jail_ports.ends(port_id, INNER)
    jail_ports.ensure(name, port_id, _prefix(external), bridge, checks.mac(mac), checks.mtu(mtu))


@entry
def remove_router_port(router_id: str, name: str) -> None:
    """Destroy a port by its name in the jail; one that is not there is fine."""
    owner, inner = jail_name(router_id), checks.interface_name(name)
    if not inner.startswith(PORTS):
        raise Refused(f"interface: {inner} is no router's port")
    if inner in jail_ports.names(owner, PORTS):
        jail_ports.destroy_pair(checks.tap_name(f"tap{inner[3:]}"))


@entry
def set_router_addresses(router_id: str, port_id: str, external: bool, cidrs: list[str]) -> None:
    """Give the port exactly these addresses (``address/length``); link-local IPv6 ones stay."""
    name = jail_name(router_id)
    inner = jail_ports.ends(port_id, _prefix(external))[1]
    jail_ports.set_addresses(name, inner, cidrs)


# --- routes ---


@entry
def set_router_routes(
    router_id: str, outer: str | None, gateways: list[str], onlink: list[str], routes: list[dict[str, str]]
) -> list[str]:
    """Make these the jail's static routes; returns what could not be set, and why.

    ``gateways``: the default routes, at most one a family, by the port ``outer`` when they are link-local ones;
    ``onlink``: networks that lie on the wire of ``outer``; ``routes``: ``{"destination": …, "nexthop": …}``.
    """
    inside = HOST.jail(jail_name(router_id))
    port = None if outer is None else port_name(outer, OUTER)
    defaults: dict[int, str] = {}
    for text in map(checks.ip, checks.items(gateways, 2, "gateways")):
        defaults[ipaddress.ip_address(text).version] = _scoped(text, port)
    wanted: dict[str, tuple[str | None, str | None]] = {}
    for network in map(checks.network, checks.items(onlink, MOST_ROUTES, "networks on the wire")):
        if port is None:
            raise Refused(f"network on the wire: {network}: there is no external port")
        wanted[network] = (None, port)
    for given in checks.items(routes, MOST_ROUTES, "routes"):
        wanted.update(_route(given))
    failed: list[str] = []
    for version in (4, 6):
        of_family = {d: t for d, t in wanted.items() if ipaddress.ip_network(d).version == version}
        failed += _set_routes(inside, version, of_family)
        try:
            route.set_default(inside, defaults.get(version), version)
        except HostError as e:
            failed.append(f"default by {defaults.get(version)}: {e}")
    return failed


def _scoped(gateway: str, port: str | None) -> str:
    if not ipaddress.ip_address(gateway).is_link_local or ":" not in gateway:
        return gateway
    if port is None:
        raise Refused(f"gateway: {gateway} is of one link, and there is no external port")
    return f"{gateway}%{port}"


def _route(given: object) -> dict[str, tuple[str | None, str | None]]:
    if not isinstance(given, dict) or set(given) != {"destination", "nexthop"}:
        raise Refused("route: destination and nexthop are wanted")
    destination, nexthop = checks.network(given["destination"]), checks.ip(given["nexthop"])
    if ipaddress.ip_network(destination).version != ipaddress.ip_address(nexthop).version:
        raise Refused(f"route: {destination} by {nexthop}: two families")
    if ipaddress.ip_network(destination).prefixlen == 0:
        raise Refused(f"route: {destination}: the default route is a gateway's")
    return {destination: (nexthop, None)}


def _set_routes(inside: Host, version: int, wanted: dict[str, tuple[str | None, str | None]]) -> list[str]:
    present = {
        str(r.network): r
        for r in route.list_routes(inside, "inet" if version == 4 else "inet6")
        if r.is_static and r.network is not None and r.network.prefixlen and not r.network.is_link_local
    }
    for destination in sorted(set(present) - set(wanted)):
        if not present[destination].network.is_loopback and not present[destination].network.is_multicast:  # type: ignore[union-attr]
            route.remove(inside, destination)
    failed = []
    for destination, (gateway, interface) in wanted.items():
        if destination in present and _same(present[destination], gateway, interface):
            continue
        try:
            route.ensure(inside, destination, gateway, interface)
        except NoSuchJail:
            raise
        except HostError as e:
            failed.append(f"{destination} by {gateway or interface}: {e}")
    return failed


def _same(found: Route, gateway: str | None, interface: str | None) -> bool:
    if gateway is not None:
        return found.gateway == gateway
    return found.interface == interface and "G" not in found.flags


# --- translations ---


@entry
def load_router_rules(router_id: str, rules: dict[str, object]) -> bool:
    """Make these the translations of the router's pf (``pf_router.Router``); False when they were so already.

    States of outer addresses that lead elsewhere now, or nowhere, are ended. When pf does not take the rules, the
    router passes nothing, and the error is raised.
    """
    return pf_router.load(HOST.jail(jail_name(router_id)), read_rules(rules))


def read_rules(value: object) -> Router:
    """Raises Refused; what pf cannot say raises BadRule when it is rendered."""
    if not isinstance(value, dict) or set(value) != RULES:
        raise Refused(f"rules: {', '.join(sorted(RULES))} are wanted")
    outer, address = value["outer"], value["address"]
    metadata = checks.flag(value["metadata"], "metadata")
    return Router(
        inner=tuple(_inner(i) for i in checks.items(value["inner"], MOST_RULES, "inner ports")),
        outer=None if outer is None else port_name(outer, OUTER),
        address=None if address is None else _ip4(address),
        snat=checks.flag(value["snat"], "snat"),
        unchanged=tuple(_network4(n) for n in checks.items(value["unchanged"], MOST_RULES, "unchanged networks")),
        floating=tuple(_floating(f) for f in checks.items(value["floating"], MOST_RULES, "floating IPs")),
        forwards=tuple(_forward(f) for f in checks.items(value["forwards"], MOST_RULES, "port forwardings")),
        proxy_port=haproxy.ROUTER_PORT if metadata else None,
        apart=tuple(_apart(a) for a in checks.items(value["apart"], MOST_RULES, "address scopes")),
    )


def _fields(value: object, names: set[str], what: str) -> dict[str, object]:
    if not isinstance(value, dict) or set(value) != names:
        raise Refused(f"{what}: {', '.join(sorted(names))} are wanted")
    return value


def _ip4(value: object) -> str:
    text = checks.ip(value)
    if ":" in text:
        raise Refused(f"address: {text}: only IPv4 is translated")
    return text


def _network4(value: object) -> str:
    text = checks.network(value)
    if ":" in text:
        raise Refused(f"network: {text}: only IPv4 is translated")
    return text


def _inner(value: object) -> Inner:
    given = _fields(value, {"interface", "addresses"}, "inner port")
    addresses = checks.items(given["addresses"], jail_ports.MOST_ADDRESSES, "addresses")
    return Inner(port_name(given["interface"], INNER), tuple(checks.cidr(a) for a in addresses))


def _apart(value: object) -> Apart:
    given = _fields(value, {"interface", "networks"}, "address scope")
    name = checks.interface_name(given["interface"])
    if not name.startswith(PORTS):
        raise Refused(f"interface: {name} is no router's port")
    networks = checks.items(given["networks"], MOST_RULES, "networks")
    return Apart(name, tuple(checks.network(n) for n in networks))


def _floating(value: object) -> Floating:
    given = _fields(value, {"fixed", "floating"}, "floating IP")
    return Floating(_ip4(given["fixed"]), _ip4(given["floating"]))


def _forward(value: object) -> Forward:
    given = _fields(value, {"protocol", "floating", "outer_ports", "fixed", "inner_ports"}, "port forwarding")
    return Forward(
        checks.number(given["protocol"], 1, 255, "protocol"),
        _ip4(given["floating"]),
        _ports(given["outer_ports"]),
        _ip4(given["fixed"]),
        _ports(given["inner_ports"]),
    )


def _ports(value: object) -> tuple[int, int]:
    pair = checks.items(value, 2, "ports")
    if len(pair) != 2:
        raise Refused("ports: the first and the last are wanted")
    return checks.port_number(pair[0]), checks.port_number(pair[1])
