"""A router's pf: rules as text and back by the transcript and the simulation's pfctl; packets through both."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.freebsd.simulated import SimulatedHost
from tests.unit.sim.pf.frames import udp
from tests.unit.transcripts import steps

from beastack.freebsd import pf_nat, pf_router
from beastack.freebsd.errors import CommandFailed, UnexpectedOutput
from beastack.freebsd.pf_nat import Translation
from beastack.freebsd.pf_router import Apart, Floating, Forward, Inner, Router
from beastack.freebsd.pf_rules import BadRule

QG, QR1, QR2 = "qg-00000000-01", "qr-00000000-01", "qr-00000000-02"
ONE = Inner(QR1, ("10.1.0.1/24", "2001:db8:1::1/64"))
TWO = Inner(QR2, ("10.2.0.1/24",))
FULL = Router(
    inner=(ONE, TWO),
    outer=QG,
    address="203.0.113.10",
    snat=True,
    floating=(Floating("10.2.0.5", "203.0.113.20"),),
    forwards=(Forward(6, "203.0.113.21", (8000, 8009), "10.1.0.5", (80, 89)),),
    proxy_port=9697,
)

hosts = st.integers(1, 2**32 - 2).map(lambda n: str(ipaddress.IPv4Address(n)))
networks = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 31)).map(
    lambda p: str(ipaddress.IPv4Network((p[0] >> (32 - p[1]) << (32 - p[1]), p[1])))
)
ports = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(lambda p: (min(p), max(p)))


@st.composite
def translations(draw: st.DrawFn) -> Translation:
    action = draw(st.sampled_from(pf_nat.ACTIONS))
    negated = draw(st.booleans())
    protocol = draw(st.sampled_from([None, 1, 6, 17, 132]))
    ported = protocol in (6, 17, 132) and action != "binat"
    return Translation(
        action,
        draw(st.sampled_from([QG, QR1, "em0"])),
        source=draw(hosts) if action == "binat" else draw(st.one_of(hosts, networks)),
        source_not=action != "binat" and draw(st.booleans()),
        destination=draw(st.one_of(st.just(""), hosts, networks)),
        destination_ports=draw(st.one_of(st.none(), ports)) if ported else None,
        protocol=protocol,
        target="" if negated else draw(hosts),
        target_ports=draw(st.one_of(st.none(), ports)) if ported and action == "rdr" and not negated else None,
        negated=negated,
        passes=not negated and draw(st.booleans()),
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(translations(), max_size=5))
def test_what_is_written_is_read_back(wanted: list[Translation]) -> None:
    host = SimulatedHost()
    host.run(["pfctl", "-f", "-"], input="".join(pf_nat.render(rule) + "\n" for rule in wanted))
    assert pf_nat.parse(host.run(["pfctl", "-s", "nat"]).out) == pf_nat.listed(wanted)


def test_the_transcripts_listing_is_read() -> None:
    listing = next(s for s in steps("08-router.txt") if s.command == "jexec qrouter pfctl -s nat")
    found = pf_nat.parse(listing.output)
    assert found[0] == Translation("nat", "qg-1", source="10.1.0.0/24", target="203.0.113.10")
    assert found[2].destination_ports == (80, 80) and found[2].target_ports == (9697, 9697) and found[2].passes
    assert found[4] == Translation("binat", "qg-1", source="10.2.0.5", target="203.0.113.20")


@pytest.mark.parametrize("line", ["nat on qg-1 inet6 from any to any -> ::1", "match in all", "nat on qg-1"])
def test_another_rule_is_not_taken_for_one_of_ours(line: str) -> None:
    with pytest.raises(UnexpectedOutput):
        pf_nat.parse(line + "\n")


@pytest.mark.parametrize(
    "values",
    [
        {"action": "pass"},
        {"interface": "qg\n"},
        {"source": "10.0.0.1/24"},
        {"source": "2001:db8::1"},
        {"source": "", "destination": ""},
        {"target": "10.0.0.0/24"},
        {"target": ""},
        {"destination_ports": (1, 2)},
        {"protocol": 6, "destination_ports": (2, 1)},
        {"action": "binat", "source": "10.0.0.0/24"},
        {"negated": True},
    ],
)
def test_what_pf_could_not_mean_is_no_rule(values: dict[str, object]) -> None:
    good: dict[str, object] = {"action": "nat", "interface": QG, "source": "10.0.0.1", "target": "203.0.113.1"}
    Translation(**good)  # type: ignore[arg-type]
    with pytest.raises(BadRule):
        Translation(**(good | values))  # type: ignore[arg-type]


def test_rules_are_loaded_once_and_states_live_on() -> None:
    host = SimulatedHost()
    assert pf_router.load(host, FULL)
    assert pf_router.read(host) == pf_router.rules(FULL)
    host.ran.clear()
    assert not pf_router.load(host, FULL)
    assert not [argv for argv in host.ran if "-f" in argv or "-k" in argv or "-F" in argv]


def test_states_of_a_floating_ip_that_leads_elsewhere_end() -> None:
    host = SimulatedHost()
    pf_router.load(host, FULL)
    moved = Router(**{**vars(FULL), "floating": (Floating("10.2.0.6", "203.0.113.20"),)})
    host.ran.clear()
    pf_router.load(host, moved)
    assert [argv[-1] for argv in host.ran if "-k" in argv] == ["203.0.113.20", "203.0.113.20"]


def test_another_inner_network_ends_no_state() -> None:
    host = SimulatedHost()
    pf_router.load(host, FULL)
    host.ran.clear()
    pf_router.load(host, Router(**{**vars(FULL), "inner": (ONE,)}))
    assert [argv for argv in host.ran if "-f" in argv]
    assert not [argv for argv in host.ran if "-k" in argv or "-F" in argv]


def test_a_router_whose_rules_are_refused_passes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    host = SimulatedHost()
    pf_router.load(host, Router(inner=(ONE,)))
    monkeypatch.setattr(pf_router.Ruleset, "text", lambda _: "nonsense\n")
    with pytest.raises(CommandFailed):
        pf_router.load(host, FULL)
    assert host.run(["pfctl", "-sr"]).out == "block drop quick all\n"
    assert host.run(["pfctl", "-s", "nat"]).out == ""


def test_inner_networks_are_not_translated_among_each_other() -> None:
    assert {r.interface for r in pf_router.rules(FULL).translations if r.action == "nat" and not r.negated} == {
        QG,
        QR1,
        QR2,
    }
    between = [
        r
        for r in pf_router.rules(FULL).translations
        if r.interface != QG and r.action == "nat" and not r.negated and r.destination != r.source
    ]
    # only a guest to its own network, which the router sees when a floating IP was asked for
    assert {(r.source, r.destination) for r in between} == {("10.2.0.5", "10.2.0.0/24")}


def test_without_snat_only_floating_ips_are_translated() -> None:
    plain = pf_router.rules(Router(**{**vars(FULL), "snat": False}))
    assert not [r for r in plain.translations if r.interface == QG and r.action == "nat"]
    assert [r.target for r in plain.translations if r.action == "binat"] == ["203.0.113.20"]


def test_networks_of_the_outer_address_scope_leave_as_they_are() -> None:
    found = pf_router.rules(Router(**{**vars(FULL), "unchanged": ("10.1.0.0/24",)})).translations
    nats = [r for r in found if r.interface == QG and r.action == "nat"]
    assert nats[0].negated and nats[0].source == "10.1.0.0/24" and nats[1].target == "203.0.113.10"


def test_networks_of_another_address_scope_do_not_leave_untranslated() -> None:
    host = SimulatedHost()
    apart = Router(
        **{**vars(FULL), "apart": (Apart(QR2, ("10.1.0.0/24", "2001:db8:1::/64")), Apart(QG, ("10.2.0.0/24",)))}
    )
    assert pf_router.load(host, apart)
    assert pf_router.read(host) == pf_router.rules(apart)
    now = 1.0

    def passes(interface: str, direction: str, source: str, target: str) -> bool:
        return host.pf.judge(interface, direction, udp(source, 1, target, 2), now) is not None

    assert passes(QR1, "in", "10.1.0.5", "10.2.0.6")
    assert not passes(QR2, "out", "10.1.0.5", "10.2.0.6")
    assert passes(QR1, "out", "10.2.0.6", "10.1.0.5"), "only what was said"
    # with SNAT the outside sees the router's address
    assert passes(QG, "out", "10.2.0.6", "198.51.100.7")
    assert pf_router.load(host, Router(**{**vars(apart), "snat": False, "floating": ()}))
    host.run(["pfctl", "-F", "states"])
    assert not passes(QG, "out", "10.2.0.6", "198.51.100.7")
    assert passes(QG, "out", "10.1.0.6", "198.51.100.7")
