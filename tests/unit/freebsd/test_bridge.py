"""Bridges beyond members, by what 15.1 printed and accepted (02, 06, 07)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.freebsd.recorded import everything
from tests.unit.transcripts import FakeHost

from beastack.freebsd import bridge
from beastack.freebsd.errors import NotAMember, NotSupported, UnexpectedOutput
from beastack.freebsd.ifnet_lines import (
    Tunnel,
    Vlan,
    Vxlan,
    read_tunnel,
    read_vlan,
    read_vlan_set,
    read_vxlan,
    show_vlan_set,
)
from beastack.freebsd.ifnet_read import parse_interfaces


def shown(command: str, nth: int = 0) -> str:
    return [s.output for s in everything() if s.command == command][nth]


BRQ = shown("ifconfig brq-test", 2)
BR_INT = shown("ifconfig br-int", 0)
LATER = shown("ifconfig br-int", 1)
OLD = "".join(line + "\n" for line in BRQ.splitlines() if "bridge flags" not in line)


def test_vlans_of_members_are_read() -> None:
    found = parse_interfaces(BR_INT)["br-int"]
    assert found.bridge_flags == {"VLANFILTER"}
    assert (found.members["epair1a"].untagged, found.members["epair1a"].tagged) == (None, {10, 20, 21, 22})
    assert (found.members["epair0a"].untagged, found.members["epair0a"].tagged) == (10, frozenset())
    later = parse_interfaces(LATER)["br-int"]
    assert later.members["epair1a"].tagged == {10, 20, 21, 22, 30}
    assert later.members["epair0a"].untagged is None
    assert parse_interfaces(BRQ)["brq-test"].bridge_flags == frozenset()
    assert parse_interfaces(OLD)["brq-test"].bridge_flags is None


def test_the_address_table_is_read() -> None:
    assert bridge.parse_addresses(shown("ifconfig brq-test addr")) == [
        bridge.Entry("fa:16:3e:00:00:01", 0, "epair0a", 0, True)
    ]
    learnt = bridge.parse_addresses(shown("ifconfig brq addr"))
    assert [(e.member, e.expires, e.static) for e in learnt] == [("vxlan-100", 1200, False), ("epair1a", 1200, False)]
    assert bridge.parse_addresses("") == []
    with pytest.raises(UnexpectedOutput, match="Vlan"):
        bridge.parse_addresses("fa:16:3e:00:00:01 Vlan0 ep")


def test_static_addresses_and_limits() -> None:
    host = FakeHost(
        {
            "ifconfig brq-test": BRQ,
            "ifconfig brq-test static tapvm1 fa:16:3e:00:00:01": "",
            "ifconfig brq-test ifmaxaddr tapvm1 1": "",
            "ifconfig brq-test deladdr fa:16:3e:00:00:01": ("ifconfig: BRDGDADDR: No such file or directory\n", 1),
            "ifconfig brq-test flush": "",
            "ifconfig brq-test flushall": "",
        }
    )
    bridge.add_static(host, "brq-test", "tapvm1", "fa:16:3e:00:00:01")
    bridge.limit_addresses(host, "brq-test", "tapvm1", 1)
    bridge.limit_addresses(host, "brq-test", "epair0a", 1)  # it has that limit already
    bridge.remove_address(host, "brq-test", "fa:16:3e:00:00:01")
    bridge.flush(host, "brq-test")
    bridge.flush(host, "brq-test", static_too=True)
    assert host.ran.count("ifconfig brq-test ifmaxaddr tapvm1 1") == 1
    assert not any("ifmaxaddr epair0a" in c for c in host.ran)
    with pytest.raises(NotAMember, match="epair9a"):
        bridge.add_static(host, "brq-test", "epair9a", "fa:16:3e:00:00:01")
    with pytest.raises(ValueError, match="-1"):
        bridge.limit_addresses(host, "brq-test", "epair0a", -1)


def test_flags_are_set_when_they_differ() -> None:
    host = FakeHost({"ifconfig brq-test": BRQ, "ifconfig brq-test learn tapvm1 private tapvm1": ""})
    bridge.set_flags(host, "brq-test", "epair1a", private=True, sticky=True, learn=True)
    assert host.ran == ["ifconfig brq-test"]
    bridge.set_flags(host, "brq-test", "tapvm1", learn=True, private=True, discover=False)
    assert host.ran[-1] == "ifconfig brq-test learn tapvm1 private tapvm1"
    with pytest.raises(KeyError):
        bridge.set_flags(host, "brq-test", "tapvm1", span=True)


def test_a_private_member_is_private_from_its_first_moment() -> None:
    add = "ifconfig brq-test addm vxlan-100 private vxlan-100"
    host = FakeHost({"ifconfig brq-test": BRQ, add: "", "ifconfig brq-test private epair0a": ""})
    bridge.attach_private(host, "brq-test", "vxlan-100")
    bridge.attach_private(host, "brq-test", "epair0a")
    bridge.attach_private(host, "brq-test", "epair1a")
    assert [c for c in host.ran if "private" in c] == [add, "ifconfig brq-test private epair0a"]


def test_vlan_filtering() -> None:
    host = FakeHost(
        {
            "ifconfig br-int": BR_INT,
            "ifconfig brq-test": BRQ,
            "ifconfig br-old": OLD.replace("brq-test", "br-old"),
            "ifconfig brq-test vlanfilter": "",
            "ifconfig br-int -vlanfilter": "",
            "ifconfig br-int -iftagged epair1a 10,20": "",
            "ifconfig br-int ifuntagged epair1a 11": "",
            "ifconfig br-int +iftagged epair1a 30-31": "",
            "ifconfig br-int -ifuntagged epair0a": "",
        }
    )
    bridge.set_vlan_filter(host, "br-int", True)
    bridge.set_vlan_filter(host, "brq-test", True)
    bridge.set_vlan_filter(host, "br-int", False)
    bridge.set_vlan_filter(host, "br-old", False)
    with pytest.raises(NotSupported):
        bridge.set_vlan_filter(host, "br-old", True)
    with pytest.raises(NotSupported):
        bridge.set_member_vlans(host, "br-old", "tapvm1", 1)
    bridge.set_member_vlans(host, "br-int", "epair1a", 11, {21, 22, 30, 31})
    bridge.set_member_vlans(host, "br-int", "epair0a", None)
    bridge.set_member_vlans(host, "br-int", "epair0a", 10)
    changes = [c for c in host.ran if "tagged" in c]
    assert changes == [
        "ifconfig br-int -iftagged epair1a 10,20",
        "ifconfig br-int ifuntagged epair1a 11",
        "ifconfig br-int +iftagged epair1a 30-31",
        "ifconfig br-int -ifuntagged epair0a",
    ]
    for bad in (0, 4095, -1):
        with pytest.raises(ValueError, match="VLAN"):
            bridge.set_member_vlans(host, "br-int", "epair0a", None, {bad})
        with pytest.raises(ValueError, match="VLAN"):
            bridge.set_member_vlans(host, "br-int", "epair0a", bad)


@given(st.frozensets(st.integers(1, 4094), max_size=40))
def test_a_set_of_vlans_survives_its_text(vlans: frozenset[int]) -> None:
    text = show_vlan_set(vlans)
    assert (read_vlan_set(text) if text else frozenset()) == vlans


@pytest.mark.parametrize("text", ["", "0", "4095", "5-3", "1-", "-1", "1,,2", "a", "1-2-3", "99999"])
def test_what_is_no_set_of_vlans(text: str) -> None:
    with pytest.raises(ValueError, match=r"VLAN|backwards"):
        read_vlan_set(text)


def test_single_lines() -> None:
    assert parse_interfaces(shown("ifconfig epair0b.200"))["epair0b.200"].vlan == Vlan(200, "epair0b")
    assert read_vlan("\tvlan: 0 vlanproto: 802.1q vlanpcp: 0 parent interface: <none>") == Vlan(0, None)
    group = parse_interfaces(shown("ifconfig vxlan-100"))["vxlan-100"].vxlan
    assert group == Vxlan(100, "192.168.50.1", 4789, "239.1.1.1", 4789)
    assert group.multicast
    remote = read_vxlan("\tvxlan vni 100 local 192.168.50.1:4790 remote 192.168.50.3:4790")
    assert (remote.remote, remote.remote_port, remote.multicast) == ("192.168.50.3", 4790, False)
    six = read_vxlan("\tvxlan vni 7 local [2001:db8::1]:4789 group [ff02::5]:4789")
    assert (six.local, six.remote) == ("2001:db8::1", "ff02::5")
    assert read_tunnel("\ttunnel inet 192.168.50.1 --> 192.168.50.2") == Tunnel("192.168.50.1", "192.168.50.2")
    assert read_tunnel("\ttunnel inet6 fe80::1%em0 --> 2001:db8::2") == Tunnel("fe80::1", "2001:db8::2")


@pytest.mark.parametrize(
    "line",
    [
        "\tvlan: 5000 vlanproto: 802.1q vlanpcp: 0 parent interface: em0", "\tvlan: 5", "\tvxlan vni 100",
        "\tvlan: 5 vlanproto: 802.1ad vlanpcp: 0 parent interface: em0",
        "\tvxlan vni 16777216 local 10.0.0.1:1 remote 10.0.0.2:1", "\tvxlan vni 1 local x:1 remote 10.0.0.2:1",
        "\tvxlan vni 1 local 10.0.0.1:1 group 10.0.0.2:1", "\tvxlan vni 1 local 10.0.0.1:99999 remote 10.0.0.2:1",
        "\ttunnel inet 10.0.0.1 -->", "\ttunnel inet x --> y",
        "\tmember: x flags=0<>\n\t        port 1 untagged 9999", "\tmember: x flags=0<>\n\t        port 1 tagged 5-1",
    ],
)  # fmt: skip
def test_lines_that_are_not_understood(line: str) -> None:
    with pytest.raises(UnexpectedOutput):
        parse_interfaces(f"x: flags=0<> metric 0 mtu 1500\n{line}\n")


EMPTY = "".join(line + "\n" for line in BR_INT.splitlines() if "member:" not in line and "port " not in line).replace(
    "flags=1<VLANFILTER>", "flags=0<>"
)


def test_members_without_tags_of_a_new_bridge() -> None:
    add = "ifconfig br-int addm t0 untagged 1"
    host = FakeHost({"ifconfig br-int": EMPTY, "ifconfig br-int vlanfilter": "", add: ""})
    bridge.attach_untagged(host, "br-int", "t0")
    # as recorded: the filter first, so that no member is ever without it
    assert [c for c in host.ran if c != "ifconfig br-int"] == ["ifconfig br-int vlanfilter", add]


def test_a_bridge_that_did_not_filter_loses_no_frame_on_the_way() -> None:
    host = FakeHost(
        {
            "ifconfig br-int": BR_INT.replace("flags=1<VLANFILTER>", "flags=0<>"),
            **{f"ifconfig br-int {words}": "" for words in (
                "-iftagged epair1a 10,20-22", "ifuntagged epair1a 1", "ifuntagged epair0a 1", "vlanfilter",
            )},
        }
    )  # fmt: skip
    bridge.attach_untagged(host, "br-int", "epair0a")
    assert host.ran[-1] == "ifconfig br-int vlanfilter"
    old = FakeHost({"ifconfig brq-test": OLD, "ifconfig brq-test addm t0": ""})
    bridge.attach_untagged(old, "brq-test", "t0")
    assert old.ran[-1] == "ifconfig brq-test addm t0"
