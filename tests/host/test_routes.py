"""Routes and forwarding in vnet jails (transcript 03, route(8))."""

import pytest

from beastack.freebsd import ifnet, route, sysctl
from beastack.freebsd.errors import CommandFailed, NoSuchRoute, RouteExists
from beastack.freebsd.host import Host

from .lab import Guest, Lab, until
from .test_guards import Capture


def _default(guest: Guest, family: str = "inet") -> list[str]:
    return [r.gateway for r in route.list_routes(guest.host, family) if r.destination in ("default", "::/0")]


def test_the_default_route_is_set_changed_and_removed(lab: Lab) -> None:
    _bridge, (one, _two) = lab.guests(2)
    assert _default(one) == []
    for gateway in ("10.5.0.2", "10.5.0.254", "10.5.0.254"):
        route.set_default(one.host, gateway)
        assert _default(one) == [gateway]
    route.set_default(one.host, None)
    route.set_default(one.host, None)
    assert _default(one) == []


def test_the_default_route_of_ipv6(lab: Lab) -> None:
    _bridge, (one, _two) = lab.guests(2)
    ifnet.add_address(one.host, one.nic, "2001:db8:5::1/64")
    route.set_default(one.host, "2001:db8:5::2", version=6)
    assert _default(one, "inet6") == ["2001:db8:5::2"]
    route.set_default(one.host, None, version=6)
    assert _default(one, "inet6") == []


def test_a_jail_routes_between_two_networks(lab: Lab) -> None:
    left, right = lab.bridge(0), lab.bridge(1)
    one = lab.guest(1, left)
    two = lab.guest(2, right, "10.6.0.2/24")
    router = lab.guest(3, left)
    port, nic = lab.plug(4, router.jail)
    ifnet.attach_member(lab.host, right, port)
    ifnet.add_address(router.host, nic, "10.6.0.3/24")
    ifnet.set_up(router.host, nic)
    route.set_default(one.host, "10.5.0.3")
    route.set_default(two.host, "10.6.0.3")
    one.reaches("10.5.0.3")
    two.reaches("10.6.0.3")
    assert not one.pings("10.6.0.2")
    assert sysctl.ensure(router.host, "net.inet.ip.forwarding", 1)
    one.reaches("10.6.0.2")
    # it is the jail's own setting
    assert sysctl.read_int(one.host, "net.inet.ip.forwarding") == 0


def test_errors_are_typed(lab: Lab) -> None:
    _bridge, (one, _two) = lab.guests(2)
    one.host.run(["route", "add", "10.77.0.0/16", "10.5.0.2"])
    with pytest.raises(RouteExists):
        one.host.run(["route", "add", "10.77.0.0/16", "10.5.0.2"])
    one.host.run(["route", "delete", "10.77.0.0/16"])
    with pytest.raises(NoSuchRoute):
        one.host.run(["route", "delete", "10.77.0.0/16"])
    with pytest.raises(CommandFailed):
        one.host.run(["route", "add", "10.77.0.0/16", "10.99.0.1"])


def test_the_hosts_own_table_is_read(host: Host) -> None:
    route.list_routes(host)
    route.list_routes(host, "inet6")


def test_a_router_tells_of_shorter_ways_unless_it_must_not(lab: Lab) -> None:
    """A translating router must not (privsep/routers.py): the shorter way leads past its translations."""
    _bridge, (one, two, router) = lab.guests(3)
    ifnet.add_address(two.host, two.nic, "10.8.0.2/32")
    router.host.run(["route", "add", "10.8.0.0/24", two.address.partition("/")[0]])
    sysctl.ensure(router.host, "net.inet.ip.forwarding", 1)
    sysctl.ensure(router.host, "net.inet.ip.redirect", 0)
    route.set_default(one.host, router.address.partition("/")[0])
    told = Capture(lab, one, "icmp[icmptype]=icmp-redirect", "redirect")
    one.reaches("10.8.0.2")
    assert [one.pings("10.8.0.2") for _ in range(3)] == [True] * 3
    assert told.frames() == []
    sysctl.ensure(router.host, "net.inet.ip.redirect", 1)

    def seen() -> bool:
        one.pings("10.8.0.2")
        return bool(told.frames())

    until(seen, "a redirect")
