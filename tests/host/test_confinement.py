"""devfs(8) rulesets and rctl(8) limits of jails."""

import pytest

from beastack.freebsd import devfs, rctl
from beastack.freebsd.errors import NotSupported
from beastack.freebsd.host import Host

from .lab import Lab

RULESET = 65001


def test_a_ruleset_hides_everything_but(host: Host, lab: Lab) -> None:
    assert devfs.read_ruleset(host, RULESET) == []
    lab.later(lambda: devfs.remove_ruleset(host, RULESET))
    assert devfs.ensure_ruleset(host, RULESET, devfs.BASIC)
    assert not devfs.ensure_ruleset(host, RULESET, devfs.BASIC)
    assert devfs.read_ruleset(host, RULESET)[0] == devfs.HIDE_ALL
    assert devfs.ensure_ruleset(host, RULESET, devfs.BASIC[:2])
    devfs.remove_ruleset(host, RULESET)
    assert devfs.read_ruleset(host, RULESET) == []


def test_a_mounted_devfs_shows_what_the_ruleset_says(host: Host, lab: Lab) -> None:
    devfs.ensure_ruleset(host, RULESET, devfs.BASIC)
    lab.later(lambda: devfs.remove_ruleset(host, RULESET))
    point = f"{lab.folder}/dev"
    host.run(["mkdir", point])
    lab.later(lambda: host.run(["rmdir", point]))
    host.run(["mount", "-t", "devfs", "-o", f"ruleset={RULESET}", "devfs", point])
    lab.later(lambda: host.run(["umount", point]))
    shown = set(host.run(["ls", point]).out.split())
    assert {"null", "zero", "random"} <= shown
    assert not shown & {"mem", "kmem", "pf", "mdctl", "zvol"}


def test_limits_of_a_jail(host: Host, lab: Lab) -> None:
    lab.jail("a")
    try:
        assert rctl.read_limits(host, "bsc-a") == {}
    except NotSupported as e:
        pytest.skip(f"needs kern.racct.enable=1 in loader.conf: {e}")
    lab.later(lambda: rctl.remove(host, "bsc-a"))
    rctl.set_limits(host, "bsc-a", {"maxproc": 5, "memoryuse": 64 << 20})
    assert rctl.read_limits(host, "bsc-a") == {"maxproc": 5, "memoryuse": 64 << 20}
    rctl.set_limits(host, "bsc-a", {"maxproc": 3})
    assert rctl.read_limits(host, "bsc-a") == {"maxproc": 3}
    assert rctl.read_usage(host, "bsc-a")["maxproc"] == 0
    rctl.remove(host, "bsc-a")
    rctl.remove(host, "bsc-a")
    assert rctl.read_limits(host, "bsc-a") == {}
