"""Random groups and packets: the rules in force and the guard say what the reference model says.

Every verdict is that of the whole chain: the firewall driver is told what neutron's server would tell, loads pf through
the privileged entry points, and the frame goes through the guard's program and pf, as simulated. Then something is
changed, connections that are no longer allowed must be over and all others go on, and more packets follow.

A failure names its seed: ``BEASTACK_SEEDS=4711:4712 pytest …`` runs that one, ``BEASTACK_SEEDS=1000:9000`` more.
"""

import os
from dataclasses import replace

import pytest
from tests.unit.neutron.fakes import FakeNet
from tests.unit.neutron.firewall.frames import frames
from tests.unit.neutron.firewall.reference import REPLIES, REQUESTS, Model, Packet
from tests.unit.neutron.firewall.worlds import TAP, World

from beastack.freebsd import netgraph, pf_host, pf_states
from beastack.freebsd.bpf_guard import guards
from beastack.neutron.firewall.driver import PfFirewallDriver
from beastack.neutron.firewall.port import pairs
from beastack.sim.pf import Pf

SEEDS = [int(edge) for edge in os.environ.get("BEASTACK_SEEDS", "0:250").split(":")]
BLOCK = 10
PACKETS, CHANGES = 20, 3


class Wall:
    """A port on a simulated host, as the agent makes it."""

    def __init__(self, net: FakeNet, world: World) -> None:
        self.net, self.world = net, world
        self.now = 1000.0
        net.clock = lambda: self.now
        net.pf = Pf(groups=lambda name: ("tap", "beastack") if name == TAP else ())
        net.tap(TAP)
        pf_host.prepare(net)
        self.driver = PfFirewallDriver()
        self.describe()

    def describe(self) -> None:
        """As SecurityGroupAgentRpc does it."""
        world, driver = self.world, self.driver
        with driver.defer_apply():
            for group in world.port["security_groups"]:
                driver.update_security_group_rules(group, world.groups[group])
            for name, members in world.members.items():
                both = {f"IPv{f}": [[m, None] for m in members if (":" in m) == (f == 6)] for f in (4, 6)}
                driver.update_security_group_members(name, both)
            driver.update_port_filter(dict(world.port))
        assert driver.ready(TAP) is None
        if world.port["port_security_enabled"]:
            netgraph.set_guard(self.net, TAP, *guards(pairs(world.port)))
        else:
            netgraph.clear_guard(self.net, TAP)

    def passes(self, packet: Packet) -> bool:
        verdicts = [self._passes(packet.way, frame) for frame in frames(packet)]
        return all(verdicts)

    def _passes(self, way: str, frame: bytes) -> bool:
        self.now += 0.001
        if way == "egress" and not self.net.netgraph.lower_in(TAP, frame):
            return False
        return self.net.pf.filter(TAP, "in" if way == "egress" else "out", frame, self.now)

    def connections(self) -> set[tuple[int, frozenset[tuple[str, int]]]]:
        """The states, as the model names connections."""
        found = set()
        for state in pf_states.read_states(self.net, [TAP]):
            one, other = state.source_port, state.destination_port
            if state.protocol in (1, 58):
                # an identifier and a type, whose order says who asked; the worlds' identifiers are no types
                one, other = (-1 - one if one < 256 else one), (-1 - other if other < 256 else other)
            found.add((state.protocol, frozenset({(state.source, one), (state.destination, other)})))
        return found


def asked(packet: Packet, model: Model, last: bool) -> Packet:
    """A query's reply that nobody asked for is sent at the end only, and is the query itself before.

    pf makes a state of it when a rule lets it through, and tells it by nothing from the state of a query.
    """
    reply = packet.is_icmp and packet.kind in REPLIES[packet.family]
    if last or not reply or model.goes_on(packet):
        return packet
    return replace(packet, kind=REPLIES[packet.family][packet.kind])


def play(seed: int, net: FakeNet) -> int:
    """One world; returns how many packets were judged."""
    world = World(seed)
    model = Model(world.port, world.groups, world.members)
    wall = Wall(net, world)
    earlier: list[Packet] = []
    judged, changes = 0, ["nothing"]
    for block in range(CHANGES + 1):
        for _ in range(PACKETS):
            packet = asked(world.packet(earlier), model, block == CHANGES)
            expected, found = model.passes(packet), wall.passes(packet)
            assert found is expected, (
                f"BEASTACK_SEEDS={seed}:{seed + 1}, packet {judged}, after {changes}: {packet} "
                f"{'passes' if found else 'is dropped'}; the port: {world.port}; its groups: {world.groups}; "
                f"members: {world.members}"
            )
            judged += 1
            if not packet.is_icmp or packet.kind in REQUESTS[packet.family]:
                earlier.append(packet)
        if block == CHANGES:
            break
        changes.append(world.change())
        wall.describe()
        model.changed()
        if world.port["port_security_enabled"]:
            over, left = model.open.keys(), wall.connections()
            assert left == over, f"BEASTACK_SEEDS={seed}:{seed + 1}, after {changes}: open {left}, expected {set(over)}"
    return judged


@pytest.mark.parametrize("first", range(SEEDS[0], SEEDS[1], BLOCK))
def test_rules_and_guard_are_what_the_model_says(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(first, min(first + BLOCK, SEEDS[1])):
        assert play(seed, FakeNet(monkeypatch)) == PACKETS * (CHANGES + 1)


def test_the_worlds_are_worth_it() -> None:
    """Verdicts of both kinds in every family and way, replies that ride a state, live connections at a change."""
    seen: dict[tuple[str, int, bool], int] = {}
    ridden = ended = kept = 0
    for seed in range(60):
        world = World(seed)
        model = Model(world.port, world.groups, world.members)
        earlier: list[Packet] = []
        for _ in range(CHANGES + 1):
            for _ in range(PACKETS):
                packet = world.packet(earlier)
                rides = model.goes_on(packet) and not model.base(packet) and not model.matching(packet)
                verdict = model.passes(packet)
                ridden += verdict and rides
                key = packet.way, packet.family, verdict
                seen[key] = seen.get(key, 0) + 1
                if not packet.is_icmp or packet.kind in REQUESTS[packet.family]:
                    earlier.append(packet)
            before = len(model.open)
            world.change()
            model.changed()
            ended += before - len(model.open)
            kept += len(model.open)
    assert len(seen) == 8 and min(seen.values()) > 100, seen
    assert ridden > 50 and ended > 50 and kept > 50, (ridden, ended, kept)
