"""Guards as ng_bpf nodes, against the simulation's netgraph and the recorded words of ngctl."""

import ipaddress

import pytest
from tests.unit.freebsd.simulated import SimulatedHost
from tests.unit.transcripts import FakeHost

from beastack.freebsd import netgraph
from beastack.freebsd.bpf_guard import BadGuard, guard, guards
from beastack.freebsd.errors import CommandFailed, UnexpectedOutput

TAP = "tap12345678-90"
MAC = "fa:16:3e:00:00:01"
ONE = guard([("fa:16:3e:00:00:01", "10.5.0.1")])
TWO = guard([("fa:16:3e:00:00:01", "10.5.0.2")])
# 06-anti-spoofing: the listing of a live host, and of its guard
LIST = """There are 6 total nodes:
  Name: vtnet0          Type: ether           ID: 00000001   Num hooks: 0
  Name: brq             Type: ether           ID: 00000003   Num hooks: 0
  Name: bsg_tapvm1      Type: bpf             ID: 0000000a   Num hooks: 2
  Name: bsg_tapvm2      Type: bpf             ID: 0000000b   Num hooks: 1
  Name: ngctl1873       Type: socket          ID: 00000008   Num hooks: 0
"""


def arp(ip: bytes) -> bytes:
    mac = bytes.fromhex("fa163e000001")
    return b"\xff" * 6 + mac + b"\x08\x06" + bytes.fromhex("0001080006040001") + mac + ip + bytes(6) + ip


def test_a_guard_is_made_replaced_and_removed() -> None:
    host = SimulatedHost([TAP, "brq"])
    assert netgraph.list_guards(host) == []
    netgraph.set_guard(host, TAP, ONE)
    assert netgraph.list_guards(host) == [TAP]
    mine, other = arp(bytes([10, 5, 0, 1])), arp(bytes([10, 5, 0, 2]))
    assert host.netgraph.lower_in(TAP, mine)
    assert not host.netgraph.lower_in(TAP, other)
    assert host.netgraph.upper_out(TAP, other)
    nodes = host.run(["ngctl", "list"]).out.count("Type: bpf")
    netgraph.set_guard(host, TAP, TWO)
    assert host.run(["ngctl", "list"]).out.count("Type: bpf") == nodes
    assert host.netgraph.lower_in(TAP, other)
    netgraph.clear_guard(host, TAP)
    netgraph.clear_guard(host, TAP)
    assert netgraph.list_guards(host) == []
    assert host.netgraph.lower_in(TAP, mine)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_half_made_guard_is_made_whole(steps: int) -> None:
    host = SimulatedHost([TAP])
    made = [["mkpeer", f"{TAP}:", "bpf", "lower", "in"], ["name", f"{TAP}:lower", netgraph.node(TAP)]]
    for words in made[:steps]:
        host.run(["ngctl", *words])
    assert not host.netgraph.lower_in(TAP, arp(bytes([10, 5, 0, 1])))
    netgraph.set_guard(host, TAP, ONE)
    assert host.netgraph.lower_in(TAP, arp(bytes([10, 5, 0, 1])))


def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(CommandFailed):
        netgraph.set_guard(SimulatedHost(), TAP, ONE)
    netgraph.clear_guard(SimulatedHost(), TAP)


def test_long_programs_pass_the_command_line() -> None:
    host = SimulatedHost([TAP])
    many = guard([("fa:16:3e:00:00:01", f"10.5.{n}.1") for n in range(75)])
    netgraph.set_guard(host, TAP, many)
    assert host.netgraph.lower_in(TAP, arp(bytes([10, 5, 74, 1])))
    assert not host.netgraph.lower_in(TAP, arp(bytes([10, 5, 75, 1])))


def asks(mac: str, ip: str) -> bytes:
    raw = bytes.fromhex(mac.replace(":", "")), ipaddress.ip_address(ip).packed
    head = b"\xff" * 6 + raw[0] + b"\x08\x06" + bytes.fromhex("0001080006040001")
    return head + raw[0] + raw[1] + bytes(6) + raw[1]


def test_a_chain_of_programs_grows_and_shrinks() -> None:
    host = SimulatedHost([TAP])
    pairs = [(f"fa:16:3e:00:00:{n:02x}", f"10.5.0.{n}") for n in range(90)]

    def passed() -> list[int]:
        return [n for n, pair in enumerate(pairs) if host.netgraph.lower_in(TAP, asks(*pair))]

    for count in (1, 90, 3, 50):
        netgraph.set_guard(host, TAP, *guards(pairs[:count]))
        assert passed() == list(range(count))
        assert netgraph.list_guards(host) == [TAP]
        assert not host.netgraph.lower_in(TAP, asks(pairs[0][0], pairs[1][1]))
        assert host.netgraph.upper_out(TAP, asks(*pairs[-1]))
    netgraph.clear_guard(host, TAP)
    assert len(passed()) == 90


@pytest.mark.parametrize("at", range(26))
def test_a_chain_that_is_cut_off_passes_nothing_strange(at: int) -> None:
    """Killed after any command: what passes is what the old or the new guard passes, and the next start mends it."""
    old, new, foreign = asks(MAC, "10.5.0.1"), asks("fa:16:3e:00:00:09", "10.5.0.9"), asks(MAC, "10.5.0.77")
    wanted = guards([(f"fa:16:3e:00:00:{n:02x}", f"10.5.0.{n}") for n in range(4, 100)])

    class Killed(Exception):
        pass

    class Dying(SimulatedHost):
        left = 1 << 30

        def run(self, argv, **kw):  # type: ignore[no-untyped-def]
            if self.left == 0:
                raise Killed
            self.left -= 1
            return super().run(argv, **kw)

    host = Dying([TAP])
    netgraph.set_guard(host, TAP, ONE)
    host.left = at
    try:
        netgraph.set_guard(host, TAP, *wanted)
    except Killed:
        assert not host.netgraph.lower_in(TAP, foreign)
        assert host.netgraph.lower_in(TAP, old) or host.netgraph.lower_in(TAP, new)
    host.left = 1 << 30
    netgraph.set_guard(host, TAP, *wanted)
    assert (host.netgraph.lower_in(TAP, old), host.netgraph.lower_in(TAP, new)) == (False, True)


def test_a_node_with_hooks_of_somebody_else_is_made_again() -> None:
    host = SimulatedHost([TAP])
    netgraph.set_guard(host, TAP, ONE)
    path = f"{netgraph.node(TAP)}:"
    host.run(["ngctl", "connect", path, path, "strange", "stranger"])
    netgraph.set_guard(host, TAP, TWO)
    assert "strange" not in host.run(["ngctl", "show", path]).out
    with pytest.raises(BadGuard):
        netgraph.set_guard(host, TAP)


def test_too_many_addresses() -> None:
    with pytest.raises(BadGuard, match="too many"):
        guard([("fa:16:3e:00:00:01", f"10.5.{n}.1") for n in range(250)])


def test_the_recorded_listing() -> None:
    assert netgraph.list_guards(FakeHost({"ngctl list": LIST})) == ["tapvm1"]
    with pytest.raises(UnexpectedOutput):
        netgraph.list_guards(FakeHost({"ngctl list": "what?\n"}))
    with pytest.raises(UnexpectedOutput):
        netgraph.list_guards(FakeHost({"ngctl list": LIST + "what?\n"}))
