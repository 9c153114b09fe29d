"""Each error that the transcripts show is a type of its own."""

import pytest
from tests.unit.transcripts import steps

from beastack.freebsd import errors

CASES = [
    ("01-interfaces.txt", "ifconfig nosuch0", errors.NoSuchInterface),
    ("01-interfaces.txt", "ifconfig nosuch0 destroy", errors.NoSuchInterface),
    ("01-interfaces.txt", "ifconfig epair0b name this-name-is-too-long", errors.NameTooLong),
    ("01-interfaces.txt", "ifconfig epair0b name nsport1", errors.InterfaceExists),
    ("01-interfaces.txt", "ifconfig tap create name tap0123456789a", errors.InterfaceExists),
    ("01-interfaces.txt", "ifconfig epair5 create", errors.InterfaceExists),
    ("01-interfaces.txt", "ifconfig nsport1 inet 10.1.2.3 -alias", errors.NoSuchAddress),
    ("02-bridge-vlan.txt", "ifconfig brq-test addm epair0a", errors.AlreadyMember),
    ("02-bridge-vlan.txt", "ifconfig brq-test addm nosuch0", errors.NoSuchInterface),
    ("02-bridge-vlan.txt", "ifconfig brq-test deletem epair0b", errors.NotAMember),
    ("02-bridge-vlan.txt", "ifconfig brq-two addm epair0a", errors.DeviceBusy),
    ("03-jails.txt", "jexec nosuch true", errors.NoSuchJail),
    ("03-jails.txt", "jls -j nosuch", errors.NoSuchJail),
    ("03-jails.txt", "jail -r qdhcp-a", errors.NoSuchJail),
    ("03-jails.txt", "jail -c name=qdhcp-a path=/ vnet persist", errors.JailExists),
    ("03-jails.txt", "jexec qdhcp-a route add -net 192.0.2.0/24 10.9.0.1", errors.RouteExists),
    ("03-jails.txt", "jexec qdhcp-a route delete -net 192.0.2.0/24", errors.NoSuchRoute),
    ("03-jails.txt", "jexec qdhcp-a kldload if_gre", errors.NotPermitted),
]


@pytest.mark.parametrize(("name", "command", "kind"), CASES, ids=[c[1] for c in CASES])
def test_recorded_words_become_their_type(name: str, command: str, kind: type[errors.CommandFailed]) -> None:
    step = next(s for s in steps(name) if s.command == command and s.rc)
    error = errors.failure(command.split(), step.rc, "", step.output)
    assert type(error) is kind
    assert command in str(error)
    assert error.rc == step.rc


def test_unknown_words_stay_a_plain_failure() -> None:
    error = errors.failure(["ifconfig", "x"], 1, "", "ifconfig: something new")
    assert type(error) is errors.CommandFailed
    assert "something new" in str(error)


@pytest.mark.parametrize(
    "error",
    [
        errors.CommandFailed(["a"], 1, "o", "e"),
        errors.CommandTimedOut(["a", "b"], 2.5),
        errors.ProgramMissing("jexec"),
        errors.UnexpectedOutput(["a"], "text", "more"),
        errors.NoSuchJail(["jexec"], 1, "", "gone"),
        errors.NotOurs("tap0"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_errors_are_rebuilt_from_their_arguments(error: errors.HostError) -> None:
    """As oslo.privsep does on the client's side of the boundary."""
    again = type(error)(*error.args)
    assert str(again) == str(error)
