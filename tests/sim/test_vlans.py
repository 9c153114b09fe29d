"""vlan(4) children in a simulated host: tagged frames between jails, over a trunk, in a bridge."""

import pytest

from .conftest import Host

pytestmark = pytest.mark.root

TWO_JAILS = """
ifconfig epair0 create
for n in a b; do
  jail -c name=$n path=/ vnet persist allow.raw_sockets; ifconfig epair0$n vnet $n; jexec $n ifconfig epair0$n up
  jexec $n ifconfig vlan create vlan 100 vlandev epair0$n name v100
  jexec $n ifconfig vlan create vlan 200 vlandev epair0$n vlanproto 802.1ad vlanpcp 3 name v200
done
jexec a ifconfig v100 inet 10.1.0.1/24 up; jexec b ifconfig v100 inet 10.1.0.2/24 up
jexec a ifconfig v200 inet 10.2.0.1/24 up; jexec b ifconfig v200 inet 10.2.0.2/24 up
"""


def test_tagged_frames_between_two_jails(host: Host) -> None:
    host.ok(TWO_JAILS)
    for network in (1, 2):
        host.ok(f"jexec a ping -D -s 1472 -c 1 -t 3 10.{network}.0.2")
    assert "vlan: 200 vlanproto: 802.1ad vlanpcp: 3 parent interface: epair0a" in host.ok("jexec a ifconfig v200")
    # another tag is another network
    host.ok("jexec b ifconfig v100 vlan 101")
    assert host.run("jexec a ping -c 1 -t 1 10.1.0.2")[1] == 2
    assert host.run("jexec b ifconfig v100 vlan 200 vlanproto 802.1q")[1] == 0
    host.ok("jexec a ifconfig v100 vlan 200; jexec a ping -c 1 -t 3 10.1.0.2")
    # a child of a child: two tags
    for jail, n in (("a", 1), ("b", 2)):
        host.ok(f"jexec {jail} ifconfig v200.5 create inet 10.3.0.{n}/24 up")
    host.ok("jexec a ping -D -s 1468 -c 1 -t 3 10.3.0.2")
    assert "mtu 1496" in host.ok("jexec a ifconfig v200.5")
    assert host.run("jexec a ifconfig v200.5 mtu 1500")[1] == 1


def test_a_child_goes_with_its_parent(host: Host) -> None:
    host.ok("ifconfig epair0 create; ifconfig epair0a up; ifconfig epair0a.7 create inet 10.9.0.1/24 up")
    host.ok("ifconfig epair0a ether fa:16:3e:00:00:07 mtu 1400")
    shown = host.ok("ifconfig epair0a.7")
    assert "ether fa:16:3e:00:00:07" in shown
    assert "mtu 1400" in shown
    host.ok("ifconfig epair0a destroy")
    shown = host.ok("ifconfig epair0a.7")
    assert "vlan: 0 vlanproto: 802.1q vlanpcp: 0 parent interface: <none>" in shown
    assert "RUNNING" not in shown
    out, rc = host.run("ifconfig epair0a.7 vlan 7 vlandev epair0a")
    assert (out, rc) == ("ifconfig: SIOCSETVLAN: No such file or directory\n", 1)
    host.ok("ifconfig epair0a.7 destroy")


