"""Flows that cross the boundary: neutron's own forms come through, all else does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.privsep.checks import Refused
from beastack.privsep.flows import MOST_CHARACTERS, checked

HEAD = "hard_timeout=0,idle_timeout=0,priority=70,cookie=14074731583183129604"
GOOD = [
    f"{HEAD},table=0,actions=drop",
    f"{HEAD},table=60,in_port=3,actions=set_field:3->reg5,set_field:1->reg6,resubmit(,71)",
    f"{HEAD},table=60,dl_dst=fa:16:3e:00:00:01,dl_vlan=0x1,actions=set_field:3->reg5,strip_vlan,resubmit(,81)",
    f"{HEAD},table=60,dl_dst=fa:16:3e:00:00:01,vlan_tci=0x0000/0x1fff,actions=resubmit(,81)",
    f"{HEAD},table=71,in_port=3,reg5=3,dl_src=fa:16:3e:00:00:01,dl_type=0x0806,arp_spa=10.0.0.5,actions=resubmit(,94)",
    f"{HEAD},table=71,dl_type=0x86dd,nw_proto=58,icmp_type=135,nd_target=fe80::1,actions=resubmit(,94)",
    f"{HEAD},table=71,dl_type=0x0800,nw_src=10.0.0.0/24,actions=ct(table=72,zone=NXM_NX_REG6[0..15])",
    f"{HEAD},table=72,ct_state=+est,actions=ct(commit,zone=NXM_NX_REG6[0..15],exec(set_field:0x1->ct_mark))",
    f"{HEAD},table=82,ct_state=-new-est+rel-inv,ct_mark=0x0,ct_zone=1,actions=output:3",
    f"{HEAD},table=82,dl_type=0x0800,nw_proto=6,tcp_dst=0x16/0xfffe,actions=conjunction(8,2/2),conjunction(16,2/2)",
    f"{HEAD},table=94,dl_dst=00:00:00:00:00:00/01:00:00:00:00:00,actions=mod_vlan_vid:1,output:2",
    f"{HEAD},table=94,actions=normal",
]


@pytest.mark.parametrize("flow", GOOD)
def test_neutron_s_flows_come_through_as_they_are(flow: str) -> None:
    assert checked(flow, "add") == flow
    assert checked(flow, "mod") == flow
    with pytest.raises(Refused, match="to del"):
        checked(flow, "del")


@pytest.mark.parametrize("flow", ["cookie=5/-1,table=60,in_port=3", "table=71,reg5=3", "cookie=0x5/-1,reg6=1"])
def test_what_is_deleted_has_no_actions(flow: str) -> None:
    assert checked(flow, "del") == flow
    with pytest.raises(Refused, match="to add"):
        checked(flow, "add")


@pytest.mark.parametrize(
    "actions",
    [
        "controller",
        "output:NORMAL",
        "in_port",
        "local",
        "flood",
        "learn(table=1)",
        "note:00",
        "drop\nadd table=1,actions=normal",
        "resubmit(3,71)",
        "resubmit(,71),",
        "",
        "ct(commit,nat(src=10.0.0.1))",
        "ct(commit",
        "drop)",
        "set_field:1->reg0",
        "set_field:fa:16:3e:00:00:01->eth_src",
        "sample(probability=1)",
        "clone(output:1)",
        "group:1",
        "meter:1",
        "ct(exec(controller))",
    ],
)
def test_other_actions_are_refused(actions: str) -> None:
    with pytest.raises(Refused):
        checked(f"table=1,actions={actions}", "add")


@pytest.mark.parametrize(
    "match",
    [
        "add table=1",
        "delete",
        "table=",
        "table=1 ",
        "#x=1",
        "nw_src=fe80::1",
        "ipv6_src=10.0.0.1",
        "nw_src=10.0.0.1 ",
        "ipv6_src=fe80::1%em0",
        "nw_src=/etc/passwd",
        "dl_src=fa:16:3e:00:00",
        "metadata=1",
        "in_port=LOCAL",
        "tun_id=1",
        "ct_state=trk",
        "reg0=1",
        "table=1,,table=2",
        "table=99999999999999999999999",
    ],
)
def test_other_fields_are_refused(match: str) -> None:
    for action, flow in (("add", f"{match},actions=drop"), ("del", match)):
        with pytest.raises(Refused):
            checked(flow, action)


@pytest.mark.parametrize("flow", [None, 5, "", b"table=1", "table=1,actions=" + "drop," * MOST_CHARACTERS, "täble=1"])
def test_what_is_no_line_is_refused(flow: object) -> None:
    with pytest.raises(Refused):
        checked(flow, "add")


@given(st.text(st.characters(max_codepoint=0x7F), max_size=60), st.sampled_from(GOOD), st.integers(0, 200))
def test_nothing_slips_in(extra: str, flow: str, at: int) -> None:
    """Whatever is put into a good flow, what comes through is one line without blanks, quotes or comments."""
    text = flow[:at] + extra + flow[at:]
    try:
        found = checked(text, "add")
    except Refused:
        return
    assert found == text and not set(found) & set(" \t\r\n\0#\"'\\;`$|<&")
