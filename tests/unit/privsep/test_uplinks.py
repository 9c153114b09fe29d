"""Entries of a network's way out: what they run, and what they refuse besides bad arguments (test_each_argument)."""

from collections.abc import Callable, Iterator

import pytest
from oslo_config import cfg
from tests.unit.transcripts import FakeHost

from beastack.freebsd import vxlan
from beastack.freebsd.errors import NotOurs
from beastack.privsep import checks, conf, context, interfaces, uplinks

NETWORK = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
BRIDGE, VXL = "brq6f1a4f2e-0c", "vxl6f1a4f2e-0c"
MAC = "fa:16:3e:00:00:01"
SET = f"beastack-vxlan-fdb {VXL} set"
HEAD = "flags=1008843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST,LOWER_UP> metric 0 mtu 1450\n"
OURS = f"{VXL}: {HEAD}\tgroups: vxlan beastack\n"


@pytest.fixture(autouse=True)
def configured() -> Iterator[None]:
    cfg.CONF([], project="test")
    conf.register(cfg.CONF)
    cfg.CONF.set_override("tunnel_address", "192.0.2.1", "beastack")
    cfg.CONF.set_override("physical_interfaces", ["em0"], "beastack")
    cfg.CONF.set_override("adopted_bridges", ["bridge0"], "beastack")
    yield
    for option in ("tunnel_address", "physical_interfaces", "adopted_bridges", "tunnel_group", "tunnel_device"):
        cfg.CONF.clear_override(option, "beastack")


def call(name: str) -> Callable[..., object]:
    """An entry as the daemon calls it."""
    return context.entries[f"beastack.privsep.{name}"]


def host(monkeypatch: pytest.MonkeyPatch, **answers: object) -> FakeHost:
    made = FakeHost(answers)  # type: ignore[arg-type]
    for module in (uplinks, interfaces):
        monkeypatch.setattr(module, "HOST", made)
    return made


def test_entries_are_set_and_forgotten_by_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    other = "fa:16:3e:00:00:02"
    made = host(monkeypatch, **{f"ifconfig {VXL}": OURS, f"{SET} {other} - {MAC} 192.0.2.2": ""})
    call("uplinks.change_entries")(NETWORK, [[MAC, "192.0.2.2"]], [other])
    assert made.ran[1:] == [f"{SET} {other} - {MAC} 192.0.2.2"]
    # what is wanted and unwanted at once is wanted
    made.answers[f"{SET} {MAC} 192.0.2.2"] = ""
    call("uplinks.change_entries")(NETWORK, [[MAC, "192.0.2.2"]], [MAC])
    assert made.ran[-1] == f"{SET} {MAC} 192.0.2.2"
    before = len(made.ran)
    call("uplinks.change_entries")(NETWORK, [], [])
    assert made.ran[before:] == [f"ifconfig {VXL}"]


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::2", "127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0"])
def test_hosts_that_are_none_of_the_tunnels(peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = host(monkeypatch)
    with pytest.raises(checks.Refused):
        call("uplinks.change_entries")(NETWORK, [[MAC, peer]], [])
    assert made.ran == []


def test_a_tunnel_that_is_not_ours_gets_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    made = host(monkeypatch, **{f"ifconfig {VXL}": OURS.replace(" beastack", "")})
    for one in (lambda: call("uplinks.change_entries")(NETWORK, [], [MAC]), lambda: call("uplinks.open_uplink")(VXL)):
        with pytest.raises(NotOurs):
            one()
    assert made.ran == [f"ifconfig {VXL}"] * 2


def test_no_tunnel_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    made = host(monkeypatch)
    cfg.CONF.set_override("tunnel_address", "", "beastack")
    with pytest.raises(checks.Refused, match="tunnel_address"):
        call("uplinks.ensure_vxlan")(NETWORK, 10001, 1450)
    with pytest.raises(checks.Refused):
        call("uplinks.change_entries")(NETWORK, [[MAC, "192.0.2.2"]], [])
    assert made.ran == []


def test_where_floods_go() -> None:
    assert uplinks._spec(7) == vxlan.Spec(7, "192.0.2.1", "192.0.2.1", remote_port=14789, learn=False)
    cfg.CONF.set_override("tunnel_group", "239.1.1.1", "beastack")
    with pytest.raises(checks.Refused, match="tunnel_device"):
        uplinks._spec(7)
    cfg.CONF.set_override("tunnel_device", "vtnet0", "beastack")
    assert uplinks._spec(7) == vxlan.Spec(7, "192.0.2.1", "239.1.1.1", device="vtnet0")


def test_a_card_keeps_its_mtu(monkeypatch: pytest.MonkeyPatch) -> None:
    member = "\tmember: em0 flags=143<LEARNING,DISCOVER,AUTOEDGE,AUTOPTP>\n"
    made = host(monkeypatch, **{f"ifconfig {BRIDGE}": f"{BRIDGE}: {HEAD}{member}\tgroups: bridge beastack\n"})
    with pytest.raises(checks.Refused, match="em0"):
        call("interfaces.set_bridge_mtu")(BRIDGE, 1400)
    assert made.ran == [f"ifconfig {BRIDGE}"]


def test_an_operators_bridge_takes_taps_and_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    tap = "tap6f1a4f2e-0c"
    theirs = f"bridge0: {HEAD}\tgroups: bridge\n"
    made = host(
        monkeypatch,
        **{
            "ifconfig bridge0": theirs,
            f"ifconfig {tap}": f"{tap}: {HEAD}\tgroups: tap beastack\n",
            f"ifconfig bridge0 addm {tap}": "",
            f"ifconfig {tap} up": "",
            f"ifconfig bridge0 deletem {tap}": "",
        },
    )
    call("interfaces.attach_member")("bridge0", tap)
    call("interfaces.detach_member")("bridge0", tap)
    assert f"ifconfig bridge0 addm {tap}" in made.ran
    assert made.ran[-1] == f"ifconfig bridge0 deletem {tap}"
    with pytest.raises(checks.Refused):
        call("interfaces.attach_member")("bridge0", "em0")
    with pytest.raises(checks.Refused):
        call("interfaces.destroy_bridge")("bridge0")
    cfg.CONF.set_override("adopted_bridges", [], "beastack")
    with pytest.raises(checks.Refused):
        call("interfaces.attach_member")("bridge0", tap)
    cfg.CONF.set_override("adopted_bridges", ["bridge0"], "beastack")
    made.answers["ifconfig bridge0"] = theirs.replace("groups: bridge", "groups: tap")
    with pytest.raises(checks.Refused, match="is none"):
        call("interfaces.attach_member")("bridge0", tap)
