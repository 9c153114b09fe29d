"""The suite's own promise: what is left behind is seen, named and removed."""

from beastack.freebsd import ifnet, jail, pf, sysctl
from beastack.freebsd.host import Host

from . import snapshot
from .lab import Lab
from .restore import restore


def test_what_a_failed_run_leaves_is_seen_and_removed(host: Host, lab: Lab) -> None:
    before = snapshot.take(host)
    name = "net.link.tap.up_on_open"
    old = sysctl.read_int(host, name)
    lab.later(lambda: sysctl.ensure(host, name, old))
    # a run that dies leaves it like this: nothing of it is known to a lab
    ifnet.ensure_bridge(host, "bscbr7", "beastack:conformance:left")
    nic = ifnet.ensure_epair(host, "bsctap7", "beastack:conformance:left")
    assert nic is not None
    ifnet.attach_member(host, "bscbr7", "bsctap7")
    jail.ensure_vnet(host, "bsc-left")
    ifnet.move_to_jail(host, nic, "bsc-left")
    sysctl.ensure(host, name, 1 - old)
    text = "\n".join(snapshot.differences(before, snapshot.take(host)))
    for word in ("bscbr7", "bsctap7", "bsc-left", name):
        assert word in text
    restore(host, before)
    assert snapshot.differences(before, snapshot.take(host)) == []


def test_filters_that_were_left_are_seen_and_removed(filtering: Host) -> None:
    before = snapshot.take(filtering)
    pf.load_rules(filtering, "bsctap7", [])
    pf.replace_table(filtering, "bsc_left", ["10.5.0.1"])
    text = "\n".join(snapshot.differences(before, snapshot.take(filtering)))
    assert "bsctap7" in text
    assert "bsc_left" in text
    restore(filtering, before)
    assert snapshot.differences(before, snapshot.take(filtering)) == []


def test_an_interface_that_only_looks_like_ours_stays(host: Host, lab: Lab) -> None:
    made = host.run(["ifconfig", "tap", "create", "name", "bsctap8"]).out.strip()
    assert made == "bsctap8"
    lab.later(lambda: host.run(["ifconfig", "bsctap8", "destroy"]))
    before = snapshot.take(host)
    restore(host, before)
    assert ifnet.find(host, "bsctap8") is not None
