"""epair(4), tap(4) and if_bridge(4) by ifconfig(8): made, marked, read, changed and removed (transcript 01)."""

import pytest

from beastack.freebsd import ifnet
from beastack.freebsd.errors import CommandFailed, InterfaceExists, NameTooLong, NoSuchInterface, NotOurs
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_read import get_interface, interfaces_in_group, list_interfaces

from .lab import Lab


def test_what_is_there_is_read(host: Host) -> None:
    found = list_interfaces(host)
    assert found["lo0"].is_up
    assert "127.0.0.1/8" in found["lo0"].inet
    assert "LOOPBACK" in found["lo0"].flags
    assert host.run(["ifconfig", "-l"]).out.split() == list(found)


def test_a_tap_carries_name_group_description_and_mtu(host: Host, lab: Lab) -> None:
    name = lab.tap(1, mtu=1450)
    found = get_interface(host, name)
    assert found.is_up
    assert found.mtu == 1450
    assert found.description == "beastack:conformance:tap"
    assert {"tap", ifnet.GROUP} <= found.groups
    assert found.opened_by is None
    assert name in interfaces_in_group(host, ifnet.GROUP)
    # again: nothing changes, the description does
    ifnet.ensure_tap(host, name, "beastack:conformance:other", 1400)
    found = get_interface(host, name)
    assert (found.mtu, found.description) == (1400, "beastack:conformance:other")
    ifnet.destroy(host, name)
    assert ifnet.find(host, name) is None
    ifnet.destroy(host, name)


def test_both_halves_of_an_epair_go_together(host: Host, lab: Lab) -> None:
    one, other = lab.epair()
    assert other.startswith("epair") and other.endswith("b")
    assert get_interface(host, one).mac != get_interface(host, other).mac
    assert ifnet.ensure_epair(host, one, "beastack:conformance:epair") is None
    ifnet.destroy(host, one)
    assert ifnet.find(host, one) is None
    assert ifnet.find(host, other) is None


def test_a_name_of_16_characters_leaves_nothing_behind(host: Host) -> None:
    before = set(list_interfaces(host))
    with pytest.raises(NameTooLong):
        ifnet.ensure_tap(host, "bsctap1234567890", "x", 1500)
    with pytest.raises(NameTooLong):
        ifnet.ensure_epair(host, "bscep12345678901", "x")
    assert set(list_interfaces(host)) == before


def test_a_name_that_is_taken(host: Host, lab: Lab) -> None:
    one, two = lab.tap(1), lab.tap(2)
    with pytest.raises(InterfaceExists):
        ifnet.rename(host, two, one)
    # renamed before: the same call again is fine
    ifnet.rename(host, two, "bsctap3")
    lab.later(lambda: ifnet.destroy(host, "bsctap3"))
    ifnet.rename(host, two, "bsctap3")
    assert ifnet.find(host, two) is None


def test_what_is_not_there(host: Host) -> None:
    with pytest.raises(NoSuchInterface):
        get_interface(host, "bscnone0")
    for change in (ifnet.set_up, lambda h, n: ifnet.set_mtu(h, n, 1400)):
        with pytest.raises(NoSuchInterface):
            change(host, "bscnone0")
    with pytest.raises(NoSuchInterface):
        ifnet.rename(host, "bscnone0", "bscnone1")
    ifnet.remove_address(host, "bscnone0", "10.5.0.1/24")


def test_an_interface_of_somebody_else_is_left_alone(host: Host, lab: Lab) -> None:
    made = host.run(["ifconfig", "tap", "create"]).out.strip()
    lab.later(lambda: host.run(["ifconfig", made, "destroy"]))
    with pytest.raises(NotOurs):
        ifnet.destroy(host, made)
    with pytest.raises(NotOurs):
        ifnet.ensure_tap(host, made, "x", 1500)
    assert get_interface(host, made).description is None


def test_addresses_come_and_go(host: Host, lab: Lab) -> None:
    one, _ = lab.epair()
    for cidr in ("10.5.1.1/24", "10.5.1.2/32", "2001:db8:5::1/64"):
        ifnet.add_address(host, one, cidr)
        ifnet.add_address(host, one, cidr)
    found = get_interface(host, one)
    assert found.inet == ["10.5.1.1/24", "10.5.1.2/32"]
    assert "2001:db8:5::1/64" in found.inet6
    for cidr in ("10.5.1.1/24", "2001:db8:5::1/64"):
        ifnet.remove_address(host, one, cidr)
        ifnet.remove_address(host, one, cidr)
    found = get_interface(host, one)
    assert found.inet == ["10.5.1.2/32"]
    assert "2001:db8:5::1/64" not in found.inet6


def test_an_ethernet_address_is_set(host: Host, lab: Lab) -> None:
    one, _ = lab.epair()
    ifnet.set_mac(host, one, "fa:16:3e:12:34:56")
    assert get_interface(host, one).mac == "fa:16:3e:12:34:56"


@pytest.mark.parametrize(
    "words",
    [["mtu", "70000"], ["inet", "10.5.0.1/33"], ["ether", "01:02"], ["vnet", "bsc-none"]],
    ids=lambda words: " ".join(words),
)
def test_what_ifconfig_refuses_is_an_error(host: Host, lab: Lab, words: list[str]) -> None:
    one, _ = lab.epair()
    with pytest.raises(CommandFailed):
        host.run(["ifconfig", one, *words])
