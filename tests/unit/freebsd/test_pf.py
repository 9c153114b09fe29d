"""pf: what is written is read back as it was meant, by the transcripts' words and by the simulation's parser."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.freebsd.simulated import SimulatedHost
from tests.unit.transcripts import steps

from beastack.freebsd import pf, pf_host, pf_names, pf_read
from beastack.freebsd.errors import CommandFailed, UnexpectedOutput
from beastack.freebsd.pf_rules import ICMP, ICMP6, PORT_PROTOCOLS, BadRule, Rule, address, from_dict, render, to_dict

TAP = "tap12345678-90"
PORTS = st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(lambda p: (min(p), max(p)))


def networks(family: int) -> st.SearchStrategy[str]:
    width = 32 if family == 4 else 128
    kind = ipaddress.IPv4Network if family == 4 else ipaddress.IPv6Network
    return st.tuples(st.integers(0, 2**width - 1), st.integers(0, width)).map(
        lambda p: address(str(kind((p[0] >> (width - p[1]) << (width - p[1]), p[1]))))
    )


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    family = draw(st.sampled_from([4, 6, None]))
    action = draw(st.sampled_from(["pass", "block"]))
    protocol = draw(st.one_of(st.none(), st.integers(1, 255)))
    if (protocol, family) in ((ICMP, 6), (ICMP6, 4)):
        protocol = None
    side = networks(family) if family else st.just("")
    side = st.one_of(side, st.just("<bs4_0123456789abcdef>")) if family else side
    source = draw(side)
    ported = protocol in PORT_PROTOCOLS
    kind = None
    if (protocol, family) in ((ICMP, 4), (ICMP6, 6)):
        kind = draw(st.one_of(st.none(), st.integers(0, 255)))
    return Rule(
        action=action,
        label=draw(st.from_regex(r"[0-9a-f:/-]{1,63}", fullmatch=True)),
        direction=draw(st.sampled_from(["in", "out", None])),
        family=family,
        protocol=protocol,
        source=source,
        source_not=bool(source) and draw(st.booleans()),
        source_ports=draw(st.one_of(st.none(), PORTS)) if ported else None,
        destination=draw(side),
        destination_ports=draw(st.one_of(st.none(), PORTS)) if ported else None,
        icmp_type=kind,
        icmp_code=draw(st.one_of(st.none(), st.integers(0, 255))) if kind is not None else None,
        stateful=action == "pass" and draw(st.booleans()),
        allow_opts=action == "pass" and draw(st.booleans()),
    )


@settings(max_examples=400, deadline=None)
@given(st.lists(rules(), max_size=6))
def test_rules_survive_pf(wanted: list[Rule]) -> None:
    host = SimulatedHost()
    pf.load_rules(host, TAP, wanted)
    assert pf.read_rules(host, TAP) == [*wanted, Rule("block", f"{TAP}/end")]


@settings(max_examples=200, deadline=None)
@given(rules())
def test_rules_survive_text_and_the_boundary(rule: Rule) -> None:
    assert pf_read.parse_rules(render(rule, TAP)) == [(TAP, rule)]
    assert from_dict(to_dict(rule)) == rule


def test_icmp_type_0_is_a_type() -> None:
    """Echo reply: 0 equals False, and without its type the rule would pass all of ICMP."""
    rule = Rule("pass", "x", "in", 4, ICMP, icmp_type=0, icmp_code=0)
    assert from_dict(to_dict(rule)) == rule


def test_words_of_pf() -> None:
    rule = Rule("pass", "x", "in", 4, 6, "10.1.0.0/16", False, None, "", (1000, 2000), stateful=True)
    assert render(rule, "tap0") == (
        "pass in quick on tap0 inet proto 6 from 10.1.0.0/16 to any port 1000:2000 flags S/SA "
        'keep state (if-bound) label "x"'
    )
    assert render(Rule("block", "end"), "tap0") == 'block drop quick on tap0 all label "end"'


def test_names_in_the_transcripts_are_numbers() -> None:
    """Every name that FreeBSD 15.1 printed where a number was given (04-pf, 05, 14)."""
    line = 'pass out quick on t inet proto {} from any to any port = {} flags S/SA keep state (if-bound) label "l"'
    ((_, rule),) = pf_read.parse_rules(line.format("tcp", "http"))
    assert (rule.protocol, rule.destination_ports) == (6, (80, 80))
    assert pf_names.protocol("carp") == 112
    assert pf_names.protocol("ipv6-icmp") == 58
    assert pf_names.port("domain") == 53
    assert [pf_names.icmp_type(n, 6) for n in ("echoreq", "neighbrsol", "neighbradv")] == [128, 135, 136]
    assert pf_names.icmp_type("echoreq", 4) == 8
    with pytest.raises(pf_names.UnknownName):
        pf_names.icmp_type("nosuch", 4)
    with pytest.raises(pf_names.UnknownName):
        pf_names.port("no-such-service-anywhere")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "pass quick on tap0 all",
        'pass quick on tap0 all keep state label "x"',
        'pass quick on tap0 all flags S/SA keep state label "x"',
        'pass on tap0 all no state label "x"',
        'block return quick on tap0 all label "x"',
        'pass quick on tap0 all no state label "x" tag y',
        'pass quick on tap0 proto tcp all flags S/SA no state label "x"',
        'pass quick on tap0 inet proto tcp from any to any port > 5 no state label "x"',
        'pass quick on tap0 inet from any to ! 10.0.0.1 no state label "x"',
        'anchor "x" all',
    ],
)
def test_what_is_not_ours_is_not_read(line: str) -> None:
    with pytest.raises(UnexpectedOutput):
        pf_read.parse_rules(line + "\n")


@pytest.mark.parametrize(
    "change",
    [
        {"action": "match"},
        {"direction": "sideways"},
        {"family": 5},
        {"protocol": 0},
        {"protocol": True},
        {"protocol": 256},
        {"label": 'a" keep state'},
        {"label": ""},
        {"source": "10.0.0.1 to any"},
        {"source": "10.0.0.1/24"},
        {"source": "2001:db8::1"},
        {"source": "any"},
        {"source": "0.0.0.0/0"},
        {"source": "<x y>"},
        {"source": 5},
        {"source_not": True},
        {"destination_ports": [1, 2]},
        {"destination_ports": [2, 1], "protocol": 6},
        {"destination_ports": [1], "protocol": 6},
        {"destination_ports": 80, "protocol": 6},
        {"destination_ports": [1, 65536], "protocol": 17},
        {"icmp_type": 8},
        {"icmp_type": 8, "protocol": 1, "family": 6},
        {"icmp_code": 1, "protocol": 1},
        {"action": "block", "stateful": True},
        {"stateful": "yes"},
        {"unknown": 1},
        {"label": None},
    ],
)
def test_bad_rules_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadRule):
        from_dict({"action": "pass", "label": "x", "family": 4, **change})


@pytest.mark.parametrize("value", [None, 5, "pass", [], {"action": "pass"}, {1: 2}])
def test_no_rule_at_all(value: object) -> None:
    with pytest.raises(BadRule):
        from_dict(value)


class Tampering(SimulatedHost):
    """A pf that loses a rule of every load but the closing one."""

    def run(self, argv: Any, *, input: str | None = None, timeout: float = 20.0, check: bool = True) -> Any:
        if "-f" in argv and input and input.count("\n") > 1:
            input = input.partition("\n")[2]
        return super().run(argv, input=input, timeout=timeout, check=check)


def test_a_lost_rule_closes_the_port() -> None:
    host = Tampering()
    with pytest.raises(pf.RulesDiffer, match="the port was closed"):
        pf.load_rules(host, TAP, [Rule("block", "a", "in"), Rule("pass", "b")])
    assert pf.read_rules(host, TAP) == [Rule("block", f"{TAP}/end")]
    assert ["pfctl", "-q", "-i", TAP, "-F", "states"] in host.ran


def test_what_pf_refuses_closes_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    host = SimulatedHost()
    pf.load_rules(host, TAP, [Rule("pass", "a")])
    whole = pf.render
    monkeypatch.setattr(pf, "render", lambda r, i: "pass foo" if r.label == "b" else whole(r, i))
    with pytest.raises(CommandFailed, match="Syntax error"):
        pf.load_rules(host, TAP, [Rule("pass", "b")])
    assert pf.read_rules(host, TAP) == [Rule("block", f"{TAP}/end")]


def test_anchors_and_unloading() -> None:
    host = SimulatedHost()
    assert pf.list_anchors(host) == []
    assert pf.read_rules(host, TAP) is None
    pf.unload(host, TAP)
    pf.load_rules(host, TAP, [])
    assert pf.list_anchors(host) == [TAP]
    pf.unload(host, TAP)
    assert pf.list_anchors(host) == []


def test_tables() -> None:
    host = SimulatedHost()
    name = "bs4_0123456789abcdef"
    assert pf.read_table(host, name) is None
    pf.replace_table(host, name, ["10.0.0.1", "10.0.0.0/24", "10.0.0.1/32"])
    assert sorted(pf.read_table(host, name) or []) == ["10.0.0.0/24", "10.0.0.1"]
    assert pf.replace_table(host, name, []) == ["10.0.0.0/24", "10.0.0.1/32"]
    assert pf.read_table(host, name) == []
    assert pf.list_tables(host) == [name]
    pf.drop_table(host, name)
    pf.drop_table(host, name)
    assert pf.list_tables(host) == []


def test_states_are_ended() -> None:
    host = SimulatedHost()
    pf.kill_states(host, TAP)
    pf.kill_label(host, f"{TAP}/x")
    pf.kill_address(host, TAP, "2001:db8::1")
    assert host.ran[-1] == ["pfctl", "-q", "-i", TAP, "-k", "::/0", "-k", "2001:db8::1"]


def test_an_empty_host_gets_our_ruleset_once() -> None:
    host = SimulatedHost()
    assert pf_host.prepare(host) == [
        "net.link.bridge.pfil_member=1",
        "net.link.bridge.pfil_onlyip=1",
        "main ruleset loaded",
        "pf enabled",
    ]
    assert pf_host.prepare(host) == []
    assert "anchors       hard limit     5000" in host.run(["pfctl", "-s", "memory"]).out
    host.sysctls["net.link.bridge.pfil_member"] = "0"
    host.run(["pfctl", "-d"])
    assert pf_host.prepare(host) == ["net.link.bridge.pfil_member=1", "pf enabled"]


@pytest.mark.parametrize(
    "conf",
    [
        "pass all\n",
        'pass quick on em0 all\nanchor "beastack/*"\n',
        "nat on em0 inet from 10.0.0.0/24 to any -> 203.0.113.5\n",
    ],
)
def test_an_operators_rules_are_left_alone(conf: str) -> None:
    host = SimulatedHost()
    host.run(["pfctl", "-f", "-"], input=conf)
    with pytest.raises(pf_host.ForeignRuleset, match=r'anchor "beastack/\*"'):
        pf_host.prepare(host)
    assert not [argv for argv in host.ran[1:] if "-f" in argv]


SCRUB = "".join(f"{line}\n" for line in pf_host.SCRUB_LINES)


def test_an_operators_rules_with_our_anchor_are_fine() -> None:
    host = SimulatedHost()
    host.run(["pfctl", "-f", "-"], input=f'{SCRUB}block in on em0 all\nanchor "beastack/*"\npass quick on em1 all\n')
    pf_host.prepare(host)


def test_rules_without_our_scrub_lines_are_not() -> None:
    """IPv6 fragments would leave their bridge through the host's own stack."""
    host = SimulatedHost()
    host.run(["pfctl", "-f", "-"], input='scrub in all\nblock in on em0 all\nanchor "beastack/*"\n')
    with pytest.raises(pf_host.ForeignRuleset, match="no scrub on beastack inet6 all"):
        pf_host.prepare(host)


def test_our_rules_of_before_are_loaded_anew() -> None:
    host = SimulatedHost()
    host.run(["pfctl", "-f", "-"], input=f"{pf_host.ANCHOR_LINE}\n{pf_host.CLOSE_LINE}\n")
    assert "main ruleset loaded" in pf_host.prepare(host)
    assert host.run(["pfctl", "-sr"]).out.splitlines() == pf_host.OUR_RULES


def test_limits_of_the_recorded_host() -> None:
    memory = next(s.output for s in steps("04-pf.txt") if s.command == "pfctl -s memory")
    assert "anchors       hard limit        0" in memory
    text = pf_host.main_ruleset(["anchors", "states"])
    assert text.startswith("set limit anchors 5000\nset limit states 500000\nset skip on lo\n")
