"""sysctl(8), kldload(8), the release, and how a host fails: missing programs, commands that do not end."""

import time

import pytest

from beastack.freebsd import kld, release, sysctl
from beastack.freebsd.errors import CommandFailed, CommandTimedOut, HostError, ProgramMissing, UnexpectedOutput
from beastack.freebsd.host import Host

from .lab import Lab
from .snapshot import has_module


def test_the_release_is_one_that_is_supported(host: Host) -> None:
    found = release.read(host)
    assert (found.major, found.minor) >= release.OLDEST
    assert host.run(["uname", "-r"]).out.startswith(str(found))
    assert sysctl.read(host, "kern.ostype") == "FreeBSD"


def test_values_are_read_and_set_and_read_back(host: Host, lab: Lab) -> None:
    name = "net.link.tap.up_on_open"
    old = sysctl.read_int(host, name)
    lab.later(lambda: sysctl.ensure(host, name, old))
    assert sysctl.ensure(host, name, 1 - old)
    assert not sysctl.ensure(host, name, 1 - old)
    assert sysctl.read_int(host, name) == 1 - old


@pytest.mark.parametrize("name", ["kern.nosuch", "net.link.bridge.nosuch"])
def test_an_unknown_value(host: Host, name: str) -> None:
    with pytest.raises(CommandFailed, match="unknown oid"):
        sysctl.read(host, name)


def test_a_value_that_is_no_number(host: Host) -> None:
    with pytest.raises(UnexpectedOutput):
        sysctl.read_int(host, "kern.ostype")


def test_a_read_only_value(host: Host) -> None:
    with pytest.raises(HostError):
        sysctl.ensure(host, "kern.osreldate", 1)


def test_a_jail_cannot_set_the_hosts(lab: Lab) -> None:
    inside = lab.jail("a")
    with pytest.raises(HostError):
        sysctl.ensure(inside, "net.link.tap.user_open", 1 - sysctl.read_int(inside, "net.link.tap.user_open"))


def test_modules(host: Host) -> None:
    kld.ensure_loaded(host, ("if_bridge", "if_epair"))
    kld.ensure_loaded(host, ("if_bridge", "if_epair"))
    assert has_module(host, "if_bridge")
    assert not has_module(host, "bsc_nosuch")
    with pytest.raises(CommandFailed):
        kld.ensure_loaded(host, ("bsc_nosuch",))


def test_a_program_that_is_not_there(host: Host) -> None:
    with pytest.raises(ProgramMissing):
        host.run(["bsc-no-such-program"])


def test_a_command_that_does_not_end(host: Host) -> None:
    began = time.monotonic()
    with pytest.raises(CommandTimedOut):
        host.run(["sleep", "60"], timeout=1)
    assert time.monotonic() - began < 15


def test_words_arrive_as_they_were(host: Host) -> None:
    words = ["a b", "'", '"', "$HOME", "`id`", "*", "\\", ";", "", '{ x="y" }']
    assert host.run(["printf", "%s|", *words]).out == "|".join(words) + "|"
