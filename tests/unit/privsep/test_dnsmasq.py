"""dnsmasq's command line: the one that FreeBSD was seen to run, and upstream's own for the same settings."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.transcripts import DATA

from beastack.privsep import dnsmasq
from beastack.privsep.checks import Refused

UUID = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
FILES = dnsmasq.Files(Path("/tmp/dm"), Path("/tmp/dm/pid"), None, None)
SETTINGS = dnsmasq.Settings(
    interface="ns-1",
    ranges=(dnsmasq.Range.check({"subnet_id": UUID, "cidr": "10.8.0.0/24"}),),
    lease_seconds=86400,
    lease_max=256,
    mtu=1450,
    renewal_seconds=0,
    rebinding_seconds=0,
    dns_servers=(),
    domain="openstacklocal",
    local_resolv=False,
    broadcast=False,
    txt_record="",
)


def recorded() -> list[str]:
    text = (DATA / "12-dhcp.txt").read_text()
    line = next(x for x in text.splitlines() if x.startswith("$ jexec qdhcp /root/dnsmasq"))
    return shlex.split(line)[3:]


def test_it_is_the_command_line_that_freebsd_ran() -> None:
    seen = recorded()
    mine = dnsmasq.argv(SETTINGS, FILES, "root")
    assert mine[0] == "dnsmasq" and seen[0].endswith("/dnsmasq")
    renamed = {"set:s1,": f"set:subnet-{UUID},", "addn-hosts=/tmp/dm/addn": "addn-hosts=/tmp/dm/addn_hosts"}
    wanted = set(seen[1:])
    for theirs, ours in renamed.items():
        wanted = {x.replace(theirs, ours) for x in wanted}
    wanted.discard("--log-facility=/tmp/dm/log")
    assert set(mine[1:]) == wanted


def test_every_setting_has_its_option() -> None:
    full = replace(
        SETTINGS,
        ranges=(*SETTINGS.ranges, dnsmasq.Range.check({"subnet_id": UUID, "cidr": "2001:db8::/64"})),
        lease_seconds=-1,
        mtu=0,
        renewal_seconds=60,
        rebinding_seconds=90,
        dns_servers=("9.9.9.9", "10.0.0.1#5353"),
        domain="",
        local_resolv=True,
        broadcast=True,
        txt_record="a.example,b c",
    )
    words = dnsmasq.argv(full, replace(FILES, log=Path("/l"), config=Path("/c")), "nobody")
    for option in (
        "--no-resolv",
        f"--dhcp-range=set:subnet-{UUID},10.8.0.0,static,255.255.255.0,infinite",
        f"--dhcp-range=set:subnet-{UUID},2001:db8::,static,64,infinite",
        "--dhcp-option-force=option:T1,60s",
        "--dhcp-option-force=option:T2,90s",
        "--server=9.9.9.9",
        "--server=10.0.0.1#5353",
        "--dhcp-broadcast",
        "--txt-record=a.example,b c",
        "--log-facility=/l",
        "--conf-file=/c",
        "--user=nobody",
    ):
        assert option in words
    assert not [w for w in words if "mtu" in w or "--domain" in w]


def test_the_hosts_resolver_is_used_only_when_asked() -> None:
    assert "--no-resolv" in dnsmasq.argv(SETTINGS, FILES, "root")
    assert "--no-resolv" not in dnsmasq.argv(replace(SETTINGS, local_resolv=True), FILES, "root")


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"subnet_id": UUID},
        {"subnet_id": UUID, "cidr": "10.0.0.1/24"},
        {"subnet_id": "x", "cidr": "10.0.0.0/24"},
        {"subnet_id": UUID, "cidr": "2001:db8::/48"},
        {"subnet_id": UUID, "cidr": "10.0.0.0/24", "more": 1},
    ],
)
def test_a_range_is_a_subnet(value: object) -> None:
    with pytest.raises(Refused):
        dnsmasq.Range.check(value)


@given(st.text(max_size=80))
def test_a_server_is_an_address_or_refused(text: str) -> None:
    try:
        found = dnsmasq.server(text)
    except Refused:
        return
    assert found[0] != "-" and not set(found) & set(" ,\n/")


@pytest.mark.parametrize("text", ["/example.org/9.9.9.9", "9.9.9.9#0", "9.9.9.9#x", "9.9.9.9@em0", "", "#53"])
def test_other_forms_of_servers_are_refused(text: str) -> None:
    with pytest.raises(Refused):
        dnsmasq.server(text)
