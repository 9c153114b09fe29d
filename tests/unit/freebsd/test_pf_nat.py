"""Translations by the words of 04 and 08, and through the simulation's parser and listing."""

import ipaddress
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.freebsd.recorded import everything
from tests.unit.freebsd.simulated import SimulatedHost

from beastack.freebsd import pf_host, pf_nat
from beastack.freebsd.errors import CommandTimedOut, RulesRefused, UnexpectedOutput
from beastack.freebsd.host import Completed
from beastack.freebsd.pf_nat import Binat, Nat, Redirect, Translation
from beastack.freebsd.pf_rules import BadRule

ROUTER = next(s.output for s in everything() if s.command == "jexec qrouter pfctl -s nat")
RULES: list[Translation] = [
    Nat("qg-1", "10.1.0.0/24", "203.0.113.10"),
    Nat("qg-1", "10.2.0.0/24", "203.0.113.10"),
    Binat("qg-1", "10.2.0.5", "203.0.113.20"),
    Redirect("qr-1", 6, "169.254.169.254", 80, "127.0.0.1", 9697),
    Redirect("qr-2", 6, "169.254.169.254", 80, "127.0.0.1", 9697),
]


def test_the_recorded_router() -> None:
    assert pf_nat.parse_translations(ROUTER) == pf_nat.listed(RULES)
    loaded = next(s.command for s in everything() if "nat on qg-1" in s.command and "pfctl -f" in s.command)
    assert RULES[0].render() in loaded
    assert RULES[2].render() in loaded
    assert RULES[3].render().replace("qr-1", "{ qr-1 qr-2 }") in loaded


def test_a_router_is_loaded_and_read_back() -> None:
    host = SimulatedHost(["qg-1", "qr-1", "qr-2"])
    pf_nat.load(host, RULES)
    assert pf_nat.read(host) == pf_nat.listed(RULES)
    assert host.run(["pfctl", "-s", "nat"]).out == ROUTER
    pf_nat.load(host, [])
    assert pf_nat.read(host) == []


ADDRESSES = st.integers(1, 0xDFFFFFFF).map(lambda n: str(ipaddress.IPv4Address(n)))
NAMES = st.from_regex(r"q[gr]-[0-9a-f]{1,11}", fullmatch=True)
PORTS = st.integers(1, 65535)
NETWORKS = st.tuples(st.integers(1, 0xDFFFFFFF), st.integers(1, 31)).map(
    lambda p: str(ipaddress.IPv4Network((p[0] >> (32 - p[1]) << (32 - p[1]), p[1])))
)
TRANSLATIONS = st.one_of(
    st.builds(Nat, NAMES, NETWORKS, ADDRESSES, st.just("") | NETWORKS | NETWORKS.map(lambda n: f"! {n}")),
    st.builds(Binat, NAMES, ADDRESSES, ADDRESSES),
    st.builds(Redirect, NAMES, st.sampled_from([6, 17]), ADDRESSES, PORTS, ADDRESSES, PORTS),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(TRANSLATIONS, max_size=5))
def test_translations_survive_pf(rules: list[Translation]) -> None:
    host = SimulatedHost()
    pf_nat.load(host, rules)
    assert pf_nat.read(host) == pf_nat.listed(rules)


def test_six() -> None:
    line = "binat on qg-1 inet6 from fd00::5 to any -> 2001:db8::5"
    assert pf_nat.parse_translations(line) == [Binat("qg-1", "fd00::5", "2001:db8::5")]
    assert Binat("qg-1", "fd00::5", "2001:db8::5").render() == line


class Changing(SimulatedHost):
    """A pf that loses or changes what was loaded, or stops answering."""

    def __init__(self, seen: str, instead: str | None) -> None:
        super().__init__()
        self.seen, self.instead = seen, instead

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = 20.0, check: bool = True
    ) -> Completed:
        if self.seen in argv and "block drop all" not in (input or ""):
            if self.instead is None:
                raise CommandTimedOut(argv, timeout)
            return Completed(tuple(argv), 0, self.instead, "")
        return super().run(argv, input=input, timeout=timeout, check=check)


