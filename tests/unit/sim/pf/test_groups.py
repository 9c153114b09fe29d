"""A rule on an interface group holds for its members, and follows them (pf.conf(5), ifconfig(8) group)."""

from beastack.sim.pf import Pf

from .frames import icmp

PING = icmp("10.5.0.1", "10.5.0.2", 8)


def test_a_group_is_a_place_for_a_rule() -> None:
    groups = {"tapvm1": ["tap", "beastack"], "em0": []}
    pf = Pf(lambda name: groups.get(name, []))
    assert pf.pfctl(["-f", "-"], "block drop quick on beastack all\n", 0.0).rc == 0
    pf.pfctl(["-e"], "", 0.0)
    assert not pf.filter("tapvm1", "in", PING, 1.0)
    assert pf.filter("em0", "in", PING, 1.0)
    # the first letters of a name are no group
    assert pf.filter("beastack0", "in", PING, 1.0)
    groups["tapvm1"].remove("beastack")
    pf.interfaces_changed()
    assert pf.filter("tapvm1", "in", PING, 2.0)


def test_a_skipped_group() -> None:
    pf = Pf()
    pf.pfctl(["-f", "-"], "set skip on lo\nblock all\n", 0.0)
    pf.pfctl(["-e"], "", 0.0)
    assert pf.filter("lo0", "in", PING, 1.0)
    assert not pf.filter("lox0", "in", PING, 1.0)
