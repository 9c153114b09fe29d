"""Entries of Open vSwitch: the guard comes before the port, and what is refused besides bad arguments."""

import json
from collections.abc import Callable, Iterator, Sequence

import pytest
from oslo_config import cfg

from beastack.freebsd.errors import HostError, NotOurs
from beastack.freebsd.host import Completed
from beastack.freebsd.ovs import PortRefused
from beastack.privsep import checks, conf, context, ovs

PORT = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
TAP = "tap6f1a4f2e-0c"
MAC = "fa:16:3e:00:00:01"
HEAD = "flags=1008843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST,LOWER_UP> metric 0 mtu 1450\n"
STATES = """\
udp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=5,dport=53),reply=(src=10.0.0.2,dst=10.0.0.1,sport=53,dport=5),zone=5
icmp,orig=(src=10.0.0.3,dst=10.0.0.2,id=1,type=8,code=0),reply=(src=10.0.0.2,dst=10.0.0.3,id=1,type=0,code=0),zone=5,mark=1
gre,orig=(src=10.0.0.3,dst=10.0.0.2),reply=(src=10.0.0.2,dst=10.0.0.3),zone=5,mark=1
"""


class Switch:
    """A host with Open vSwitch's database: which bridge has which interface, with which number."""

    def __init__(self, interfaces: dict[str, str]) -> None:
        self.interfaces = interfaces
        self.ports: dict[str, tuple[str, int]] = {}
        self.guards: set[str] = set()
        self.ran: list[str] = []
        self.states = ""
        self.deaf = False

    def run(self, argv: Sequence[str], *, input: str | None = None, check: bool = True, **kw: object) -> Completed:
        words = [word for word in argv if not word.startswith("--timeout")]
        self.ran.append(" ".join(words) + (f" <{input}" if input else ""))
        rc, out, err = 0, "", ""
        match words:
            case ["ifconfig", name] if name in self.interfaces:
                out = self.interfaces[name]
            case ["ovs-vsctl", "iface-to-br", name]:
                found = self.ports.get(name)
                rc, out, err = (0, found[0], "") if found else (1, "", f"ovs-vsctl: no interface named {name}\n")
            case ["ovs-vsctl", *_, "list", "Interface", name]:
                row = [self.ports[name][1], ["set", []], ["map", [["iface-id", PORT]]]]
                out = json.dumps({"headings": ["ofport", "error", "external_ids"], "data": [row]})
            case ["ovs-vsctl", "--may-exist", "add-port", bridge, name, *_]:
                assert name in self.guards, "a port before its guard"
                self.ports.setdefault(name, (bridge, 1))
            case ["ngctl", "show", path]:
                name = path.removeprefix("bsg_").rstrip(":")
                if name in self.guards:
                    hooks = (f"  {a:15} {name:15} ether        00000001        {b:15}\n" for a, b in (("in", "lower"),))
                    out = f"  Name: bsg_{name}  Type: bpf  ID: 00000002   Num hooks: 2\n\n\n" + "".join(hooks)
                    out += f"  {'out':15} {name:15} ether        00000001        upper          \n"
                else:
                    rc, err = 1, "ngctl: send msg: No such file or directory"
            case ["ovs-vsctl", "list-ports", bridge]:
                out = "".join(f"{name}\n" for name, found in self.ports.items() if found[0] == bridge)
            case ["ngctl", "list"]:
                line = "  Name: bsg_{}  Type: bpf             ID: 0000002a   Num hooks: 2\n"
                out = "There are 9 total nodes:\n" + "".join(map(line.format, sorted(self.guards)))
            case ["ifconfig", "-a"]:
                out = "".join(self.interfaces.values())
            case ["ngctl", "-f", "-"] if self.deaf:
                rc, err = 71, "ngctl: send msg: Cannot allocate memory"
            case ["ngctl", "-f", "-"]:
                self.guards.add((input or "").split()[1].rstrip(":"))
            case ["ovs-appctl", "dpctl/dump-conntrack", _]:
                out = self.states
        return Completed(tuple(argv), rc, out, err)

    def vsctl(self) -> list[str]:
        return [line for line in self.ran if line.startswith("ovs-vsctl") and ("add-" in line or "del-" in line)]


@pytest.fixture(autouse=True)
def configured() -> Iterator[None]:
    cfg.CONF([], project="test")
    conf.register(cfg.CONF)
    cfg.CONF.set_override("physical_interfaces", ["em0", f"em1={PORT}"], "beastack")
    yield
    cfg.CONF.clear_override("physical_interfaces", "beastack")


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Switch:
    made = Switch({TAP: f"{TAP}: {HEAD}\tgroups: tap beastack\n", "em0": f"em0: {HEAD}", "em1": f"em1: {HEAD}"})
    monkeypatch.setattr(ovs, "HOST", made)
    return made


def call(name: str) -> Callable[..., object]:
    return context.entries[f"beastack.privsep.ovs.{name}"]


def test_a_port_is_closed_to_the_host_and_dead_until_it_is_wired(switch: Switch) -> None:
    call("ovs_plug")(TAP, PORT, MAC, None)
    (line,) = switch.vsctl()
    assert f"add-port br-int {TAP} -- set Port {TAP} tag=4095 vlan_mode=trunk trunks=4095 -- set Interface" in line
    assert f'external_ids:iface-id="{PORT}"' in line and f'external_ids:attached-mac="{MAC}"' in line
    drop = next(line for line in switch.ran if "setprogram" in line)
    assert 'thisHook="in"' in drop and 'ifNotMatch="" bpf_prog_len=1 bpf_prog=[ { code=6 } ]' in drop
    # again, with a guest: it stays wired
    call("ovs_plug")(TAP, PORT, MAC, PORT)
    assert "4095" not in switch.vsctl()[1] and f'external_ids:vm-uuid="{PORT}"' in switch.vsctl()[1]


