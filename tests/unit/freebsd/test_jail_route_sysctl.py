"""Jails, routes and sysctls against recorded output."""

import pytest
from tests.unit.transcripts import FakeHost, steps

from beastack.freebsd import jail, kld, route, sysctl
from beastack.freebsd.errors import (
    BadArgument,
    CommandFailed,
    NoSuchInterface,
    NoSuchJail,
    NoSuchSysctl,
    UnexpectedOutput,
)


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
    assert routes[0] == route.Route("default", "10.9.0.1", "ns-port", "UGS")
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


TABLE = "netstat --libxo json -rn -f inet"
TABLE6 = "netstat --libxo json -rn -f inet6"
SIX = (
    NETSTAT.replace("Internet", "Internet6")
    .replace("10.9.0.0/24", "2001:db8::/64")
    .replace('"10.9.0.1"', '"fe80::1%ns-port"')
    .replace("127.0.0.1", "fe80::%lo0/64")
)


def test_which_routes_somebody_set() -> None:
    default, wire, own, loopback = route.parse_routes(NETSTAT)
    assert [r.is_static for r in (default, wire, own, loopback)] == [True, False, False, False]
    assert [r.network is None for r in route.parse_routes(SIX)] == [True, False, False, True]


def test_a_static_route_is_set_once_and_replaced() -> None:
    with_one = NETSTAT.replace(
        '{"destination":"10.9.0.0/24","gateway":"link#5","flags":"U"',
        '{"destination":"192.0.2.0/24","gateway":"10.9.0.1","flags":"UGS"',
    )
    add = "route add -net 192.0.2.0/24 10.9.0.1"
    host = FakeHost({TABLE: NETSTAT, add: "add net 192.0.2.0: gateway 10.9.0.1\n"})
    route.ensure(host, "192.0.2.0/24", "10.9.0.1")
    assert host.ran == [TABLE, add]
    host.answers[TABLE] = with_one
    route.ensure(host, "192.0.2.0/24", "10.9.0.1")
    assert host.ran[2:] == [TABLE]
    host.answers |= {"route delete -net 192.0.2.0/24": "", "route add -net 192.0.2.0/24 10.9.0.7": ""}
    route.ensure(host, "192.0.2.0/24", "10.9.0.7")
    assert host.ran[-2:] == ["route delete -net 192.0.2.0/24", "route add -net 192.0.2.0/24 10.9.0.7"]


def test_routes_of_ipv6_and_onto_an_interface() -> None:
    host = FakeHost(
        {TABLE6: SIX, "route -6 add -net 2001:db8:1::/48 fe80::2%ns-port": "", TABLE: NETSTAT,
         "route add -net 198.51.100.7/32 -interface ns-port": "",
         "route -6 delete -net 2001:db8:1::/48":
         ("route: route has not been found\ndelete net 2001:db8:1:: fib 0: not in table\n", 1)}
    )  # fmt: skip
    route.ensure(host, "2001:db8:1::/48", "fe80::2%ns-port")
    route.ensure(host, "198.51.100.7/32", interface="ns-port")
    route.remove(host, "2001:db8:1::/48")
    assert len(host.ran) == 5


def test_two_callers_and_one_route() -> None:
    step = next(s for s in steps("03-jails.txt") if "route add -net" in s.command and s.rc)
    host = FakeHost({TABLE: NETSTAT, "route add -net 192.0.2.0/24 10.9.0.1": (step.output, 1)})
    with pytest.raises(UnexpectedOutput, match=r"10\.9\.0\.1"):
        route.ensure(host, "192.0.2.0/24", "10.9.0.1")


@pytest.mark.parametrize(
    ("destination", "gateway", "interface"),
    [("192.0.2.1/24", "10.9.0.1", None), ("192.0.2.0/24", None, None), ("192.0.2.0/24", "10.9.0.1", "em0"),
     ("192.0.2.0/24", "fe80::1", None), ("192.0.2.0/24", "host", None), ("x", "10.9.0.1", None)],
)  # fmt: skip
def test_routes_that_cannot_be(destination: str, gateway: str | None, interface: str | None) -> None:
    with pytest.raises(ValueError, match=r"."):
        route.ensure(FakeHost({}), destination, gateway, interface)


