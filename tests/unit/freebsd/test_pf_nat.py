"""Translations by the words of 04 and 08, and through the simulation's parser and listing."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.freebsd.recorded import everything
from tests.unit.freebsd.simulated import SimulatedHost

from beastack.freebsd import pf_host, pf_nat
from beastack.freebsd.errors import UnexpectedOutput
from beastack.freebsd.host import Completed
from beastack.freebsd.pf_nat import Translation
from beastack.freebsd.pf_rules import TCP, UDP, BadRule

ROUTER = next(s.output for s in everything() if s.command == "jexec qrouter pfctl -s nat")
METADATA = {
    "destination": "169.254.169.254", "destination_ports": (80, 80), "protocol": TCP, "target": "127.0.0.1",
    "target_ports": (9697, 9697), "passes": True,
}  # fmt: skip
RULES = [
    Translation("nat", "qg-1", "10.1.0.0/24", target="203.0.113.10"),
    Translation("nat", "qg-1", "10.2.0.0/24", target="203.0.113.10"),
    Translation("binat", "qg-1", "10.2.0.5", target="203.0.113.20"),
    Translation("rdr", "qr-1", **METADATA),
    Translation("rdr", "qr-2", **METADATA),
]


def loaded(rules: list[Translation]) -> list[Translation]:
    host = SimulatedHost()
    host.run(["pfctl", "-f", "-"], input="".join(f"{pf_nat.render(rule)}\n" for rule in rules))
    return pf_nat.parse(host.run(["pfctl", "-s", "nat"]).out)


def test_the_recorded_router() -> None:
    assert pf_nat.parse(ROUTER) == pf_nat.listed(RULES)


def test_a_router_is_listed_as_recorded() -> None:
    host = SimulatedHost(["qg-1", "qr-1", "qr-2"])
    host.run(["pfctl", "-f", "-"], input="".join(f"{pf_nat.render(rule)}\n" for rule in RULES))
    # pf prints a range of one port in numbers
    assert host.run(["pfctl", "-s", "nat"]).out == ROUTER.replace("port = http", "port 80:80")


ADDRESSES = st.integers(1, 0xDFFFFFFF).map(lambda n: str(ipaddress.IPv4Address(n)))
NAMES = st.from_regex(r"q[gr]-[0-9a-f]{1,11}", fullmatch=True)
RANGES = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(lambda p: (min(p), max(p)))
NETWORKS = st.tuples(st.integers(1, 0xDFFFFFFF), st.integers(1, 31)).map(
    lambda p: str(ipaddress.IPv4Network((p[0] >> (32 - p[1]) << (32 - p[1]), p[1])))
)
PROTOCOLS = st.sampled_from([TCP, UDP])
TRANSLATIONS = st.one_of(
    st.builds(lambda i, s, n, t: Translation("nat", i, s, n, target=t), NAMES, NETWORKS, st.booleans(), ADDRESSES),
    st.builds(lambda i, s, d: Translation("nat", i, s, destination=d, negated=True), NAMES, NETWORKS, NETWORKS),
    st.builds(lambda i, s, t: Translation("binat", i, s, target=t), NAMES, ADDRESSES, ADDRESSES),
    st.builds(lambda i, d, t: Translation("rdr", i, destination=d, target=t), NAMES, ADDRESSES, ADDRESSES),
    st.builds(
        lambda i, d, p, o, t, n, s: Translation(
            "rdr", i, destination=d, destination_ports=o, protocol=p, target=t, target_ports=(n, n), passes=s
        ),
        NAMES, ADDRESSES, PROTOCOLS, RANGES, ADDRESSES, st.integers(1, 65535), st.booleans(),
    ),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(TRANSLATIONS, max_size=5))
def test_translations_survive_pf(rules: list[Translation]) -> None:
    assert loaded(rules) == pf_nat.listed(rules)


@pytest.mark.parametrize(
    "values",
    [
        {"source": "10.1.0.1/24"}, {"source": ""}, {"target": "203.0.113.0/28"}, {"target": "2001:db8::1"},
        {"target": ""}, {"interface": "qg 1"}, {"interface": "x" * 16}, {"interface": "qg-1\npass all"},
        {"source": "", "destination": "10.0.0.1", "source_not": True}, {"target_ports": (80, 80)},
        {"action": "binat"}, {"action": "binat", "source": ""}, {"action": "pass"},
        {"negated": True}, {"protocol": 0}, {"protocol": 1, "destination_ports": (80, 80)},
        {"protocol": TCP, "destination_ports": (0, 80)}, {"protocol": TCP, "destination_ports": (81, 80)},
        {"action": "rdr", "protocol": TCP, "target_ports": (80, 65536)}, {"source": "fd00::/64"},
    ],
)  # fmt: skip
def test_translations_that_cannot_be(values: dict[str, object]) -> None:
    good = {"action": "nat", "interface": "qg-1", "source": "10.1.0.0/24", "target": "203.0.113.10"}
    Translation(**good)  # type: ignore[arg-type]
    with pytest.raises(BadRule):
        Translation(**good | values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    [
        "nat on qg-1 inet from 10.1.0.0/24 to any -> 203.0.113.10 static-port", "nat on qg-1 inet from any to any -> x",
        "nat on qg-1 inet6 from 10.1.0.0/24 to any -> 203.0.113.10", "rdr on qr-1 inet all -> 127.0.0.1",
        "no nat on qg-1 all", "nat on qg-1 inet from any to any -> 203.0.113.10", "",
        "rdr pass on qr-1 inet proto tcp from any to 10.0.0.1 port = nosuchport -> 127.0.0.1 port 80",
    ],
)  # fmt: skip
def test_lines_that_are_not_ours(line: str) -> None:
    with pytest.raises(UnexpectedOutput):
        pf_nat.parse(line + "\n")


def test_limits_are_read_back() -> None:
    class Stubborn(SimulatedHost):
        def run(self, argv, **kw):  # type: ignore[no-untyped-def]
            if list(argv) == ["pfctl", "-s", "memory"]:
                return Completed(tuple(argv), 0, "states        hard limit   100000\n", "")
            return super().run(argv, **kw)

    with pytest.raises(UnexpectedOutput, match="states"):
        pf_host.prepare(Stubborn())
