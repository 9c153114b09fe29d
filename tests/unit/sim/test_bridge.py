"""if_bridge's learning and forwarding, without any interface."""

from dataclasses import dataclass
from typing import Any

import pytest

from beastack.sim.net import bridge as bridges
from beastack.sim.net.bridge import Bridge, Member

A, B, C = (bytes.fromhex(f"fa163e00000{n}") for n in (1, 2, 3))
BROADCAST = b"\xff" * 6


@dataclass(eq=False)
class Port:
    name: str
    up: bool = True
    mac: bytes | None = None
    stack: object | None = None
    children: tuple[object, ...] = ()


@pytest.fixture
def bridge() -> Bridge:
    made: Any = Bridge(Port("bridge0"))  # type: ignore[arg-type]
    for name in ("c", "b", "a"):
        made.add(Port(name))
    return made  # type: ignore[no-any-return]


def _names(members: list[Member]) -> list[str]:
    return [member.interface.name for member in members]


def test_unknown_and_broadcast_flood_to_all_others(bridge: Bridge) -> None:
    a = bridge.members[0]
    assert _names(bridge.targets(a, B, 0)) == ["b", "c"]
    assert _names(bridge.targets(a, BROADCAST, 0)) == ["b", "c"]
    assert _names(bridge.targets(None, BROADCAST, 0)) == ["a", "b", "c"]


def test_learned_address_gets_unicast_and_times_out(bridge: Bridge) -> None:
    a, b, _c = bridge.members
    assert bridge.learn(b, B, 0)
    assert _names(bridge.targets(a, B, 1199)) == ["b"]
    assert _names(bridge.targets(b, B, 10)) == []
    assert _names(bridge.targets(a, B, 1200)) == ["b", "c"]
    assert b.learned == 0


def test_an_address_moves_unless_static_or_sticky(bridge: Bridge) -> None:
    a, b, c = bridge.members
    bridge.learn(a, A, 0)
    bridge.learn(b, A, 0)
    assert bridge.find(A, 0) is b
    bridge.pin(a, B)
    bridge.learn(c, B, 0)
    assert bridge.find(B, 0) is a
    c.flags |= bridges.STICKY
    bridge.learn(c, C, 0)
    bridge.learn(a, C, 0)
    assert bridge.find(C, 1e9) is c


def test_limit_drops_unknown_sources_only(bridge: Bridge) -> None:
    a, b, _c = bridge.members
    bridge.pin(a, A)
    a.limit = 1
    assert bridge.learn(a, A, 0)
    assert not bridge.learn(a, C, 0)
    bridge.learn(b, B, 0)
    assert not bridge.learn(a, B, 0)
    assert bridge.find(B, 0) is b


def test_private_members_and_members_that_are_down(bridge: Bridge) -> None:
    a, b, c = bridge.members
    a.flags |= bridges.PRIVATE
    b.flags |= bridges.PRIVATE
    assert _names(bridge.targets(a, BROADCAST, 0)) == ["c"]
    bridge.learn(b, B, 0)
    assert bridge.targets(a, B, 0) == []
    c.interface.up = False  # type: ignore[misc]
    assert bridge.targets(a, BROADCAST, 0) == []


def test_discover_off_hides_from_unknown_unicast_only(bridge: Bridge) -> None:
    a, b, _c = bridge.members
    b.flags &= ~bridges.DISCOVER
    assert _names(bridge.targets(a, C, 0)) == ["c"]
    assert _names(bridge.targets(a, BROADCAST, 0)) == ["b", "c"]


def test_flush_forget_and_removal(bridge: Bridge) -> None:
    a, b, _c = bridge.members
    bridge.learn(a, A, 0)
    bridge.pin(b, B)
    bridge.flush(False)
    assert list(bridge.table) == [B]
    bridge.flush(True)
    assert not bridge.table
    assert b.learned == 0
    bridge.learn(a, A, 0)
    assert not bridge.forget(B)
    bridge.remove(a)
    assert not bridge.table


def test_own_addresses_are_those_with_a_stack(bridge: Bridge) -> None:
    ports: Any = {member.interface.name: member.interface for member in bridge.members}
    assert bridge.own(A) is None
    ports["a"].mac = ports["b"].mac = A
    ports["b"].stack = object()
    bridge.forget_own()
    assert bridge.own(A) is ports["b"]
    bridge.interface.mac = A
    bridge.interface.stack = object()  # type: ignore[assignment]
    bridge.forget_own()
    assert bridge.own(A) is bridge.interface
    bridge.interface.stack = None
    bridge.remove(next(member for member in bridge.members if member.interface is ports["b"]))
    assert bridge.own(A) is None
