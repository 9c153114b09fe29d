"""Jails, routes and sysctls against recorded output."""

import pytest
from tests.unit.transcripts import FakeHost, steps

from beastack.freebsd import jail, route, sysctl
from beastack.freebsd.errors import UnexpectedOutput


def recorded(name: str, command: str) -> str:
    return next(s.output for s in steps(name) if s.command == command)


JLS = recorded("03-jails.txt", "jls --libxo json -n")
NETSTAT = recorded("03-jails.txt", "jexec qdhcp-a netstat --libxo json -rn -f inet")
NO_JAILS = '{"__version": "2", "jail-information": {"jail": []}}'


def test_jls_is_read() -> None:
    assert jail.parse_jails(JLS) == {"qdhcp-a": jail.Jail(1, "qdhcp-a", "qdhcp-a", True)}
    assert jail.parse_jails(NO_JAILS) == {}


@pytest.mark.parametrize("text", ["", "{}", JLS[:100], '{"jail-information": {"jail": [{"name": "x"}]}}'])
def test_broken_jls_is_unknown(text: str) -> None:
    with pytest.raises(UnexpectedOutput):
        jail.parse_jails(text)


def test_a_jail_is_made_once() -> None:
    up = "jexec qdhcp-a ifconfig lo0 127.0.0.1/8 up"
    host = FakeHost({"jls --libxo json -n": JLS, up: ""})
    jail.ensure_vnet(host, "qdhcp-a")
    assert host.ran == ["jls --libxo json -n", up]


def test_a_jails_interfaces_leave_before_it_goes() -> None:
    inside = "lo0: flags=8008<LOOPBACK> metric 0 mtu 16384\nns-1: flags=8843<UP> metric 0 mtu 1500\n"
    host = FakeHost({"jexec q ifconfig -a": inside, "ifconfig ns-1 -vnet q": "", "jail -r q": ""})
    jail.remove(host, "q")
    assert host.ran[-2:] == ["ifconfig ns-1 -vnet q", "jail -r q"]


def test_a_jail_that_is_gone_is_removed() -> None:
    jail.remove(FakeHost({"jexec q ifconfig -a": ('jexec: jail "q" not found\n', 1)}), "q")


def test_routes_are_read() -> None:
    routes = route.parse_routes(NETSTAT)
    assert routes[0] == route.Route("default", "10.9.0.1", "ns-port")
    assert len(routes) == 4


def test_the_default_route_changes_only_when_it_differs() -> None:
    table = "netstat --libxo json -rn -f inet"
    host = FakeHost({table: NETSTAT, "route delete default": "", "route add default 10.9.0.9": ""})
    route.set_default(host, "10.9.0.1")
    assert host.ran == [table]
    route.set_default(host, "10.9.0.9")
    assert host.ran[2:] == ["route delete default", "route add default 10.9.0.9"]


def test_a_sysctl_is_read_back() -> None:
    name = "net.link.bridge.pfil_member"
    host = FakeHost({f"sysctl -n {name}": "0\n", f"sysctl {name}=1": f"{name}: 0 -> 1\n"})
    with pytest.raises(UnexpectedOutput, match="read back as 1"):
        sysctl.ensure(host, name, 1)
    assert sysctl.ensure(host, name, 0) is False
