"""pf(4) of a router in a vnet jail: what it translates, as typed rules, and loading them (shared/freebsd/15.1/08).

A router's pf is its jail's own. It translates and does not filter, but for what a router never forwards: packets that
come from outside with an inner address, packets into another address scope, and the DHCPv6 requests that are the DHCP
server's. Inside, nothing is
translated: nat is bound to the outer interface.

A floating IP is an address of the outer interface, so a guest that asks for it from inside would reach the router
itself (as 08 shows: the state of "hairpin" has no translation). Therefore it is redirected on the inner interfaces as
well; and where the answer would go past the router, because both guests are on one network, the source is translated
too: to the sender's own floating IP or to the router's outer address.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from beastack.freebsd.errors import HostError, UnexpectedOutput
from beastack.freebsd.host import Host
from beastack.freebsd.pf_host import enable
from beastack.freebsd.pf_nat import Translation, listed, parse, render
from beastack.freebsd.pf_read import parse_rules
from beastack.freebsd.pf_rules import TCP, UDP, Rule
from beastack.freebsd.pf_rules import render as render_filter

# Seconds for some thousand rules.
LOAD_LIMIT = 30.0
METADATA = ("169.254.169.254", 80)
DHCPV6_SERVER = (547, 547)
CLOSED = "block drop quick all\n"
_DECIDES = ("set state-policy if-bound", "set ruleset-optimization none", "set skip on lo")


class RulesDiffer(HostError):
    """pf holds other rules than were loaded; the router passes nothing now."""


@dataclass(frozen=True)
class Inner:
    """An inner interface and the router's addresses on it (``address/length``, both families)."""

    interface: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Apart:
    """Networks (either family) whose packets do not leave by ``interface``: it leads into another address scope."""

    interface: str
    networks: tuple[str, ...]


@dataclass(frozen=True)
class Floating:
    """A floating IP and the guest's address."""

    fixed: str
    floating: str


@dataclass(frozen=True)
class Forward:
    """Ports of a floating IP that lead to a guest's; both ranges have one length, or the inner one has one port."""

    protocol: int
    floating: str
    outer_ports: tuple[int, int]
    fixed: str
    inner_ports: tuple[int, int]


@dataclass(frozen=True)
class Router:
    """What a router's pf is to do. ``outer`` is the external interface, ``address`` its first IPv4 address.

    ``snat``: others than guests with a floating IP leave with ``address``; not those of ``unchanged`` networks.
    ``proxy_port``: where the metadata proxy listens on 127.0.0.1; None: there is none.
    """

    inner: tuple[Inner, ...] = ()
    outer: str | None = None
    address: str | None = None
    snat: bool = False
    unchanged: tuple[str, ...] = ()
    floating: tuple[Floating, ...] = ()
    forwards: tuple[Forward, ...] = ()
    proxy_port: int | None = None
    apart: tuple[Apart, ...] = ()


@dataclass(frozen=True)
class Ruleset:
    """pf's rules in the order in which pfctl lists them; filter rules with their interfaces."""

    translations: tuple[Translation, ...]
    filters: tuple[tuple[str, Rule], ...]

    def text(self) -> str:
        """pf.conf(5)."""
        lines = [*_DECIDES, *map(render, self.translations), *(render_filter(r, i) for i, r in self.filters)]
        return "".join(f"{line}\n" for line in lines)


def _networks(inner: Inner, version: int) -> list[str]:
    found = [ipaddress.ip_interface(a).network for a in inner.addresses]
    return sorted({str(n) for n in found if n.version == version})


def _own(inner: Inner) -> list[str]:
    return [str(i.ip) for a in inner.addresses if (i := ipaddress.ip_interface(a)).version == 4]


def rules(router: Router) -> Ruleset:
    """The router's pf. Raises BadRule for what is none."""
    translations: list[Translation] = []
    if router.outer is not None:
        translations += _outer(router, router.outer)
    for inner in router.inner:
        translations += _inner(router, inner)
    return Ruleset(tuple(listed(translations)), tuple(_filters(router)))


def _outer(router: Router, outer: str) -> Iterable[Translation]:
    for one in router.floating:
        yield Translation("binat", outer, source=one.fixed, target=one.floating)
    for forward in router.forwards:
        yield _forward(forward, outer)
    if router.snat and router.address is not None:
        for network in router.unchanged:
            yield Translation("nat", outer, source=network, negated=True)
        yield Translation("nat", outer, source=router.address, source_not=True, target=router.address)


def _forward(forward: Forward, interface: str) -> Translation:
    return Translation(
        "rdr",
        interface,
        protocol=forward.protocol,
        destination=forward.floating,
        destination_ports=forward.outer_ports,
        target=forward.fixed,
        target_ports=forward.inner_ports,
    )


