"""Rulesets and limits against small models of devfs(8) and rctl(8) that follow the programs' sources."""

from collections.abc import Sequence

import pytest

from beastack.freebsd import devfs, rctl
from beastack.freebsd.errors import CommandFailed, CommandTimedOut, NotSupported, UnexpectedOutput, failure
from beastack.freebsd.host import Completed, JailHost


class Model:
    """devfs(8) and rctl(8): rules as lists of text."""

    def __init__(self) -> None:
        self.sets: dict[str, list[str]] = {}
        self.rules: list[str] = []
        self.ran: list[str] = []
        self.silent: str | None = None
        self.loses: str | None = None
        self.racct = True

    def jail(self, name: str) -> JailHost:
        return JailHost(self, name)

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = 20.0, check: bool = True
    ) -> Completed:
        command = " ".join(argv)
        self.ran.append(command)
        if self.silent is not None and self.silent in command:
            self.silent = None
            raise CommandTimedOut(argv, timeout)
        out, err = (self._devfs if argv[0] == "devfs" else self._rctl)(list(argv[1:]), input or "")
        if err and check:
            raise failure(argv, 1, out, err)
        return Completed(tuple(argv), 1 if err else 0, out, err)

    def _devfs(self, words: list[str], text: str) -> tuple[str, str]:
        if words[0] == "-m":
            return "", ""
        rules = self.sets.setdefault(words[2], [])
        match words[3]:
            case "show":
                return "".join(f"{100 * n} {rule}\n" for n, rule in enumerate(rules, 1)), ""
            case "delset":
                rules.clear()
            case "add":
                rules += [line for line in text.splitlines() if line != self.loses]
        return "", ""

    def _rctl(self, words: list[str], text: str) -> tuple[str, str]:
        if not self.racct:
            return "", "rctl: RACCT/RCTL present, but disabled; enable using kern.racct.enable=1 tunable\n"
        match words:
            case ["-a", rule]:
                self.rules += [] if rule == self.loses else [rule]
            case ["-r", begin]:
                fit = [r for r in self.rules if r.startswith(begin + ":")]
                if not fit:
                    return "", f"rctl: failed to remove rule '{begin}': No such process\n"
                self.rules = [r for r in self.rules if r not in fit]
            case ["-u", _]:
                return "cputime=3\nmemoryuse=4096\n", ""
            case [begin]:
                return "".join(f"{r}\n" for r in self.rules if r.startswith(begin + ":")), ""
        return "", ""


def test_a_ruleset_hides_everything_first() -> None:
    host = Model()
    assert devfs.ensure_ruleset(host, 60001, devfs.BASIC)
    assert host.sets["60001"][:2] == ["hide", "path null unhide"]
    assert not devfs.ensure_ruleset(host, 60001, devfs.BASIC)
    assert devfs.ensure_ruleset(host, 60001, [devfs.Unhide("pts/*")])
    assert devfs.read_ruleset(host, 60001) == ["hide", "path pts/* unhide"]
    devfs.apply(host, 60001, "/var/run/x/dev")
    devfs.remove_ruleset(host, 60001)
    assert devfs.read_ruleset(host, 60001) == []


def test_a_ruleset_that_cannot_be_loaded_hides_everything() -> None:
    host = Model()
    host.loses = "path zero unhide"
    with pytest.raises(devfs.RulesDiffer):
        devfs.ensure_ruleset(host, 60001, devfs.BASIC)
    assert host.sets["60001"] == ["hide"]
    host.silent = "add -"
    with pytest.raises(CommandTimedOut):
        devfs.ensure_ruleset(host, 60001, devfs.BASIC)
    assert host.sets["60001"] == ["hide"]


def test_rulesets_that_cannot_be() -> None:
    for number in (1, 5, 59999, 65536):
        with pytest.raises(ValueError, match="ruleset"):
            devfs.ensure_ruleset(Model(), number, devfs.BASIC)
    for path in ("", "a b", "../mem", "a/../b", "/null", "x\nunhide", "x" * 200):
        with pytest.raises(ValueError, match="pattern"):
            devfs.Unhide(path)
    for text in ("hide\n", "x hide\n", "100\n"):
        with pytest.raises(UnexpectedOutput):
            devfs.parse_rules(text)


def test_limits_are_set_changed_and_removed() -> None:
    host = Model()
    rctl.set_limits(host, "q", {"memoryuse": 1 << 30, "maxproc": 50, "readbps": 1 << 20})
    assert host.rules == [
        "jail:q:maxproc:deny=50", f"jail:q:memoryuse:deny={1 << 30}", f"jail:q:readbps:throttle={1 << 20}",
    ]  # fmt: skip
    before = len(host.ran)
    rctl.set_limits(host, "q", {"memoryuse": 1 << 30, "maxproc": 50, "readbps": 1 << 20})
    assert set(host.ran[before:]) == {"rctl jail:q"}
    rctl.set_limits(host, "q", {"maxproc": 60})
    assert host.rules == ["jail:q:maxproc:deny=60"]
    assert rctl.read_usage(host, "q") == {"cputime": 3, "memoryuse": 4096}
    rctl.remove(host, "q")
    rctl.remove(host, "q")
    assert rctl.read_limits(host, "q") == {}


def test_limits_that_do_not_hold() -> None:
    host = Model()
    host.loses = "jail:q:memoryuse:deny=5"
    with pytest.raises(rctl.LimitsDiffer):
        rctl.set_limits(host, "q", {"maxproc": 1, "memoryuse": 5})
    assert host.rules == []
    host.racct = False
    with pytest.raises(NotSupported, match="RACCT"):
        rctl.set_limits(host, "q", {"maxproc": 1})
    for limits in ({"maxprocs": 1}, {"maxproc": -1}, {"maxproc": 1 << 63}):
        with pytest.raises(ValueError, match="maxproc"):
            rctl.set_limits(Model(), "q", limits)
    with pytest.raises(ValueError, match="name for a jail"):
        rctl.set_limits(Model(), "q:memoryuse", {})


@pytest.mark.parametrize(
    "text", ["x\n", "jail:q:maxproc:log=5\n", "user:0:maxproc:deny=5\n", "jail:q:maxproc:deny=5\n" * 2]
)
def test_limits_that_are_not_understood(text: str) -> None:
    with pytest.raises(UnexpectedOutput):
        rctl.parse_rules(text)
    with pytest.raises(UnexpectedOutput):
        rctl.parse_usage("cputime\n")


def test_the_words_of_rctl() -> None:
    error = failure(["rctl"], 1, "", "rctl: failed to remove rule 'jail:q': No such process\n")
    assert type(error) is not CommandFailed
