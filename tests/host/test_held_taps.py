"""Taps as libvirt makes them: held where nothing passes, marked there, moved by the agent's own call."""

from collections.abc import Iterator

import pytest
from oslo_config import cfg

from beastack.freebsd import clone, ifnet
from beastack.freebsd.errors import HostError, NoSuchInterface, NotOurs
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_read import get_interface
from beastack.privsep import checks, context, held_taps, interfaces

PORT = "0f1e2d3c-1111-4222-8333-444455556666"
TAP, MARK = "tap0f1e2d3c-11", f"beastack:port:{PORT}"
NETWORK = "brq0f1e2d3c-11"


@pytest.fixture
def side(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """The privileged side's functions, on this host."""
    context.default.set_client_mode(False)
    cfg.CONF([], project="test")
    for module in (held_taps, interfaces):
        monkeypatch.setattr(module, "HOST", host)
    yield host
    for name in (TAP, NETWORK, held_taps.HOLDING):
        clone.discard(host, name)


def by_libvirt(host: Host, bridge: str | None = held_taps.HOLDING) -> None:
    """What virNetDevTapCreateInBridgePort does: create, rename, a MAC of its own, into the bridge, up."""
    made = host.run(["ifconfig", "tap", "create"]).out.strip()
    host.run(["ifconfig", made, "name", TAP])
    host.run(["ifconfig", TAP, "ether", "fe:16:3e:00:00:01"])
    if bridge:
        host.run(["ifconfig", bridge, "addm", TAP])
    host.run(["ifconfig", TAP, "up"])


def test_from_libvirts_hands_into_the_network(side: Host) -> None:
    held_taps.ensure_holding_bridge()
    held_taps.ensure_holding_bridge()
    assert held_taps.list_held_taps() == []
    by_libvirt(side)
    assert held_taps.list_held_taps() == [TAP]
    held_taps.adopt_tap(TAP, MARK)
    held_taps.adopt_tap(TAP, MARK)
    assert held_taps.list_held_taps() == []
    found = get_interface(side, TAP)
    assert ifnet.GROUP in found.groups
    assert found.description == MARK
    assert ifnet.bridge_of(side, TAP) == held_taps.HOLDING  # until the agent has filtered it
    interfaces.ensure_bridge(NETWORK, f"beastack:network:{PORT}")
    interfaces.detach_member(held_taps.HOLDING, TAP)
    interfaces.attach_member(NETWORK, TAP)
    assert ifnet.bridge_of(side, TAP) == NETWORK
    held_taps.adopt_tap(TAP, MARK)  # ours already, wherever it is now
    held_taps.drop_held_tap(TAP)
    held_taps.drop_held_tap(TAP)
    with pytest.raises(NoSuchInterface):
        held_taps.adopt_tap(TAP, MARK)


def test_what_is_not_held_is_not_adopted_and_not_destroyed(side: Host) -> None:
    held_taps.ensure_holding_bridge()
    by_libvirt(side, None)
    with pytest.raises(held_taps.NotHeld, match="left alone"):
        held_taps.adopt_tap(TAP, MARK)
    with pytest.raises(NotOurs):
        held_taps.drop_held_tap(TAP)
    assert ifnet.GROUP not in get_interface(side, TAP).groups


def test_a_bridge_that_lets_frames_pass_holds_nothing(side: Host) -> None:
    held_taps.ensure_holding_bridge()
    by_libvirt(side)
    side.run(["ifconfig", held_taps.HOLDING, "-monitor"])
    with pytest.raises(held_taps.NotHeld, match="not in monitor mode"):
        held_taps.adopt_tap(TAP, MARK)
    held_taps.ensure_holding_bridge()
    held_taps.adopt_tap(TAP, MARK)
    with pytest.raises(checks.Refused, match="is that of"):
        held_taps.adopt_tap(TAP, MARK.replace("5556666", "5556667"))


def test_a_name_that_is_taken(side: Host) -> None:
    side.run(["ifconfig", "bridge", "create", "name", held_taps.HOLDING])
    with pytest.raises(HostError, match="not Beastack's"):
        held_taps.ensure_holding_bridge()
