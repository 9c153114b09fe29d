"""Whatever goes wrong while an interface is made, nothing half-made is left, and the first error is told."""

from collections.abc import Sequence

import pytest
from tests.unit.transcripts import FakeHost

from beastack.freebsd import clone, ifnet
from beastack.freebsd.errors import (
    BadArgument,
    CommandFailed,
    CommandTimedOut,
    HostError,
    InterfaceExists,
    NameTooLong,
    NoSuchInterface,
    NotOurs,
    UnexpectedOutput,
)
from beastack.freebsd.host import Completed, Host

CREATE = "ifconfig tap create group beastack"
GONE = ("ifconfig: interface tap1-x does not exist\n", 1)
LONG = ("ifconfig: ioctl SIOCSIFNAME (set name): File name too long\n", 1)


def made(host: Host, kind: str, name: str) -> None:
    with clone.making(host, kind, name, "d"):
        pass


class Hanging(FakeHost):
    """Some commands never answer."""

    def __init__(self, answers: dict[str, str | tuple[str, int]], silent: Sequence[str]) -> None:
        super().__init__(answers)
        self.silent = silent

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = 20.0, check: bool = True
    ) -> Completed:
        if " ".join(argv) in self.silent:
            self.ran.append(" ".join(argv))
            raise CommandTimedOut(argv, timeout)
        return super().run(argv, input=input, timeout=timeout, check=check)


def test_a_name_that_is_too_long() -> None:
    host = FakeHost(
        {"ifconfig tap1-x": GONE, CREATE: "tap0\n", "ifconfig tap0 name tap1-x": LONG, "ifconfig tap0 destroy": ""}
    )
    with pytest.raises(NameTooLong):
        made(host, "tap", "tap1-x")
    assert host.ran[-1] == "ifconfig tap0 destroy"


def test_a_name_that_is_taken_meanwhile() -> None:
    taken = ("ifconfig: ioctl SIOCSIFNAME (set name): File exists\n", 1)
    host = FakeHost(
        {"ifconfig tap1-x": GONE, CREATE: "tap0\n", "ifconfig tap0 name tap1-x": taken, "ifconfig tap0 destroy": ""}
    )
    with pytest.raises(InterfaceExists):
        made(host, "tap", "tap1-x")
    assert host.ran[-1] == "ifconfig tap0 destroy"


def test_an_interface_that_vanishes_while_it_is_named() -> None:
    gone = ("ifconfig: interface tap0 does not exist\n", 1)
    host = FakeHost(
        {"ifconfig tap1-x": GONE, CREATE: "tap0\n", "ifconfig tap0 name tap1-x": gone, "ifconfig tap0 destroy": gone}
    )
    with pytest.raises(NoSuchInterface):
        made(host, "tap", "tap1-x")


@pytest.mark.parametrize("answer", ["", "ta", "tap0 tap1\n", "epair0a\n", "tap0\nand more\n", "tap12345678-90\n"])
def test_an_answer_that_is_cut_short_or_unknown(answer: str) -> None:
    host = FakeHost(
        {CREATE: answer, "ifconfig -g beastack": "brq1\ntap12345678-90\ntap7\n", "ifconfig tap7 destroy": ""}
    )
    with pytest.raises(UnexpectedOutput) as e:
        clone.create(host, "tap")
    assert "tapN" in str(e.value)
    assert "ifconfig tap create" in str(e.value)
    assert host.ran == [CREATE, "ifconfig -g beastack", "ifconfig tap7 destroy"]


def test_a_host_that_stops_answering() -> None:
    host = Hanging({"ifconfig -g beastack": "tap3\n", "ifconfig tap3 destroy": ""}, [CREATE])
    with pytest.raises(CommandTimedOut):
        clone.create(host, "tap")
    assert host.ran[-1] == "ifconfig tap3 destroy"
    silent = Hanging({}, [CREATE, "ifconfig -g beastack"])
    with pytest.raises(CommandTimedOut) as e:
        clone.create(silent, "tap")
    assert e.value.argv == CREATE.split()


def test_the_first_error_is_told_when_undoing_fails_too() -> None:
    stuck = Hanging(
        {"ifconfig tap1-x": GONE, CREATE: "tap0\n", "ifconfig tap0 name tap1-x": LONG}, ["ifconfig tap0 destroy"]
    )
    with pytest.raises(NameTooLong):
        made(stuck, "tap", "tap1-x")


