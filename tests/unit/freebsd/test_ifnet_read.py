"""The interface reader against what FreeBSD 15.1 printed."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.transcripts import Step, steps

from beastack.freebsd.errors import UnexpectedOutput
from beastack.freebsd.ifnet_read import parse_interfaces


def shows() -> list[Step]:
    """Every recorded command that shows interfaces and succeeded."""
    found = []
    for name in ("01-interfaces.txt", "02-bridge-vlan.txt", "03-jails.txt"):
        found += [s for s in steps(name) if s.rc == 0 and ": flags=" in s.output and "ifconfig" in s.command]
    return found


def the(name: str, command: str, nth: int = 0) -> str:
    return [s.output for s in steps(name) if s.command == command][nth]


@pytest.mark.parametrize("step", shows(), ids=lambda s: s.command)
def test_every_recorded_interface_is_read(step: Step) -> None:
    found = parse_interfaces(step.output)
    assert found
    named = [w for w in shlex.split(step.command) if w in found]
    assert named or "jexec" in step.command or "-j" in step.command


def test_an_epair_half_with_addresses() -> None:
    port = parse_interfaces(the("01-interfaces.txt", "ifconfig nsport1", 1))["nsport1"]
    assert port.mtu == 1450
    assert port.mac == "fa:16:3e:11:22:33"
    assert port.description == "neutron:port:1234"
    assert port.inet == ["10.1.2.4/32", "10.1.2.3/24"]
    assert port.inet6 == ["2001:db8::5/64", "fe80::f816:3eff:fe11:2233/64"]
    assert port.groups == {"epair", "bsdstack"}
    assert port.is_up
    assert port.status == "active"


def test_a_bridge_with_members_and_their_flags() -> None:
    bridge = parse_interfaces(the("02-bridge-vlan.txt", "ifconfig brq-test", 2))["brq-test"]
    assert list(bridge.members) == ["tapvm1", "epair1a", "epair0a"]
    assert {"STICKY", "PRIVATE"} <= bridge.members["epair1a"].flags
    assert bridge.members["tapvm1"].flags == {"AUTOEDGE", "AUTOPTP"}
    assert bridge.members["epair0a"].max_addresses == 1
    assert bridge.members["epair1a"].max_addresses == 0
    assert bridge.groups == {"bridge"}


def test_who_holds_a_tap() -> None:
    text = "tap9: flags=1008843<UP,BROADCAST> metric 0 mtu 1500\n\tstatus: active\n\tOpened by PID 1120\n"
    assert parse_interfaces(text)["tap9"].opened_by == 1120


@pytest.mark.parametrize("text", ["\tether 00:00:00:00:00:00\n", "nonsense\n", "tap0: flags=<\n"])
def test_what_is_not_understood_is_unknown_not_absent(text: str) -> None:
    with pytest.raises(UnexpectedOutput):
        parse_interfaces(text)


@given(st.text(alphabet="tap0: flags=<UP>\n\t inet6 netmask0x ether member mtu%-fe", max_size=200))
def test_no_text_does_more_than_raise_the_typed_error(text: str) -> None:
    try:
        parse_interfaces(text)
    except UnexpectedOutput:
        return


@given(st.integers(0, 400))
def test_output_cut_short_is_read_or_refused(cut: int) -> None:
    text = the("01-interfaces.txt", "ifconfig nsport1", 1)[:cut]
    try:
        found = parse_interfaces(text)
    except UnexpectedOutput:
        return
    assert set(found) <= {"nsport1"}
