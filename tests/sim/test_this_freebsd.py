"""FreeBSD as its own compute host: what it lacks is said before, and after `down` only the operator's is left."""

from pathlib import Path

import pytest

from beastack.cloud.errors import CloudError
from beastack.cloud.layout import Layout
from beastack.cloud.this_freebsd import ThisFreeBSD
from beastack.freebsd import ifnet, jail, pf, pf_host
from beastack.freebsd.ifnet_read import list_interfaces
from beastack.freebsd.pf_rules import Rule
from tests.host.targets import SimHost, running

from .conftest import OCTET, Host

pytestmark = pytest.mark.root

UUID = "3b5d51c1-06e1-41ee-a43f-d8da98852343"


@pytest.fixture
def machine(host: Host) -> SimHost:
    return running(host.directory)


@pytest.fixture
def here(machine: SimHost, tmp_path: Path) -> ThisFreeBSD:
    return ThisFreeBSD(Layout("t", tmp_path, int(OCTET)), machine)


def test_networks_that_the_machine_lacks_are_named_with_the_remedy(here: ThisFreeBSD, machine: SimHost) -> None:
    with pytest.raises(CloudError, match=rf"no interface has the address 100\.64\.{OCTET}\.1") as e:
        here.networks_up()
    assert e.value.remedy is not None
    machine.run(e.value.remedy.rpartition(": ")[2].split())
    assert here.networks_up() == "this machine's own"
    machine.run(["ifconfig", "em0", "name", "lan0"])
    with pytest.raises(CloudError, match="no interface em0"):
        here.networks_up()


def test_stop_removes_ours_and_nothing_else(here: ThisFreeBSD, machine: SimHost) -> None:
    machine.run(["ifconfig", "bridge", "create", "name", "office"])
    machine.run(["jail", "-c", "name=www", "path=/", "vnet", "persist"])
    before = set(list_interfaces(machine)), set(jail.list_jails(machine))
    pf_host.prepare(machine)
    ifnet.ensure_bridge(machine, "brq3b5d51c1-06", f"beastack:network:{UUID}")
    ifnet.ensure_tap(machine, "tap3b5d51c1-06", f"beastack:port:{UUID}", 1500)
    ifnet.attach_member(machine, "brq3b5d51c1-06", "tap3b5d51c1-06")
    pf.load_rules(machine, "tap3b5d51c1-06", [Rule("block", "test")])
    for name in (f"qdhcp-{UUID}", f"qrouter-{UUID}"):
        jail.ensure_vnet(machine, name)
        other = ifnet.ensure_epair(machine, f"tap3b5d51c1-{len(name):02x}", f"beastack:port:{UUID}")
        assert other is not None
        ifnet.move_to_jail(machine, other, name)
    here.stop("t")
    assert (set(list_interfaces(machine)), set(jail.list_jails(machine))) == before
    assert pf.list_anchors(machine) == []
    here.stop("t")
