"""Making the jail of a confined context, on FreeBSD's side of the fence, and becoming a user."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from beastack.freebsd import devfs
from beastack.freebsd.errors import CommandFailed
from beastack.freebsd.host import Completed
from beastack.privsep import confine, confinement
from beastack.privsep.checks import Refused
from beastack.privsep.confinement import Place

VERDICT = confinement.decide(["CAP_CHOWN"])


class FakeHost:
    """mount(8), devfs(8), jail(8) and jls(8) as far as the jail needs them."""

    def __init__(self, broken: str = "") -> None:
        self.points: list[str] = ["/", "/dev"]
        self.jails: list[str] = []
        self.ran: list[list[str]] = []
        self.rules: list[str] = []
        self.broken = broken

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = 20, check: bool = True
    ) -> Completed:
        words = list(argv)
        out = ""
        if words == ["mount", "-p"]:
            out = "".join(f"x {point} zfs rw 0 0\n" for point in self.points)
        elif words[0] == "jls":
            rows = ",".join(f'{{"jid":1,"name":"{j}","host.hostname":"h","vnet":"inherit"}}' for j in self.jails)
            out = f'{{"jail-information":{{"jail":[{rows}]}}}}'
        elif words[0] == "devfs" and words[-1] == "show":
            out = "".join(f"{100 * n} {rule}\n" for n, rule in enumerate(self.rules, 1))
        else:
            self.ran.append(words)
            if words[0] == "devfs" and words[-1] == "delset":
                self.rules = []
            if words[0] == "devfs" and words[-1] == "-":
                self.rules += [rule for rule in (input or "").splitlines() if rule != self.broken]
            if words[0] == "mount" and words[2] != self.broken:
                self.points.append(words[-1])
            if words[:2] == ["jail", "-c"]:
                self.jails.append(words[2].removeprefix("name="))
        return Completed(tuple(words), 0, out, "")

    def jail(self, name: str) -> "FakeHost":
        raise AssertionError(name)


@pytest.fixture
def where(tmp_path: Path) -> Place:
    return confinement.place("x", str(tmp_path / "roots"), 64711, [])


def test_the_devices_come_before_the_jail_and_twice_is_once(monkeypatch: pytest.MonkeyPatch, where: Place) -> None:
    monkeypatch.setattr(confine, "simulated", lambda: False)
    host = FakeHost()
    said: list[str] = []
    confine.make_jail(host, where, VERDICT, said.append)
    programs = [words[0] for words in host.ran]
    assert programs == ["devfs", "devfs", "mount", "mount", "jail"]
    assert host.rules == ["hide", *(rule.text() for rule in confinement.DEVICES)]
    assert host.ran[-1][3] == f"path={where.root}"
    assert said == []
    before = list(host.ran)
    confine.make_jail(host, where, VERDICT, said.append)
    assert host.ran == before


def test_a_ruleset_that_somebody_changed_is_made_right_again(monkeypatch: pytest.MonkeyPatch, where: Place) -> None:
    monkeypatch.setattr(confine, "simulated", lambda: False)
    host = FakeHost()
    confine.make_jail(host, where, VERDICT, print)
    right = list(host.rules)
    host.rules.append("path mem unhide")
    confine.make_jail(host, where, VERDICT, print)
    assert host.rules == right
    assert host.ran[-1] == ["devfs", "-m", f"{where.root}/dev", "rule", "-s", "64711", "applyset"]


def test_a_ruleset_that_does_not_read_back_makes_no_jail(monkeypatch: pytest.MonkeyPatch, where: Place) -> None:
    monkeypatch.setattr(confine, "simulated", lambda: False)
    host = FakeHost(broken="path null unhide")
    with pytest.raises(devfs.RulesDiffer):
        confine.make_jail(host, where, VERDICT, print)
    assert (host.rules, host.jails) == (["hide"], [])


def test_without_its_devices_there_is_no_jail(monkeypatch: pytest.MonkeyPatch, where: Place) -> None:
    monkeypatch.setattr(confine, "simulated", lambda: False)
    host = FakeHost(broken="devfs")
    with pytest.raises(CommandFailed, match="not mounted"):
        confine.make_jail(host, where, VERDICT, print)
    assert host.jails == []


def test_a_simulated_host_says_what_it_lacks(where: Place) -> None:
    host = FakeHost()
    said: list[str] = []
    confine.make_jail(host, where, VERDICT, said.append)
    assert [words[0] for words in host.ran] == ["jail"]
    assert host.ran[0][3] == "path=/"
    assert "no devfs and no nullfs" in said[0]


def test_a_folder_that_others_write_holds_no_roots(where: Place) -> None:
    Path(where.root).parent.mkdir()
    Path(where.root).parent.chmod(0o777)
    with pytest.raises(Refused):
        confine.make_jail(FakeHost(), where, VERDICT, print)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_becoming_a_user_is_for_good() -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            confine.become(65534)
            try:
                os.setuid(0)
            except PermissionError:
                code = 0 if os.getgroups() in ([65534], []) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_user_that_is_none_is_refused() -> None:
    with pytest.raises(Refused, match="no such user"):
        confine.become(3_999_999_999)
