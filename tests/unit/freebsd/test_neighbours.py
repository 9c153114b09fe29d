"""ARP by the transcripts, neighbour discovery by its program's source."""

import pytest
from tests.unit.freebsd.recorded import everything
from tests.unit.transcripts import FakeHost

from beastack.freebsd import neighbours
from beastack.freebsd.errors import UnexpectedOutput
from beastack.freebsd.neighbours import Neighbour

ARP = next(s.output for s in everything() if s.command == "jexec qdhcp-a arp --libxo json -an")
MAC = "58:9c:fc:10:09:cd"
# usr.sbin/ndp/ndp.c: the heading, then one line an entry
NDP = f"""Neighbor                             Linklayer Address  Netif Expire    1s 5s
fe80::5a9c:fcff:fe10:9cd%epair0a     {MAC} epair0a permanent R
2001:db8::5                          58:9c:fc:10:9:d  epair0a 23h59m58s S R
2001:db8::6                          (incomplete)     epair0a expired   I
2001:db8::7                          {MAC} epair0a 12s       D R 2
"""


def test_arp() -> None:
    assert neighbours.parse_arp(ARP) == [
        Neighbour("10.9.0.2", "58:9c:fc:10:bc:18", "ns-port", None),
        Neighbour("10.9.0.1", MAC, "ns-port", 1197),
    ]
    incomplete = ARP.replace(f'"mac-address":"{MAC}"', '"incomplete":true')
    assert neighbours.parse_arp(incomplete)[1].mac is None


def test_ndp() -> None:
    assert neighbours.parse_ndp(NDP) == [
        Neighbour("fe80::5a9c:fcff:fe10:9cd", MAC, "epair0a", None),
        Neighbour("2001:db8::5", "58:9c:fc:10:09:0d", "epair0a", 86398),
        Neighbour("2001:db8::6", None, "epair0a", 0),
        Neighbour("2001:db8::7", MAC, "epair0a", 12),
    ]
    assert neighbours.parse_ndp(NDP.splitlines()[0]) == []


@pytest.mark.parametrize("text", ["", "x", NDP[:120], NDP.replace("permanent", "soon"), NDP.replace("(inc", "(x")])
def test_ndp_that_is_not_understood(text: str) -> None:
    with pytest.raises(UnexpectedOutput):
        neighbours.parse_ndp(text)


@pytest.mark.parametrize("text", ["", "{", "[]", ARP[:80], ARP.replace("58:9c", "zz:9c"), ARP.replace("1197", '"x"')])
def test_arp_that_is_not_understood(text: str) -> None:
    with pytest.raises(UnexpectedOutput):
        neighbours.parse_arp(text)


def test_permanent_entries() -> None:
    show, add = "arp --libxo json -an", f"arp -s 10.9.0.1 {MAC}"
    host = FakeHost({show: ARP, add: "", "arp -d 10.9.0.1": "10.9.0.1 (10.9.0.1) deleted\n"})
    neighbours.ensure(host, "10.9.0.1", MAC)
    assert host.ran == [show, add, show]
    neighbours.ensure(host, "10.9.0.2", "58:9c:fc:10:bc:18")
    assert host.ran[3:] == [show]
    neighbours.remove(host, "10.9.0.1")
    neighbours.remove(host, "10.9.0.77")
    assert host.ran[4:] == [show, "arp -d 10.9.0.1", show]


def test_an_address_that_no_interface_reaches() -> None:
    add = f"ndp -s 2001:db8::9 {MAC}"
    host = FakeHost({"ndp -an": NDP, add: "ndp: delete: cannot locate 2001:db8::9\n"})
    with pytest.raises(UnexpectedOutput, match="2001:db8::9"):
        neighbours.ensure(host, "2001:db8::9", MAC)