@pytest.mark.parametrize(
    ("seen", "instead", "kind"),
    [("nat", "", pf_nat.TranslationsDiffer), ("nat", "what?\n", UnexpectedOutput), ("nat", None, CommandTimedOut),
     ("-sr", "pass all no state\n", pf_nat.TranslationsDiffer), ("-f", None, CommandTimedOut)],
)  # fmt: skip
def test_what_cannot_be_trusted_closes_the_router(seen: str, instead: str | None, kind: type[Exception]) -> None:
    host = Changing(seen, instead)
    with pytest.raises(kind):
        pf_nat.load(host, RULES)
    host.seen = "nothing"
    assert pf_nat.read(host) == []
    assert host.run(["pfctl", "-sr"]).out == "block drop all\n"


def test_refused_rules_are_told() -> None:
    class Refusing(SimulatedHost):
        def run(self, argv, **kw):  # type: ignore[no-untyped-def]
            if "nat on" in (kw.get("input") or ""):
                kw["input"] += "pass in quick proto foo all\n"
            return super().run(argv, **kw)

    with pytest.raises(RulesRefused):
        pf_nat.load(Refusing(), RULES)


@pytest.mark.parametrize(
    "values",
    [
        (Nat, "qg-1", "10.1.0.1/24", "203.0.113.10"), (Nat, "qg-1", "", "203.0.113.10"),
        (Nat, "qg-1", "10.1.0.0/24", "203.0.113.0/28"), (Nat, "qg-1", "10.1.0.0/24", "2001:db8::1"),
        (Nat, "qg 1", "10.1.0.0/24", "203.0.113.10"), (Nat, "qg-1", "10.1.0.0/24", "203.0.113.10", "! "),
        (Nat, "qg-1", "10.1.0.0/24", "203.0.113.10", "2001:db8::/32"), (Nat, "x" * 16, "10.1.0.0/24", "203.0.113.10"),
        (Binat, "qg-1", "10.1.0.0/24", "203.0.113.10"), (Binat, "qg-1", "any", "203.0.113.10"),
        (Binat, "qg-1\npass all", "10.1.0.5", "203.0.113.10"), (Binat, "qg-1", "10.1.0.5", "2001:db8::1"),
        (Redirect, "qr-1", 1, "10.0.0.1", 80, "127.0.0.1", 80), (Redirect, "qr-1", 6, "10.0.0.1", 0, "127.0.0.1", 80),
        (Redirect, "qr-1", 6, "10.0.0.1", 80, "127.0.0.1", 65536), (Redirect, "qr-1", 6, "10.0.0.1", 80, "::1", 80),
    ],
)  # fmt: skip
def test_translations_that_cannot_be(values: tuple[type, object]) -> None:
    kind, *rest = values
    with pytest.raises(BadRule):
        kind(*rest)


@pytest.mark.parametrize(
    "line",
    [
        "nat on qg-1 inet from 10.1.0.0/24 to any -> 203.0.113.10 static-port", "nat on qg-1 inet from any to any -> x",
        "nat on qg-1 inet6 from 10.1.0.0/24 to any -> 203.0.113.10", "rdr on qr-1 inet all -> 127.0.0.1",
        "no nat on qg-1 all", "nat pass on qg-1 inet from 10.1.0.0/24 to any -> 203.0.113.10",
        "rdr pass on qr-1 inet proto tcp from any to 10.0.0.1 port = nosuchport -> 127.0.0.1 port 80", "",
    ],
)  # fmt: skip
def test_lines_that_are_not_ours(line: str) -> None:
    with pytest.raises(UnexpectedOutput):
        pf_nat.parse_translations(line + "\n")


def test_limits_are_read_back() -> None:
    class Stubborn(SimulatedHost):
        def run(self, argv, **kw):  # type: ignore[no-untyped-def]
            if list(argv) == ["pfctl", "-s", "memory"]:
                return Completed(tuple(argv), 0, "states        hard limit   100000\n", "")
            return super().run(argv, **kw)

    with pytest.raises(UnexpectedOutput, match="states"):
        pf_host.prepare(Stubborn())
