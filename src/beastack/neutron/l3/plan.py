"""From what the server says of a router to what its jail should be: plain data, no host.

The server's words are those of ``sync_routers`` (neutron/db/l3_db.py, get_sync_data) and of the port forwarding plugin.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from neutron_lib import constants

INNER, OUTER = "qr-", "qg-"
PROTOCOLS = {"tcp": 6, "udp": 17}
MOST_SERVERS = 3
_DEFAULTS = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True)
class Port:
    """One of the router's ports; ``cidrs`` are its own addresses (``address/length``), ``mtu`` is in bytes."""

    port_id: str
    network_id: str
    mac: str
    mtu: int
    cidrs: tuple[str, ...]
    external: bool = False

    @property
    def name(self) -> str:
        """The interface in the jail."""
        return (OUTER if self.external else INNER) + self.port_id[:11]


@dataclass(frozen=True)
class Plan:
    """What should be there. ``floating``: addresses of the external port besides its own; ``notes``: what is not done
    and why.
    """

    ports: tuple[Port, ...] = ()
    floating: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    onlink: tuple[str, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()
    rules: Mapping[str, Any] = field(default_factory=dict)
    adverts: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def outer(self) -> str | None:
        """The external port's interface."""
        return next((p.name for p in self.ports if p.external), None)

    def addresses(self, port: Port) -> list[str]:
        """Every address of a port, floating ones as single addresses."""
        return [*port.cidrs, *(f"{a}/32" for a in self.floating if port.external)]


def _port(given: Mapping[str, Any], external: bool = False) -> Port:
    cidrs = tuple(f"{f['ip_address']}/{f['prefixlen']}" for f in given["fixed_ips"] if "prefixlen" in f)
    mtu = given.get("mtu") or constants.DEFAULT_NETWORK_MTU
    return Port(given["id"], given["network_id"], given["mac_address"], mtu, cidrs, external)


def _up(ports: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [p for p in ports if p["admin_state_up"]]


def make(router: Mapping[str, Any], forwards: Iterable[Any], metadata: bool, ipv6_gateway: str = "") -> Plan:
    """The plan. ``forwards``: neutron's PortForwarding objects; ``ipv6_gateway``: neutron's option of that name."""
    given_inner = _up(router.get(constants.INTERFACE_KEY) or [])
    gw_port = router.get("gw_port") or None
    inner = [_port(p) for p in given_inner]
    outer = _port(gw_port, external=True) if gw_port else None
    fips = [f for f in router.get(constants.FLOATINGIP_KEY) or [] if f.get("fixed_ip_address")] if outer else []
    notes: list[str] = []
    forwards = sorted((f for f in forwards if outer and _known(f, notes)), key=lambda f: str(f.id))
    gateways = _gateways(gw_port, ipv6_gateway) if gw_port else {}
    routes = _routes(router.get("routes") or [], gateways, notes)
    floating = {f["floating_ip_address"]: f["fixed_ip_address"] for f in fips}
    own = {str(ipaddress.ip_interface(c).ip) for c in (outer.cidrs if outer else ())}
    forwarded = {str(f.floating_ip_address) for f in forwards}
    return Plan(
        ports=(*inner, *([outer] if outer else [])),
        floating=tuple(sorted((set(floating) | forwarded) - own)),
        gateways=tuple(gateways.values()),
        onlink=tuple(_onlink(gw_port, gateways)) if gw_port else (),
        routes=routes,
        rules={
            "inner": [{"interface": p.name, "addresses": list(p.cidrs)} for p in inner],
            "outer": outer.name if outer else None,
            "address": next((a for a in (_ip4(c) for c in (outer.cidrs if outer else ())) if a), None),
            "snat": outer is not None and bool(router.get("enable_snat", True)),
            "unchanged": sorted(_unchanged(given_inner, gw_port)) if gw_port else [],
            "floating": [{"fixed": fixed, "floating": outside} for outside, fixed in sorted(floating.items())],
            "forwards": [_forward(f) for f in forwards],
            "metadata": metadata,
            "apart": _apart(given_inner, gw_port, bool(router.get("enable_snat", True))),
        },
        adverts=tuple(a for p in given_inner if (a := _advert(p))),
        notes=tuple(notes),
    )


def _ip4(cidr: str) -> str:
    found = ipaddress.ip_interface(cidr)
    return str(found.ip) if found.version == 4 else ""


def _gateways(gw_port: Mapping[str, Any], ipv6_gateway: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for subnet in gw_port.get("subnets") or []:
        if subnet.get("gateway_ip"):
            gateway = ipaddress.ip_address(subnet["gateway_ip"])
            found.setdefault(gateway.version, str(gateway))
    if ipv6_gateway:
        found.setdefault(6, ipv6_gateway)
    return found


def _onlink(gw_port: Mapping[str, Any], gateways: Mapping[int, str]) -> Iterable[str]:
    """Other networks of the external wire, and gateways that lie outside of their networks."""
    subnets = [ipaddress.ip_network(s["cidr"]) for s in gw_port.get("subnets") or []]
    for text in gateways.values():
        gateway = ipaddress.ip_address(text)
        if not (gateway.version == 6 and gateway.is_link_local) and not any(gateway in s for s in subnets):
            yield str(ipaddress.ip_network(gateway))
    for extra in gw_port.get("extra_subnets") or []:
        yield str(ipaddress.ip_network(extra["cidr"]))


def _routes(
    given: Iterable[Mapping[str, str]], gateways: dict[int, str], notes: list[str]
) -> tuple[tuple[str, str], ...]:
    """Extra routes; a default one takes the gateway's place. FreeBSD's table gets one way for a destination."""
    found: dict[str, str] = {}
    for route in sorted(given, key=lambda r: (r["destination"], r["nexthop"])):
        destination = str(ipaddress.ip_network(route["destination"], strict=False))
        if destination in _DEFAULTS:
            gateways[ipaddress.ip_network(destination).version] = route["nexthop"]
        elif destination in found:
            notes.append(
                f"several ways to {destination}: {found[destination]} is taken, {route['nexthop']} is not (multipath "
                "routes are not built)"
            )
        else:
            found[destination] = route["nexthop"]
    return tuple(found.items())


def _scope(port: Mapping[str, Any] | None, version: str = "4") -> str | None:
    return ((port or {}).get("address_scopes") or {}).get(version)


def _unchanged(inner: Iterable[Mapping[str, Any]], gw_port: Mapping[str, Any]) -> set[str]:
    """Networks of the external network's own address scope: their addresses mean the same outside."""
    scope = _scope(gw_port)
    if not scope:
        return set()
    cidrs = (c for p in inner if _scope(p) == scope for c in _port(p).cidrs)
    return {str(n) for c in cidrs if (n := ipaddress.ip_interface(c).network).version == 4}


def _apart(
    inner: list[Mapping[str, Any]], gw_port: Mapping[str, Any] | None, snat: bool
) -> list[dict[str, str | list[str]]]:
    """For each port the networks of other address scopes, which do not reach it. To the outside translated ones do."""
    found = []
    for port, external in [*((p, False) for p in inner), *([(gw_port, True)] if gw_port else [])]:
        networks = set()
        for version in ("4", "6"):
            if external and snat and version == "4":
                continue
            for other in inner:
                if other is not port and _scope(other, version) != _scope(port, version):
                    networks |= {n for n in _networks(other) if (":" in n) == (version == "6")}
        if networks:
            prefix = OUTER if external else INNER
            found.append({"interface": prefix + port["id"][:11], "networks": sorted(networks)})
    return found


def _networks(port: Mapping[str, Any]) -> set[str]:
    return {str(ipaddress.ip_interface(c).network) for c in _port(port).cidrs}


def _known(given: Any, notes: list[str]) -> bool:
    if given.protocol not in PROTOCOLS:
        notes.append(
            f"port forwarding {given.id}: protocol {given.protocol!r} is not built; {', '.join(PROTOCOLS)} are"
        )
    return given.protocol in PROTOCOLS


def _forward(given: Any) -> dict[str, Any]:
    return {
        "protocol": PROTOCOLS[given.protocol],
        "floating": str(given.floating_ip_address),
        "outer_ports": _range(given.external_port_range),
        "fixed": str(given.internal_ip_address),
        "inner_ports": _range(given.internal_port_range),
    }


def _range(text: str) -> list[int]:
    low, _, high = str(text).partition(":")
    return [int(low), int(high or low)]


def _advert(port: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the router says on a network (neutron/agent/linux/ra.py); None where it has no IPv6 network to advertise."""
    subnets = [s for s in port.get("subnets") or [] if ":" in s["cidr"]]
    if not subnets:
        return None
    modes = {s.get("ipv6_ra_mode") for s in subnets}
    autonomous = (constants.IPV6_SLAAC, constants.DHCPV6_STATELESS)
    servers = [d for s in subnets if s.get("ipv6_ra_mode") == constants.IPV6_SLAAC for d in s["dns_nameservers"] or []]
    return {
        "interface": INNER + port["id"][:11],
        "mtu": port.get("mtu") or constants.DEFAULT_NETWORK_MTU,
        "managed": constants.DHCPV6_STATEFUL in modes,
        "other": constants.DHCPV6_STATELESS in modes,
        "dns_servers": [s for s in servers if ":" in s][:MOST_SERVERS],
        "prefixes": [
            {"network": s["cidr"], "autonomous": s["ipv6_ra_mode"] in autonomous}
            for s in subnets
            if s.get("ipv6_ra_mode") in (*autonomous, constants.DHCPV6_STATEFUL)
        ],
    }