def test_a_default_that_is_refused_leaves_the_old_one() -> None:
    refused = ("route: message indicates error: Invalid argument\n", 1)
    host = FakeHost(
        {TABLE: NETSTAT, "route delete default": "", "route add default 10.9.0.9": refused,
         "route add default 10.9.0.1": ""}
    )  # fmt: skip
    with pytest.raises(BadArgument):
        route.set_default(host, "10.9.0.9")
    assert host.ran[-1] == "route add default 10.9.0.1"


CREATE = "jail -c name=q path=/ host.hostname=q vnet persist allow.raw_sockets"


def test_a_jail_that_cannot_be_finished_is_removed() -> None:
    up = "jexec q ifconfig lo0 127.0.0.1/8 up"
    host = FakeHost({"jls --libxo json -n": NO_JAILS, CREATE: "", up: ("ifconfig: x\n", 1), "jail -r q": ""})
    with pytest.raises(CommandFailed):
        jail.ensure_vnet(host, "q")
    assert host.ran[-1] == "jail -r q"
    old = FakeHost({"jls --libxo json -n": JLS, up.replace(" q ", " qdhcp-a "): ("ifconfig: x\n", 1)})
    with pytest.raises(CommandFailed):
        jail.ensure_vnet(old, "qdhcp-a")
    assert not any(c.startswith("jail -r") for c in old.ran)


def test_a_jail_without_a_stack_of_its_own_is_not_ours_to_use() -> None:
    host = FakeHost({"jls --libxo json -n": JLS.replace('"vnet":"new"', '"vnet":"inherit"')})
    with pytest.raises(UnexpectedOutput, match="network stack"):
        jail.ensure_vnet(host, "qdhcp-a")


@pytest.mark.parametrize("name", ["", "1234", "q.child", "bad/name", "-x", "a b", "x" * 256, "q=1"])
def test_names_that_the_kernel_takes_for_something_else(name: str) -> None:
    with pytest.raises(ValueError, match="name for a jail"):
        jail.ensure_vnet(FakeHost({}), name)


def test_interfaces_that_vanish_while_a_jail_goes() -> None:
    inside = "lo0: flags=8008<LOOPBACK> metric 0 mtu 16384\nns-1: flags=8843<UP> metric 0 mtu 1500\n"
    gone = ("ifconfig: interface ns-1 does not exist\n", 1)
    host = FakeHost({"jexec q ifconfig -a": inside, "ifconfig ns-1 -vnet q": gone, "jail -r q": ""})
    jail.remove(host, "q")
    assert host.ran[-1] == "jail -r q"
    gone = ("ifconfig: SIOCSIFRVNET(1, ns-1): Device not configured\n", 1)
    host = FakeHost({"jexec q ifconfig -a": inside, "ifconfig ns-1 -vnet q": gone, "jail -r q": GONE_JAIL})
    jail.remove(host, "q")


GONE_JAIL = ('jail: "q" not found\n', 1)


def test_a_jail_that_goes_while_it_is_asked() -> None:
    with pytest.raises(NoSuchJail):
        FakeHost({"jexec q true": ('jexec: jail "q" not found\n', 1)}).jail("q").run(["true"])
    with pytest.raises(NoSuchInterface):
        FakeHost({"ifconfig x": ("ifconfig: interface x does not exist\n", 1)}).run(["ifconfig", "x"])


def test_modules() -> None:
    host = FakeHost({"kldload -n pf": "", "kldstat -q -m pf": "", "kldstat -q -m nosuch": ("", 1)})
    kld.ensure_loaded(host, ("pf",))
    assert kld.is_loaded(host, "pf")
    assert not kld.is_loaded(host, "nosuch")
    with pytest.raises(CommandFailed):
        kld.is_loaded(FakeHost({"kldstat -q -m pf": ("", 2)}), "pf")


def test_a_sysctl_that_this_kernel_lacks() -> None:
    host = FakeHost({"sysctl -n net.x": ("sysctl: unknown oid 'net.x'\n", 1)})
    with pytest.raises(NoSuchSysctl):
        sysctl.read_int(host, "net.x")