def test_frames_are_whole_where_the_switch_reads_them(switch: Switch) -> None:
    call("ovs_plug")(TAP, PORT, MAC, None)
    call("ovs_prepare")(["em0"])
    assert f"ifconfig {TAP} -txcsum -txcsum6 -lro" in switch.ran and "ifconfig em0 -lro" in switch.ran
    assert "ifconfig em0 mtu 1504" in switch.ran
    for name, do in (
        (TAP, lambda: call("ovs_plug")(TAP, PORT, MAC, None)),
        ("em0", lambda: call("ovs_prepare")(["em0"])),
    ):
        switch.interfaces[name] = switch.interfaces[name].replace("mtu 1450", "mtu 9000")
        with pytest.raises(checks.Refused, match=f"{name} has an MTU of 9000: .* at most 2030"):
            do()


def test_a_lost_guard_is_put_back_and_else_the_port_goes_down(switch: Switch) -> None:
    call("ovs_plug")(TAP, PORT, MAC, None)
    call("ovs_prepare")(["em0"])
    switch.ports["tap-gone"], switch.ports["int-br-em0"] = ("br-int", 7), ("br-int", 8)
    assert call("ovs_keep_closed")() == []
    switch.guards.clear()
    assert call("ovs_keep_closed")() == ["em0", TAP]
    assert switch.guards == {"em0", TAP}
    switch.guards.remove("em0")
    switch.deaf = True
    with pytest.raises(HostError):
        call("ovs_keep_closed")()
    assert "ifconfig em0 down" in switch.ran and f"ifconfig {TAP} down" not in switch.ran


def test_a_port_of_another_bridge_or_none_is_not_taken(switch: Switch) -> None:
    switch.ports[TAP] = ("br-em0", 1)
    with pytest.raises(PortRefused, match="br-em0"):
        call("ovs_plug")(TAP, PORT, MAC, None)
    switch.ports[TAP] = ("br-int", -1)
    with pytest.raises(PortRefused, match="no reason"):
        call("ovs_plug")(TAP, PORT, MAC, None)


def test_what_is_not_ours_is_left_alone(switch: Switch) -> None:
    switch.interfaces[TAP] = switch.interfaces[TAP].replace(" beastack", "")
    with pytest.raises(NotOurs):
        call("ovs_plug")(TAP, PORT, MAC, None)
    with pytest.raises(checks.Refused, match="not that of port"):
        call("ovs_plug")("tap00000000-00", PORT, MAC, None)
    assert switch.vsctl() == [] and switch.guards == set()


def test_bridges_of_cards(switch: Switch) -> None:
    call("ovs_prepare")(["em0"])
    assert {"kldload -n pf", "kldload -n ng_ether"} <= set(switch.ran) and "kldload -n if_bridge" not in switch.ran
    lines = switch.vsctl()
    assert [line.split(" -- ")[0].split(" ", 2)[2] for line in lines] == [
        "add-br br-int",
        "add-br br-em0",
        "add-port br-em0 em0",
    ]
    assert all("datapath_type=netdev fail_mode=secure" in line for line in lines[:2])
    assert "4095" not in lines[2]


def test_a_card_with_an_address_or_a_network_of_its_own(switch: Switch) -> None:
    switch.interfaces["em0"] += "\tinet 192.0.2.1 netmask 0xffffff00 broadcast 192.0.2.255\n"
    with pytest.raises(checks.Refused, match=r"192\.0\.2\.1/24"):
        call("ovs_prepare")(["em0"])
    with pytest.raises(checks.Refused, match="tied"):
        call("ovs_prepare")(["em1"])
    with pytest.raises(checks.Refused, match="not among those allowed"):
        call("ovs_prepare")(["vtnet0"])
    assert switch.vsctl() == []


def test_flows_go_to_a_fixed_command_on_standard_input(switch: Switch) -> None:
    call("ovs_flows")("br-int", "add", ["table=0,actions=drop", "table=1,actions=normal"])
    call("ovs_flows")("br-em0", "del", ["table=0,cookie=5/-1"])
    assert switch.ran == [
        "ovs-ofctl -O OpenFlow14 --bundle add-flows br-int - <table=0,actions=drop\ntable=1,actions=normal\n",
        "ovs-ofctl -O OpenFlow14 --bundle del-flows br-em0 - <table=0,cookie=5/-1\n",
    ]


@pytest.mark.parametrize("bridge", ["br-ex", "br-vtnet0", "br-", "unix:/x", "br-int ", "br-em1", "tcp:192.0.2.1:6653"])
def test_flows_for_other_bridges_are_refused(bridge: str, switch: Switch) -> None:
    with pytest.raises(checks.Refused):
        call("ovs_flows")(bridge, "add", ["table=0,actions=drop"])
    assert switch.ran == []


def test_states_that_are_marked_or_of_an_address_end(switch: Switch) -> None:
    switch.states = STATES
    assert call("ovs_end_states")(5, []) == 1
    ends = [line for line in switch.ran if "flush" in line]
    assert ends == [
        "ovs-appctl dpctl/flush-conntrack zone=5 "
        "ct_nw_src=10.0.0.3,ct_nw_dst=10.0.0.2,ct_nw_proto=1,icmp_id=1,icmp_type=8,icmp_code=0"
    ]
    switch.ran.clear()
    assert call("ovs_end_states")(5, ["10.0.0.1"]) == 0
    assert "ct_nw_proto=17,ct_tp_src=5,ct_tp_dst=53" in switch.ran[-1] and len(switch.ran) == 2
