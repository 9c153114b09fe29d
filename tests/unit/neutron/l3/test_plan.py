"""What a router's jail should be, from what the server says."""

import types
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from beastack.freebsd import pf_router
from beastack.neutron.l3 import plan
from beastack.privsep import routers

INNER = "aaaaaaaa-bbcc-4c55-9d1b-0f7a8d7f2f11"
SECOND = "bbbbbbbb-bbcc-4c55-9d1b-0f7a8d7f2f11"
OUTER = "cccccccc-bbcc-4c55-9d1b-0f7a8d7f2f11"
NET = "dddddddd-bbcc-4c55-9d1b-0f7a8d7f2f11"
EXT = "eeeeeeee-bbcc-4c55-9d1b-0f7a8d7f2f11"


def subnet(cidr: str, gateway: str | None = None, mode: str | None = None, **more: Any) -> dict[str, Any]:
    return {"id": cidr, "cidr": cidr, "gateway_ip": gateway, "ipv6_ra_mode": mode, "dns_nameservers": [], **more}


def port(id: str = INNER, cidr: str = "10.1.0.1/24", network: str = NET, **more: Any) -> dict[str, Any]:
    address, _, length = cidr.partition("/")
    return {
        "id": id,
        "network_id": network,
        "mac_address": "fa:16:3e:00:00:01",
        "mtu": 1450,
        "admin_state_up": True,
        "fixed_ips": [{"ip_address": address, "prefixlen": int(length), "subnet_id": "x"}],
        "subnets": [],
        "extra_subnets": [],
        "address_scopes": {"4": None, "6": None},
        **more,
    }


def gateway(**more: Any) -> dict[str, Any]:
    subnets = [subnet("203.0.113.0/24", "203.0.113.1")]
    return port(OUTER, "203.0.113.10/24", EXT, **{"subnets": subnets, **more})


def router(*inner: dict[str, Any], gw: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"id": "r", "_interfaces": list(inner), "gw_port": gw, "_floatingips": [], "routes": [], **more}


def forward(**more: Any) -> Any:
    given = {
        "id": "f",
        "protocol": "tcp",
        "floating_ip_address": "203.0.113.30",
        "external_port_range": "2222:2222",
        "internal_ip_address": "10.1.0.5",
        "internal_port_range": "22:22",
    }
    return types.SimpleNamespace(**{**given, **more})


def make(given: dict[str, Any], *forwards: Any, metadata: bool = True) -> plan.Plan:
    return plan.make(given, forwards, metadata)


def fip(fixed: str | None = "10.1.0.5", floating: str = "203.0.113.20") -> dict[str, Any]:
    return {"id": "i", "fixed_ip_address": fixed, "floating_ip_address": floating}


def test_an_inner_router_translates_nothing_but_metadata() -> None:
    made = make(router(port()))
    assert [p.name for p in made.ports] == ["qr-aaaaaaaa-bb"]
    assert made.rules["outer"] is None and not made.rules["snat"] and made.rules["metadata"]
    assert made.gateways == made.onlink == made.floating == ()


def test_a_gateway_brings_its_route_its_address_and_source_nat() -> None:
    made = make(router(port(), gw=gateway()))
    assert made.outer == "qg-cccccccc-bb"
    assert made.gateways == ("203.0.113.1",)
    assert made.rules["address"] == "203.0.113.10" and made.rules["snat"]
    assert not make(router(port(), gw=gateway(), enable_snat=False)).rules["snat"]


def test_a_floating_ip_is_a_single_address_of_the_outer_port() -> None:
    made = make(router(port(), gw=gateway(), _floatingips=[fip(), fip(fixed=None, floating="203.0.113.21")]))
    outer = made.ports[-1]
    assert made.addresses(outer) == ["203.0.113.10/24", "203.0.113.20/32"]
    assert made.addresses(made.ports[0]) == ["10.1.0.1/24"]
    assert made.rules["floating"] == [{"fixed": "10.1.0.5", "floating": "203.0.113.20"}]


def test_without_a_gateway_nothing_floats() -> None:
    made = make(router(port(), _floatingips=[fip()]), forward())
    assert made.floating == () and made.rules["floating"] == [] and made.rules["forwards"] == []


def test_forwarded_ports() -> None:
    ranges = forward(id="g", protocol="udp", external_port_range="40:50", internal_port_range="60:70")
    made = make(router(port(), gw=gateway()), forward(), ranges)
    assert made.floating == ("203.0.113.30",)
    assert [(f["protocol"], f["outer_ports"], f["inner_ports"]) for f in made.rules["forwards"]] == [
        (6, [2222, 2222], [22, 22]),
        (17, [40, 50], [60, 70]),
    ]


def test_a_protocol_that_is_not_built_is_said() -> None:
    made = make(router(port(), gw=gateway()), forward(protocol="dccp"))
    assert made.rules["forwards"] == [] and "'dccp' is not built" in made.notes[0]


def test_a_forward_on_the_routers_own_address_is_not_taken_from_it() -> None:
    made = make(router(port(), gw=gateway()), forward(floating_ip_address="203.0.113.10"))
    assert made.floating == () and made.addresses(made.ports[-1]) == ["203.0.113.10/24"]


def test_a_port_that_is_down_is_left_out() -> None:
    made = make(router(port(admin_state_up=False), port(SECOND, "10.2.0.1/24"), gw=gateway()))
    assert [p.name for p in made.ports] == ["qr-bbbbbbbb-bb", "qg-cccccccc-bb"]


