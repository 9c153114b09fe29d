"""How rules are read and printed again: the transcripts, and what pfctl prints for the rest of the grammar."""

# ruff: noqa: E501  a rule and its listing stand side by side

import pytest
from tests.unit.sim.pf.frames import udp

from beastack.sim.pf import Pf


def listed(text: str) -> list[str]:
    pf = Pf()
    result = pf.pfctl(["-f", "-"], f"set ruleset-optimization none\n{text}\n", 0.0)
    assert result.rc == 0, result
    return pf.pfctl(["-sr"], "", 0.0).out.splitlines()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("pass", "pass all flags S/SA keep state"),
        ("pass all flags any", "pass all flags any keep state"),
        ("block return in log quick on lo0", "block return in log quick on lo0 all"),
        ("block in on ! tap0 proto tcp to port ssh", "block drop in on ! tap0 proto tcp from any to any port = ssh"),
        ("pass proto tcp to 10.1.2.3/8 port >= 1024 no state", "pass inet proto tcp from any to 10.0.0.0/8 port >= 1024 no state"),
        ("pass proto udp from any port 1 >< 9 to any no state", "pass proto udp from any port 1 >< 9 to any no state"),
        ("pass proto udp from any port != 53 to any no state", "pass proto udp from any port != domain to any no state"),
        ("pass inet from 0.0.0.0/0 to any no state", "pass inet all no state"),
        ("pass from 10.0.0.1 - 10.0.0.9 to any no state", "pass inet from 10.0.0.1 - 10.0.0.9 to any no state"),
        ("pass inet proto icmp icmp-type unreach code 3", "pass inet proto icmp all icmp-type unreach code port-unr keep state"),
        ("pass inet proto icmp icmp-type 99 no state", "pass inet proto icmp all icmp-type 99 no state"),
        ("pass proto 200 no state", "pass proto 200 all no state"),
        ("pass proto udp keep state (max 5, if-bound, udp.first 9)", "pass proto udp all keep state (max 5, if-bound, udp.first 9)"),
        ('pass all no state label "a" label "b c" tag x', 'pass all no state label "a" label "b c" tag x'),
        ("match in all tag y", "match in all tag y"),
        ('anchor "x/*" in quick on tap0 inet', 'anchor "x/*" in quick on tap0 inet all'),
        ("nets = \"{ 10.0.0.1 }\"\npass from $nets to \\\n any no state", "pass inet from 10.0.0.1 to any no state"),
    ],
)  # fmt: skip
def test_one_line(text: str, line: str) -> None:
    assert listed(text) == [line]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pass in proto udp to port 53 icmp-type echoreq", "icmp-type/code only applies to icmp"),
        ("pass proto icmp icmp-type echoreq", "must indicate address family with icmp-type/code"),
        ("pass inet6 proto icmp", "proto icmp doesn't match address family inet6"),
        ("pass inet from 2001:db8::1 to any", "rule expands to no valid combination"),
        ("pass from nosuch.example to any", "no IP address found for nosuch.example"),
        ("pass from 10.0.0.0/33 to any", "no IP address found for 10.0.0.0/33"),
        ("pass proto tcp to port nosuch", "unknown port nosuch"),
        ("block in all keep state", "keep state on block rules doesn't make sense"),
        ("pass from any to $x", "macro 'x' not defined"),
        ("pass in all user root", "syntax error"),
        ("pass in all probability 10%", "syntax error"),
        ("pass in from self to any", "self is not simulated"),
        ("scrub in all no-df", "scrub no-df is not simulated"),
        ("table <x> { nosuch }", "no IP address found for nosuch"),
        ("set limit nosuch 5", "unable to set limit"),
        ("pass in {", "syntax error"),
        ('pass label "x', "syntax error"),
    ],
)
def test_refused(text: str, words: str) -> None:
    result = Pf().pfctl(["-nf", "-"], text, 0.0)
    assert (result.rc, result.err) == (1, f"stdin:1: {words}\n")


def test_08_nat_is_listed_in_its_own_order() -> None:
    pf = Pf()
    text = (
        "nat on qg-1 inet from 10.1.0.0/24 to any -> 203.0.113.10\nbinat on qg-1 inet from 10.2.0.5 to any -> 203.0.113.20\n"
        "rdr pass on { qr-1 qr-2 } inet proto tcp from any to 169.254.169.254 port 80 -> 127.0.0.1 port 9697\npass all\n"
    )
    assert pf.pfctl(["-f", "-"], text, 0.0).rc == 0
    assert pf.pfctl(["-s", "nat"], "", 0.0).out == (
        "nat on qg-1 inet from 10.1.0.0/24 to any -> 203.0.113.10\n"
        "rdr pass on qr-1 inet proto tcp from any to 169.254.169.254 port = http -> 127.0.0.1 port 9697\n"
        "rdr pass on qr-2 inet proto tcp from any to 169.254.169.254 port = http -> 127.0.0.1 port 9697\n"
        "binat on qg-1 inet from 10.2.0.5 to any -> 203.0.113.20\n"
    )


@pytest.mark.parametrize(
    ("wanted", "ports"),
    [("3", {3}), ("!= 3", {1, 2, 4, 5}), ("< 3", {1, 2}), ("<= 3", {1, 2, 3}), ("> 3", {4, 5}), (">= 3", {3, 4, 5}),
     ("2:4", {2, 3, 4}), ("2 >< 4", {3}), ("2 <> 4", {1, 5})],
)  # fmt: skip
def test_port_comparisons(wanted: str, ports: set[int]) -> None:
    pf = Pf()
    text = f"block all\npass in proto udp from any to any port {wanted} no state\n"
    assert pf.pfctl(["-ef", "-"], text, 0.0).rc == 0
    assert {port for port in range(1, 6) if pf.filter("em0", "in", udp("10.0.0.1", 9, "10.0.0.2", port), 0.0)} == ports


def test_a_persistent_table_keeps_its_members_on_reload() -> None:
    pf = Pf()
    pf.pfctl(["-t", "sg", "-T", "add", "10.0.0.1", "!10.0.0.0/24"], "", 0.0)
    assert pf.pfctl(["-f", "-"], "table <sg> persist\n", 0.0).rc == 0
    assert pf.pfctl(["-t", "sg", "-T", "show"], "", 0.0).out == "  !10.0.0.0/24\n   10.0.0.1\n"
    assert pf.pfctl(["-f", "-"], "table <sg> persist { 10.0.0.7 }\npass from <sg> to any\n", 0.0).rc == 0
    assert pf.pfctl(["-t", "sg", "-T", "show"], "", 0.0).out == "   10.0.0.7\n"
    assert pf.pfctl(["-t", "sg", "-T", "replace", "10.0.0.7"], "", 0.0).err == "no changes.\n"
    assert pf.pfctl(["-t", "sg", "-T", "add", "nonsense"], "", 0.0).rc == 1


@pytest.mark.parametrize("argv", [["-Z"], [], ["-s", "nosuch"], ["-T", "add"], ["-f", "/nosuch"], ["-f"], ["-k", "id"]])
def test_bad_command_lines(argv: list[str]) -> None:
    result = Pf().pfctl(argv, "", 0.0)
    assert result.rc != 0 and result.err
