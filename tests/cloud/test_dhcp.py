"""What DHCP tells a guest: both families, routes, names, options of a port, and nothing of what breaks a line."""

import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import until
from .leases import offered
from .stand_in import StandIn, on_host
from .tenant import Tenant, borrowed, four, six

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
MTU, DNS, DOMAIN, BOOTFILE, ROUTES = 26, 6, 15, 67, 121
DNS6 = 23


@pytest.fixture(scope="module")
def tenant(api: Any, demo: Any) -> Iterator[Tenant]:
    with borrowed(api, demo) as made:
        yield made


@pytest.fixture(scope="module")
def guests(tenant: Tenant) -> tuple[StandIn, StandIn]:
    """The first on IPv4 with options of its own and stateful IPv6, the second on a network of stateless IPv6."""
    routes = {"host_routes": [{"destination": "10.66.0.0/16", "nexthop": "10.5.0.66"}], "dns_nameservers": ["9.9.9.9"]}
    first, _ = tenant.network("dhcp-1", four("10.5.0.0/24") | routes, six("fd00:5::/64", "dhcpv6-stateful"))
    second, _ = tenant.network("dhcp-2", six("fd00:6::/64", "dhcpv6-stateless") | {"dns_nameservers": ["2001:db8::53"]})
    options = [
        {"opt_name": "bootfile-name", "opt_value": "boot/this"},
        {"opt_name": "router", "opt_value": "10.5.0.1\ntag:x,option:dns-server,192.0.2.66"},
    ]
    made = (tenant.guest("leases-1", first, extra_dhcp_opts=options), tenant.guest("leases-2", second))
    for guest in made:
        guest.wired()
    return made


def routes(data: bytes) -> dict[str, str]:
    """Option 121 (RFC 3442)."""
    found, at = {}, 0
    while at < len(data):
        length = data[at]
        size = (length + 7) // 8
        network = ipaddress.IPv4Network((data[at + 1 : at + 1 + size].ljust(4, b"\0"), length))
        found[str(network)] = str(ipaddress.IPv4Address(data[at + 1 + size : at + 5 + size]))
        at += 5 + size
    return found


def test_ipv4(tenant: Tenant, guests: tuple[StandIn, StandIn]) -> None:
    guest = guests[0]
    offer = offered(guest)
    assert offer.address == guest.address
    assert int.from_bytes(offer.options[MTU]) == tenant.admin.network.get_network(guest.port.network_id).mtu
    assert str(ipaddress.IPv4Address(offer.options[DNS])) == "9.9.9.9"
    assert offer.options[DOMAIN].rstrip(b"\0") == b"openstacklocal"
    assert offer.options[BOOTFILE].rstrip(b"\0") == b"boot/this", "an option of this port"
    told = routes(offer.options[ROUTES])
    assert told["10.66.0.0/16"] == "10.5.0.66" and told["0.0.0.0/0"] == "10.5.0.1"
    assert told["169.254.169.254/32"].startswith("10.5.0.")


def test_an_option_with_a_line_break_is_left_out(guests: tuple[StandIn, StandIn]) -> None:
    jail = f"qdhcp-{guests[0].port.network_id}"
    assert jail in on_host("jls", "name").stdout
    assert (
        "192.0.2.66"
        not in on_host("sh", "-c", f"exec cat /var/lib/beastack/*/data/hosts/fbsd1/neutron/*/{jail[6:]}*/opts").stdout
    )


def test_ipv6_stateful(guests: tuple[StandIn, StandIn]) -> None:
    until("an IPv6 offer", lambda: offered(guests[0], "6").address == guests[0].address6, 30)


def test_ipv6_stateless(guests: tuple[StandIn, StandIn]) -> None:
    offer = offered(guests[1], "info")
    assert offer.address == ""
    assert str(ipaddress.IPv6Address(offer.options[DNS6][:16])) == "2001:db8::53"
