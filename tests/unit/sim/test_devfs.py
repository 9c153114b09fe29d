"""devfs(8)'s rules as sbin/devfs/rule.c reads and shows them, and what they hide."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.freebsd import devfs as ours
from beastack.sim.engine import devfs as engine
from beastack.sim.engine.devfs import BadRule, Devfs
from beastack.sim.net.errors import Failed
from beastack.sim.programs import devfs
from beastack.sim.programs.base import Reply, Request

NAMES = ["null", "zero", "pf", "mem", "fd", "fd/0", "pts", "pts/1", "zvol", "zvol/tank/x"]


class Host:
    def __init__(self) -> None:
        self.state: Any = SimpleNamespace(devfs=Devfs())
        self.jail: Any = None

    def devfs(self, line: str, text: str = "") -> Reply:
        return devfs.run(Request(self.state, "devfs", line.split(), text, 1, None, self.jail))  # type: ignore[arg-type]

    def shown(self, ruleset: int = 7) -> list[str]:
        return self.devfs(f"rule -s {ruleset} show").out.splitlines()


@pytest.fixture
def host() -> Host:
    return Host()


def test_rules_are_numbered_and_shown_in_order(host: Host) -> None:
    host.devfs("rule -s 7 add -", "hide\npath null unhide\n")
    host.devfs("rule -s 7 add 50 type mem path mem* mode 440 hide")
    host.devfs("rule -s 7 add include 4")
    assert host.shown() == ["50 type mem path mem* hide mode 440", "100 hide", "200 path null unhide", "300 include 4"]
    assert host.shown(8) == []
    assert host.devfs("rule showsets").out == "7\n"
    host.devfs("rule -s 7 del 100")
    assert [line.split()[0] for line in host.shown()] == ["50", "200", "300"]
    host.devfs("rule -s 7 delset")
    host.devfs("rule -s 7 delset")
    assert (host.shown(), host.devfs("rule showsets").out) == ([], "")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rule -s 7 add burn", "unknown argument: burn"),
        ("rule -s 7 add path", "expecting argument for path"),
        ("rule -s 7 add hide path x", "unknown argument: path"),
        ("rule -s 7 add type nosuch hide", "unknown type: nosuch"),
        ("rule -s 70000 show", "error converting to number: 70000"),
        ("rule -s 0 add hide", "ioctl DEVFSIO_RADD: Input/output error"),
        ("rule -s 7 del 5", "ioctl DEVFSIO_RDEL: No such file or directory"),
    ],
)
def test_what_is_refused(host: Host, line: str, words: str) -> None:
    with pytest.raises(Failed, match=f"^devfs rule: {words}$"):
        host.devfs(line)
    assert host.state.devfs.sets == {}


def test_a_number_is_given_once(host: Host) -> None:
    host.devfs("rule -s 7 add 5 hide")
    with pytest.raises(Failed, match="DEVFSIO_RADD: File exists"):
        host.devfs("rule -s 7 add 5 unhide")


def test_a_jail_may_not(host: Host) -> None:
    host.jail = object()
    with pytest.raises(Failed, match="Operation not permitted"):
        host.devfs("rule -s 7 add hide")


def test_what_is_hidden(host: Host) -> None:
    host.devfs("rule -s 7 add -", "hide\npath null unhide\npath pts unhide\npath pts/* unhide\n")
    kept: Devfs = host.state.devfs
    assert set(NAMES) - kept.hidden(7, NAMES, set()) == {"null", "pts", "pts/1"}
    host.devfs("rule -s 8 add type mem unhide")
    host.devfs("rule -s 9 add -", "include 7\ninclude 8\npath null hide\n")
    assert set(NAMES) - kept.hidden(9, NAMES, set()) == {"mem", "pts", "pts/1"}
    assert kept.hidden(10, NAMES, {"pf"}) == {"pf"}


patterns = st.from_regex(r"[a-z][a-z0-9_*]{0,6}(/[a-z*]{1,4})?", fullmatch=True)


@given(st.lists(patterns, max_size=6))
def test_what_the_driver_loads_is_what_it_reads_back(paths: list[str]) -> None:
    wanted = [ours.HIDE_ALL, *(ours.Unhide(path).text() for path in paths)]
    host = Host()
    host.devfs("rule -s 60001 add -", "".join(f"{rule}\n" for rule in wanted))
    assert ours.parse_rules(host.devfs("rule -s 60001 show").out) == wanted


@given(
    st.lists(st.sampled_from(["hide", "path null unhide", "type disk hide", "include 3", "user 5", "x"]), max_size=4)
)
def test_what_is_shown_is_read_again_as_the_same(words: list[str]) -> None:
    try:
        _own, rule = engine.parse(" ".join(words).split())
    except BadRule:
        return
    assert engine.parse(str(rule).split())[1] == rule if str(rule) else rule == engine.Rule()
