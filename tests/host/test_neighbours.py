"""ARP and neighbour tables of a jail (arp(8), ndp(8); transcript 03)."""

import pytest

from beastack.freebsd import ifnet, neighbours
from beastack.freebsd.errors import HostError

from .lab import Lab


def test_what_was_heard(lab: Lab) -> None:
    _bridge, (one, two) = lab.guests(2)
    found = {entry.address: entry for entry in neighbours.list_neighbours(one.host)}
    assert found[two.address].mac == two.mac
    assert found[two.address].interface == one.nic
    assert found[two.address].expires is not None
    assert found[one.address].expires is None


def test_what_was_heard_by_ipv6(lab: Lab) -> None:
    _bridge, (one, two) = lab.guests(2)
    for guest in (one, two):
        ifnet.add_address(guest.host, guest.nic, f"2001:db8:5::{guest.number}/64")
    one.reaches("2001:db8:5::2")
    found = {entry.address: entry for entry in neighbours.list_neighbours(one.host, 6)}
    assert found["2001:db8:5::2"].mac == two.mac


@pytest.mark.parametrize("address", ["10.5.0.77", "2001:db8:5::77"])
def test_an_entry_of_ours(lab: Lab, address: str) -> None:
    _bridge, (one, _two) = lab.guests(2)
    ifnet.add_address(one.host, one.nic, "2001:db8:5::1/64")
    version = 6 if ":" in address else 4
    neighbours.ensure(one.host, address, "fa:16:3e:00:00:77")
    neighbours.ensure(one.host, address, "fa:16:3e:00:00:77")
    found = {entry.address: entry for entry in neighbours.list_neighbours(one.host, version)}
    assert found[address].mac == "fa:16:3e:00:00:77"
    assert found[address].expires is None
    neighbours.remove(one.host, address)
    neighbours.remove(one.host, address)
    assert address not in {entry.address for entry in neighbours.list_neighbours(one.host, version)}


def test_an_address_of_no_network(lab: Lab) -> None:
    inside = lab.jail("a")
    with pytest.raises(HostError):
        neighbours.ensure(inside, "192.0.2.7", "fa:16:3e:00:00:77")
