"""if_bridge's learning and forwarding, without any interface."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    assert list(bridge.table) == [(0, B)]
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


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 10, 20, 30])), max_size=20))
def test_a_filtering_bridge_never_mixes_vlans(traffic: list[tuple[int, int]]) -> None:
    """Each VLAN is a bridge of its own: who may send in it and who hears it, checked against the members' lists."""
    made: Any = Bridge(Port("bridge0"))  # type: ignore[arg-type]
    members = [made.add(Port(name)) for name in ("a", "b", "c")]
    made.filters_vlans = True
    lists = [(10, frozenset[int]()), (0, frozenset({10, 20})), (20, frozenset({30}))]
    for member, (untagged, tagged) in zip(members, lists, strict=True):
        member.untagged, member.tagged = untagged, tagged
    for number, tag in traffic:
        untagged, tagged = lists[number]
        vlan = members[number].admits(tag)
        assert vlan == ((untagged or None) if tag == 0 else (tag if tag in tagged else None))
        if vlan is None:
            continue
        mac = bytes((2, 0, 0, 0, 0, number))
        assert made.learn(members[number], mac, 0.0, vlan)
        hears = {n for n, (u, t) in enumerate(lists) if n != number and (vlan == u or vlan in t)}
        assert {members.index(one) for one in made.targets(members[number], b"\xff" * 6, 0.0, vlan)} == hears
        assert made.find(mac, 0.0, vlan) is members[number]
        assert made.find(mac, 0.0, 99) is None