def test_extra_routes() -> None:
    given = [
        {"destination": "10.9.0.0/16", "nexthop": "10.1.0.9"},
        {"destination": "10.9.0.0/16", "nexthop": "10.1.0.10"},
        {"destination": "0.0.0.0/0", "nexthop": "10.1.0.7"},
    ]
    made = make(router(port(), gw=gateway(), routes=given))
    assert made.routes == (("10.9.0.0/16", "10.1.0.10"),)
    assert made.gateways == ("10.1.0.7",)
    assert len(made.notes) == 1 and "10.1.0.9 is not" in made.notes[0]


def test_a_gateway_outside_of_its_network_is_on_the_wire() -> None:
    made = make(router(gw=gateway(subnets=[subnet("203.0.113.0/24", "198.51.100.1")])))
    assert made.onlink == ("198.51.100.1/32",)
    extra = make(router(gw=gateway(extra_subnets=[subnet("198.51.100.0/24")])))
    assert extra.onlink == ("198.51.100.0/24",)
    six = gateway(subnets=[subnet("2001:db8::/64", "fe80::1")])
    assert make(router(gw=six)).onlink == () and make(router(gw=six)).gateways == ("fe80::1",)


def test_the_option_is_a_gateway_where_the_network_has_none() -> None:
    assert plan.make(router(gw=gateway()), (), False, "fe80::9").gateways == ("203.0.113.1", "fe80::9")


def test_one_address_scope_is_not_translated() -> None:
    scope = {"address_scopes": {"4": "s", "6": None}}
    made = make(router(port(**scope), port(SECOND, "10.2.0.1/24"), gw=gateway(**scope)))
    assert made.rules["unchanged"] == ["10.1.0.0/24"]


def scoped(four: str | None, six: str | None = None) -> dict[str, Any]:
    return {"address_scopes": {"4": four, "6": six}}


def test_address_scopes_do_not_meet() -> None:
    def apart(*inner: dict[str, Any], gw: dict[str, Any] | None = None, snat: bool = True) -> dict[str, list[str]]:
        made = make(router(*inner, gw=gw, enable_snat=snat))
        return {a["interface"]: a["networks"] for a in made.rules["apart"]}

    one, two = port(**scoped("a")), port(SECOND, "10.2.0.1/24", **scoped("b"))
    inner = {"qr-aaaaaaaa-bb": ["10.2.0.0/24"], "qr-bbbbbbbb-bb": ["10.1.0.0/24"]}
    assert apart(one, two) == inner
    assert apart(one, port(SECOND, "10.2.0.1/24", **scoped("a"))) == apart(port(), port(SECOND, "10.2.0.1/24")) == {}
    # outside: what is translated passes, and what is of the outside's own scope
    assert apart(one, two, gw=gateway(**scoped("a"))) == inner
    assert apart(one, two, gw=gateway(**scoped("a")), snat=False) == {**inner, "qg-cccccccc-bb": ["10.2.0.0/24"]}
    six = port(cidr="fd00:1::1/64", **scoped(None, "a"))
    assert apart(six, gw=gateway()) == {"qg-cccccccc-bb": ["fd00:1::/64"]}
    assert apart(six, gw=gateway(**scoped(None, "a"))) == {}


def test_advertisements() -> None:
    def said(*subnets: dict[str, Any]) -> Any:
        return make(router(port(subnets=list(subnets)))).adverts

    assert said(subnet("10.1.0.0/24")) == ()
    (slaac,) = said(subnet("fd00::/64", "fd00::1", "slaac", dns_nameservers=["2001:db8::53", "9.9.9.9"]))
    assert slaac["prefixes"] == [{"network": "fd00::/64", "autonomous": True}]
    assert slaac["dns_servers"] == ["2001:db8::53"] and not slaac["managed"] and not slaac["other"]
    (stateless,) = said(subnet("fd00::/64", "fd00::1", "dhcpv6-stateless"))
    assert stateless["other"] and stateless["prefixes"][0]["autonomous"]
    (stateful,) = said(subnet("fd00::/64", "fd00::1", "dhcpv6-stateful"))
    assert stateful["managed"] and not stateful["prefixes"][0]["autonomous"]
    (none,) = said(subnet("fd00::/64", "fd00::1"))
    assert none["prefixes"] == []


addresses = st.integers(1, 250).map("10.1.0.{}".format)


@given(
    st.dictionaries(st.integers(20, 250).map("203.0.113.{}".format), addresses, max_size=5),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(sorted(plan.PROTOCOLS)), st.integers(1, 65535), st.integers(1, 65535))),
    st.booleans(),
)
def test_what_is_planned_the_privileged_side_takes_and_pf_can_say(
    floating: dict[str, str], snat: bool, forwards: list[tuple[str, int, int]], external: bool
) -> None:
    fips = [fip(fixed, outside) for outside, fixed in floating.items()]
    given_forwards = [
        forward(id=str(n), protocol=p, external_port_range=f"{o}:{o}", internal_port_range=f"{i}:{i}")
        for n, (p, o, i) in enumerate(forwards)
    ]
    gw = gateway() if external else None
    made = make(router(port(), gw=gw, _floatingips=fips, enable_snat=snat), *given_forwards)
    rules = pf_router.rules(routers.read_rules(dict(made.rules)))
    binats = {(r.target, r.source) for r in rules.translations if r.action == "binat"}
    assert binats == (set(floating.items()) if external else set())