def _inner(router: Router, inner: Inner) -> Iterable[Translation]:
    if router.proxy_port is not None:
        address, port = METADATA
        proxy = (router.proxy_port, router.proxy_port)
        yield Translation(
            "rdr", inner.interface, protocol=TCP, destination=address, destination_ports=(port, port),
            target="127.0.0.1", target_ports=proxy, passes=True,
        )  # fmt: skip
    if router.outer is None:
        return
    for one in router.floating:
        yield Translation("rdr", inner.interface, destination=one.floating, target=one.fixed)
    for forward in router.forwards:
        yield _forward(forward, inner.interface)
    if not router.floating and not router.forwards:
        return
    for network in _networks(inner, 4):
        # the router's own words to a guest (ICMP errors) stay its own
        for own in _own(inner):
            yield Translation("nat", inner.interface, source=own, destination=network, negated=True)
        for one in router.floating:
            if ipaddress.ip_address(one.fixed) in ipaddress.ip_network(network):
                yield Translation("nat", inner.interface, source=one.fixed, destination=network, target=one.floating)
        if router.address is not None:
            yield Translation("nat", inner.interface, source=network, destination=network, target=router.address)


def _filters(router: Router) -> Iterable[tuple[str, Rule]]:
    if router.outer is not None:
        for inner in router.inner:
            for version in (4, 6):
                for network in _networks(inner, version):
                    forged = Rule("block", "router/forged", direction="in", family=version, source=network)
                    yield router.outer, forged
    for apart in router.apart:
        for network in apart.networks:
            version = 6 if ":" in network else 4
            # what leaves translated carries the router's address here, and passes
            yield apart.interface, Rule("block", "router/scope", direction="out", family=version, source=network)
    for inner in router.inner:
        yield (
            inner.interface,
            Rule("block", "router/dhcpv6", "in", family=6, protocol=UDP, destination_ports=DHCPV6_SERVER),
        )
    for interface in [i.interface for i in router.inner] + ([router.outer] if router.outer else []):
        yield interface, Rule("pass", "router/pass", stateful=True)
        # a connection whose state was lost goes on
        yield interface, Rule("pass", "router/late")


def read(host: Host) -> Ruleset:
    """The rules in force in a jail. Raises UnexpectedOutput."""
    nat = host.run(["pfctl", "-s", "nat"], timeout=LOAD_LIMIT)
    filters = host.run(["pfctl", "-s", "rules"], timeout=LOAD_LIMIT)
    return Ruleset(tuple(parse(nat.out, nat.argv)), tuple(parse_rules(filters.out, filters.argv)))


def load(host: Host, router: Router) -> bool:
    """Make the router's rules those in force in its jail; False when they were already.

    pf changes them in one step and states live on, but for those of outer addresses whose translation is no more.
    Whatever goes wrong, the router passes nothing afterwards, and the error is raised. Raises RulesDiffer, BadRule.
    """
    wanted = rules(router)
    try:
        before: Ruleset | None = read(host)
    except UnexpectedOutput:
        before = None
    if before == wanted and not enable(host):
        return False
    try:
        _load(host, wanted.text())
        enable(host)
        found = read(host)
        if found != wanted:
            raise RulesDiffer(_difference(found, wanted))
    except HostError:
        _load(host, CLOSED)
        raise
    _withdraw(host, before, wanted)
    return True


def _withdraw(host: Host, before: Ruleset | None, after: Ruleset) -> None:
    """End the states from and to outer addresses that lead elsewhere now, or nowhere; all when nobody knows."""
    if before is None:
        host.run(["pfctl", "-q", "-F", "states"])
        return
    for address in sorted({lead[0] for lead in _leads(before) - _leads(after)}):
        host.run(["pfctl", "-q", "-k", address])
        host.run(["pfctl", "-q", "-k", "0.0.0.0/0", "-k", address])


def _load(host: Host, text: str) -> None:
    host.run(["pfctl", "-q", "-o", "none", "-f", "-"], input=text, timeout=LOAD_LIMIT)


def _difference(found: Ruleset, wanted: Ruleset) -> str:
    have = [*map(render, found.translations), *(render_filter(r, i) for i, r in found.filters)]
    want = [*map(render, wanted.translations), *(render_filter(r, i) for i, r in wanted.filters)]
    missing = next((line for line in want if line not in have), None)
    what = f"{missing!r} is missing" if missing else f"{len(have)} rules instead of {len(want)}, or their order"
    return f"the router's pf holds other rules than were loaded: {what}; it passes nothing now"


def _leads(ruleset: Ruleset) -> set[tuple[str, str, object]]:
    """Outer address, and where it leads. On which interface does not count, nor do answers between inner guests."""
    found: set[tuple[str, str, object]] = set()
    for rule in ruleset.translations:
        if rule.negated or rule.passes or (rule.action == "nat" and not rule.source_not):
            continue
        outer, inner = (rule.destination, rule.target) if rule.action == "rdr" else (rule.target, rule.source)
        found.add((outer, inner, (rule.protocol, rule.destination_ports, rule.target_ports)))
    return found