def test_children_of_a_trunk_in_bridges(host: Host) -> None:
    """What neutron does with a provider network of type vlan: one bridge each, over one network card."""
    host.ok(
        "ifconfig epair9 create; ifconfig epair9a up; "
        "for v in 10 20; do ifconfig vlan create vlan $v vlandev epair9a name v$v up; "
        "ifconfig bridge create name brq$v up; ifconfig brq$v addm v$v; "
        "ifconfig epair$v create up; ifconfig brq$v addm epair${v}a; jail -c name=j$v path=/ vnet persist "
        "allow.raw_sockets; ifconfig epair${v}b vnet j$v; jexec j$v ifconfig epair${v}b inet 10.5.0.1/24 up; done; "
        "jail -c name=far path=/ vnet persist allow.raw_sockets; ifconfig epair9b vnet far; "
        "jexec far ifconfig epair9b up; jexec far ifconfig vlan create vlan 20 vlandev epair9b name v20 "
        "inet 10.5.0.2/24 up"
    )
    host.ok("jexec j20 ping -c 1 -t 3 10.5.0.2")
    assert host.run("jexec j10 ping -c 1 -t 1 10.5.0.2")[1] == 2
    assert "10.5.0.2) at" in host.ok("jexec j20 arp -an")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("vlan 7", "must specify a parent device for vlan create"),
        ("vlandev epair0a", "must specify a tag for vlan create"),
        ("vlan 0 vlandev epair0a", "SIOCIFCREATE2 (vlan): Invalid argument"),
        ("vlan 7 vlandev lo0", "SIOCIFCREATE2 (vlan): Protocol not supported"),
        ("vlan x vlandev epair0a", "invalid vlan tag: x"),
        ("vlan 7 vlandev epair0a vlanproto 802.3", "invalid protocol: 802.3"),
    ],
)
def test_refused_children_are_not_made(host: Host, words: str, reason: str) -> None:
    host.ok("ifconfig epair0 create")
    assert host.run(f"ifconfig vlan create {words}") == (f"ifconfig: {reason}\n", 1)
    assert host.ok("ifconfig -g vlan") == ""


def test_a_member_with_children_keeps_its_tags_from_the_bridge(host: Host) -> None:
    """15.0: frames with a tag are vlan(4)'s where a member has children; so a card serves a bridge and VLANs."""
    host.ok(
        "ifconfig epair9 create; ifconfig epair9a up; ifconfig bridge create name flat up; ifconfig flat addm epair9a; "
        "ifconfig vlan create vlan 20 vlandev epair9a name v20 up; ifconfig bridge create name brq20 up; "
        "ifconfig brq20 addm v20; for v in 1 20; do ifconfig epair$v create up; jail -c name=j$v path=/ vnet persist "
        "allow.raw_sockets; ifconfig epair${v}b vnet j$v; jexec j$v ifconfig epair${v}b inet 10.5.0.1/24 up; done; "
        "ifconfig flat addm epair1a; ifconfig brq20 addm epair20a; jail -c name=far path=/ vnet persist "
        "allow.raw_sockets; ifconfig epair9b vnet far; jexec far ifconfig epair9b inet 10.5.0.3/24 up; "
        "jexec far ifconfig vlan create vlan 20 vlandev epair9b name v20"
    )
    host.ok("jexec j1 ping -c 1 -t 3 10.5.0.3")
    host.ok("jexec far ifconfig epair9b inet 10.5.0.3 -alias; jexec far ifconfig v20 inet 10.5.0.2/24 up")
    host.ok("jexec j20 ping -c 1 -t 3 10.5.0.2")
    assert host.run("jexec j1 ping -c 1 -t 1 10.5.0.2")[1] == 2


def test_a_guard_sees_what_is_behind_a_tag(host: Host) -> None:
    """ether_input() takes the tag off first: a guard that drops a tag's ethertype does not see one."""
    host.ok(TWO_JAILS)
    host.ok("kldload ng_ether ng_bpf; jail -r b; ifconfig epair0b up")
    steps = "mkpeer epair0b: bpf lower in", "name epair0b:lower bsg", "connect epair0b: bsg: upper out"
    # ldh [12]; jeq #0x8100 to the last; ret #65535; ret #0: all but a tag's ethertype passes
    no_tags = "bpf_prog_len=4 bpf_prog=[ { code=40 k=12 } { code=21 jt=1 k=33024 } { code=6 k=65535 } { code=6 } ]"
    everything = "bpf_prog_len=1 bpf_prog=[ { code=6 k=65535 } ]"
    for step in (
        *steps,
        f'msg bsg: setprogram {{ thisHook="in" ifMatch="out" ifNotMatch="" {no_tags} }}',
        f'msg bsg: setprogram {{ thisHook="out" ifMatch="in" ifNotMatch="in" {everything} }}',
    ):
        host.ok(f"echo '{step}' | ngctl -f -")
    host.ok("ifconfig vlan create vlan 100 vlandev epair0b name v100; ifconfig v100 inet 10.1.0.2/24 up")
    host.ok("jexec a ping -c 1 -t 3 10.1.0.2")
