"""Each error that the transcripts show is a type of its own."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.freebsd.recorded import Recorded, everything
from tests.unit.transcripts import DATA, steps

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


# Commands that ended with another status than 0 and showed no error of the host's that we could act on.
EXEMPT = {
    "ls ": "a shell's look at /dev; nothing of ours runs ls",
    "pgrep ": "status 1 means: no such process",
    "jexec vm ping": "no reply within the time, which is what was asked",
    "jexec vm arp -ad; jexec vm ping": "as above",
    "jexec vm arp -s 10.6.0.2 fa:16:3e:00:01:02; jexec vm ping": "as above",
    "bhyve -o config.dump=1 -c 2": "config.dump always ends with 1",
    "bhyve -o config.dump=1 -m 256 -": "config.dump always ends with 1",
    "bhyve -o config.dump=1 -m lots": "config.dump always ends with 1",
    "pfctl -a bsdstack -t sg1 -T test": "status 2 means: not all addresses match",
    "empty vars file": "the transcript kept no words",
}


def failed() -> list[Recorded]:
    """Every recorded command that failed, but for the exempt ones."""
    return [s for s in everything() if s.rc and not s.command.startswith(tuple(EXEMPT))]


@pytest.mark.parametrize("step", failed(), ids=str)
def test_each_recorded_failure_is_a_type_of_its_own(step: Recorded) -> None:
    error = errors.failure(step.command.split(), step.rc, "", step.output)
    assert type(error) is not errors.CommandFailed
    assert type(errors.failure(step.command.split(), step.rc, step.output, "")) is type(error)


def test_no_exemption_is_left_over() -> None:
    for words in EXEMPT:
        assert any(s.rc and s.command.startswith(words) for s in everything()), words
    assert len(failed()) > 60


def test_what_root_may_not_do_in_a_jail() -> None:
    """09: the words in brackets behind what was refused."""
    refused = re.findall(r"^no   .*   \((.*)\)$", (DATA / "09-privilege.txt").read_text(), re.MULTILINE)
    ours = [w for w in refused if w.startswith(("ifconfig:", "route:", "kldload:", "jail:", "sysctl:"))]
    assert len(ours) > 20
    for words in ours:
        assert type(errors.failure(["x"], 1, "", words)) is not errors.CommandFailed, words


def test_what_stands_in_the_way_of_a_dataset() -> None:
    step = next(s for s in everything() if s.command == "zfs destroy vms/images/img1@ready" and s.rc)
    error = errors.failure(step.command.split(), step.rc, "", step.output)
    assert isinstance(error, errors.HasDependants)
    assert error.dependants == ["vms/instances/abc/disk", "vms/instances/abc/disk2"]
    assert errors.HasDependants(["zfs"], 1, "", "nothing known").dependants == []


@given(st.text(max_size=300), st.text(max_size=300), st.integers(1, 255))
def test_any_words_make_an_error(out: str, err: str, rc: int) -> None:
    error = errors.failure(["zfs", "x"], rc, out, err)
    assert str(error).startswith("zfs x: ")