def test_a_name_that_was_given_without_an_answer() -> None:
    """The rename was carried out, and its answer was lost: what has the name now is what was half-made."""
    shown = "tap1-x: flags=8802<BROADCAST> metric 0 mtu 1500\n\tgroups: tap beastack\n"
    rename, gone = "ifconfig tap0 name tap1-x", ("ifconfig: interface tap0 does not exist\n", 1)
    host = Hanging({"ifconfig tap0": gone, "ifconfig tap1-x": shown, "ifconfig tap1-x destroy": ""}, [rename])
    with pytest.raises(CommandTimedOut):
        clone.finish(host, "tap0", "tap1-x")
    assert host.ran[-1] == "ifconfig tap1-x destroy"
    others = Hanging({"ifconfig tap0": gone, "ifconfig tap1-x": shown.replace(" beastack", "")}, [rename])
    with pytest.raises(CommandTimedOut):
        clone.finish(others, "tap0", "tap1-x")
    assert "ifconfig tap1-x destroy" not in others.ran


class Leaving(FakeHost):
    """A create that prints a name and fails: recorded in 01 (`tap1`)."""

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = 20.0, check: bool = True
    ) -> Completed:
        if " ".join(argv) == CREATE:
            self.ran.append(CREATE)
            raise CommandFailed(argv, 1, "tap1\n", "ifconfig: group: something\n")
        return super().run(argv, input=input, timeout=timeout, check=check)


def test_what_a_failed_create_left_is_destroyed() -> None:
    host = Leaving({"ifconfig tap1 destroy": ""})
    with pytest.raises(CommandFailed):
        clone.create(host, "tap")
    assert host.ran == [CREATE, "ifconfig tap1 destroy"]


def test_a_half_made_epair_goes() -> None:
    make = "ifconfig epair create group beastack"
    host = Hanging(
        {"ifconfig tap1-x": GONE, make: "epair3a\n", "ifconfig epair3a destroy": ""},
        ["ifconfig epair3a description beastack:port:1"],
    )
    with pytest.raises(CommandTimedOut):
        ifnet.ensure_epair(host, "tap1-x", "beastack:port:1")
    assert host.ran[-1] == "ifconfig epair3a destroy"


def test_somebody_elses_interface_is_left_alone() -> None:
    text = "tap1-x: flags=8802<BROADCAST> metric 0 mtu 1500\n\tgroups: tap\n"
    host = FakeHost({"ifconfig tap1-x": text})
    with pytest.raises(NotOurs):
        made(host, "tap", "tap1-x")
    assert host.ran == ["ifconfig tap1-x"]


def test_what_was_made_now_goes_when_it_cannot_be_finished() -> None:
    shown = "tap1-x: flags=8802<BROADCAST> metric 0 mtu 1500\n\tgroups: tap beastack\n\tdescription: d\n"

    class Named(FakeHost):
        def run(self, argv, **kw):  # type: ignore[no-untyped-def]
            done = super().run(argv, **kw)
            if list(argv[-2:]) == ["name", "tap1-x"]:
                self.answers["ifconfig tap1-x"] = shown
            return done

    answers: dict[str, str | tuple[str, int]] = {
        "ifconfig tap1-x": GONE, "ifconfig tap create description d group beastack": "tap0\n",
        "ifconfig tap0 name tap1-x": "", "ifconfig -g bridge": "",
        "ifconfig tap1-x mtu 70000": ("ifconfig: ioctl SIOCSIFMTU (set mtu): Invalid argument\n", 1),
        "ifconfig tap1-x destroy": "",
    }  # fmt: skip
    new = Named(answers)
    with pytest.raises(BadArgument):
        ifnet.ensure_tap(new, "tap1-x", "d", 70000)
    assert new.ran[-1] == "ifconfig tap1-x destroy"
    old = FakeHost({**answers, "ifconfig tap1-x": shown})
    with pytest.raises(BadArgument):
        ifnet.ensure_tap(old, "tap1-x", "d", 70000)
    assert "ifconfig tap1-x destroy" not in old.ran


@pytest.mark.parametrize("at", range(4))
def test_a_host_that_goes_away_at_any_step(at: int) -> None:
    """Each command in turn gets no answer: a typed error every time."""
    steps = ["ifconfig tap1-x", CREATE, "ifconfig tap0 name tap1-x", "ifconfig tap1-x description d"]
    shown = "tap1-x: flags=8802<BROADCAST> metric 0 mtu 1500\n\tgroups: tap beastack\n"

    class Dying(Hanging):
        def run(self, argv, **kw):  # type: ignore[no-untyped-def]
            if list(argv[-2:]) == ["name", "tap1-x"]:
                self.answers["ifconfig tap1-x"] = shown
            return super().run(argv, **kw)

    answers: dict[str, str | tuple[str, int]] = {
        steps[0]: GONE, CREATE: "tap0\n", steps[2]: "tap1-x\n", steps[3]: "", "ifconfig -g beastack": "",
        "ifconfig tap1-x destroy": "",
        "ifconfig tap0 destroy": "", "ifconfig tap0": shown.replace("tap1-x", "tap0"),
    }  # fmt: skip
    with pytest.raises(HostError):
        made(Dying(answers, [steps[at]]), "tap", "tap1-x")
