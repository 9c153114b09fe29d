"""Output that is cut short, garbled or unknown: no reader hangs, crashes, or says anything but its typed error."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.freebsd.recorded import everything
from tests.unit.freebsd.simulated import SimulatedHost
from tests.unit.freebsd.test_bhyve import SEEN, SMALL
from tests.unit.freebsd.test_iscsi_pci import LISTED, PCICONF
from tests.unit.freebsd.test_pf_states import LISTING
from tests.unit.freebsd.test_pf_states import TAP as STATES_OF

import beastack.freebsd
from beastack.freebsd import (
    bhyve_read,
    bpf,
    bridge,
    car,
    devfs,
    gif,
    ifnet,
    jail,
    kld,
    neighbours,
    netgraph,
    pf,
    pf_host,
    pf_router,
    rctl,
    release,
    route,
    sysctl,
    vlan,
    vxlan,
    zfs,
    zfs_read,
)
from beastack.freebsd.bpf_guard import guard
from beastack.freebsd.errors import CommandTimedOut, HostError, UnexpectedOutput, failure
from beastack.freebsd.host import Completed, Host, JailHost
from beastack.freebsd.pf_rules import TCP, Rule, block_all, render

RULE = Rule("pass", "r", "out", 4, TCP, "10.0.0.0/8", stateful=True)
# No transcript shows these; the forms are those of the programs' sources.
UNRECORDED = [
    "100 hide\n200 path null unhide\n",
    "jail:q:maxproc:deny=5\njail:q:readbps:throttle=1000\n",
    "cputime=3\nmemoryuse=4096\n",
    "Neighbor                             Linklayer Address  Netif Expire    1s 5s\n"
    "2001:db8:5::2                        fa:16:3e:00:00:02    epair0b 23h59m58s S R\n",
    LISTING,
    LISTED,
    PCICONF,
    # of 04 our reader knows none: every rule of ours is quick, on one interface, and labelled
    "".join(f"{render(rule, 'tap1-x')}\n" for rule in (RULE, block_all("tap1-x"))),
]
OUTPUTS = sorted({step.output for step in everything() if step.output}) + UNRECORDED
SLOW = 2000
NEEDED: dict[str, Any] = {"argv": ["pfctl"], "wanted": [STATES_OF]}


def found_readers() -> dict[str, Callable[[str], Any]]:
    """Every parse function of the package that takes a text."""
    found = {}
    for module in pkgutil.iter_modules(beastack.freebsd.__path__):
        loaded = importlib.import_module(f"beastack.freebsd.{module.name}")
        for name, function in inspect.getmembers(loaded, inspect.isfunction):
            if not name.startswith("parse") or function.__module__ != loaded.__name__:
                continue
            # what a reader needs besides the text, by the parameter's name
            needed = [p.name for p in list(inspect.signature(function).parameters.values())[1:] if p.default is p.empty]
            found[f"{module.name}.{name}"] = partial(function, **{need: NEEDED[need] for need in needed})
    return found


READERS = found_readers()


def understood(reader: Callable[[str], Any]) -> list[str]:
    """The recorded outputs that it reads and finds something in."""
    kept = []
    for text in OUTPUTS:
        try:
            if reader(text):
                kept.append(text)
        except UnexpectedOutput:
            continue
    return kept


SEEDS = {name: understood(reader) for name, reader in READERS.items()}


def test_readers_are_found_and_each_reads_something_recorded() -> None:
    assert len(READERS) >= 16
    assert [name for name, seeds in SEEDS.items() if not seeds] == []


@st.composite
def garbled(draw: st.DrawFn, seeds: Sequence[str]) -> str:
    """A recorded output that was cut, mixed, repeated or written over."""
    text = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 3))):
        low = draw(st.integers(0, len(text)))
        high = draw(st.integers(low, min(len(text), low + 40)))
        match draw(st.sampled_from(["cut", "drop", "write", "repeat", "mix"])):
            case "cut":
                text = text[:low]
            case "drop":
                text = text[:low] + text[high:]
            case "write":
                text = text[:low] + draw(st.text(max_size=8)) + text[high:]
            case "repeat":
                text = text[:high] + text[low:]
            case "mix":
                text = text[:low] + draw(st.sampled_from(OUTPUTS))[:200] + text[low:]
    return text


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_reader_reads_or_says_what_it_expected(name: str) -> None:
    @settings(max_examples=150, deadline=SLOW)
    @given(st.one_of(garbled(SEEDS[name]), st.text(max_size=200)))
    def check(text: str) -> None:
        try:
            READERS[name](text)
        except UnexpectedOutput as e:
            assert e.argv
            assert e.expected

    check()


class Babbling:
    """A host that answers each command with the next of its answers, or never; and counts."""

    def __init__(self, answers: Sequence[tuple[str, int]]) -> None:
        self.answers, self.asked = list(answers), 0

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = 20.0, check: bool = True
    ) -> Completed:
        text, rc = self.answers[self.asked % len(self.answers)]
        self.asked += 1
        assert self.asked < 400, f"no end: {argv}"
        if rc == -1:
            raise CommandTimedOut(argv, timeout)
        if rc and check:
            raise failure(argv, rc, "", text)
        return Completed(tuple(argv), rc, text, "")

    def jail(self, name: str) -> JailHost:
        return JailHost(self, name)


TUNNEL = vxlan.Spec(100, "192.168.50.1", "192.168.50.2")
ROUTER = pf_router.Router(
    inner=(pf_router.Inner("qr-1", ("10.1.0.1/24",)),), outer="qg-1", address="203.0.113.5", snat=True
)
PROGRAM = guard([("fa:16:3e:00:00:01", "10.5.0.1")])
OPERATIONS: dict[str, Callable[[Host], object]] = {
    "bridge": lambda h: ifnet.ensure_bridge(h, "brq1", "d"),
    "tap": lambda h: ifnet.ensure_tap(h, "tap1-x", "d", 1450),
    "epair": lambda h: ifnet.ensure_epair(h, "tap1-x", "d"),
    "destroy": lambda h: ifnet.destroy(h, "tap1-x"),
    "rename": lambda h: ifnet.rename(h, "epair0b", "ns-1"),
    "address": lambda h: ifnet.remove_address(h, "ns-1", "10.0.0.1/24"),
    "vlan": lambda h: vlan.ensure_vlan(h, "v-1", "em0", 100, "d"),
    "vxlan": lambda h: vxlan.ensure_vxlan(h, "vx-1", TUNNEL, "d", 1450),
    "gif": lambda h: gif.ensure_gif(h, "g-1", "192.168.50.1", "192.168.50.2", "d"),
    "member flags": lambda h: bridge.set_flags(h, "brq1", "tap1-x", private=True, learn=False),
    "member VLANs": lambda h: bridge.set_member_vlans(h, "brq1", "tap1-x", 10, {20, 21}),
    "bridge table": lambda h: bridge.addresses(h, "brq1"),
    "default route": lambda h: route.set_default(h, "10.0.0.1"),
    "route": lambda h: route.ensure(h, "192.0.2.0/24", "10.0.0.1"),
    "ARP": lambda h: neighbours.ensure(h, "10.0.0.2", "fa:16:3e:00:00:02"),
    "NDP": lambda h: neighbours.ensure(h, "2001:db8::2", "fa:16:3e:00:00:02"),
    "jail": lambda h: jail.ensure_vnet(h, "qdhcp-1"),
    "jail's end": lambda h: jail.remove(h, "qdhcp-1"),
    "pf": pf_host.prepare,
    "rules": lambda h: pf.load_rules(h, "tap1-x", [RULE]),
    "anchors": pf.list_anchors,
    "table": lambda h: pf.replace_table(h, "bs_1", ["10.0.0.1"]),
    "table's end": lambda h: pf.drop_table(h, "bs_1"),
    "router": lambda h: pf_router.load(h, ROUTER),
    "guard": lambda h: netgraph.set_guard(h, "tap1-x", PROGRAM, PROGRAM),
    "guards": netgraph.list_guards,
    "limit": lambda h: car.set_rate(h, "tap1-x", car.Rate(1000)),
    "limit's end": lambda h: car.clear_rate(h, "tap1-x"),
    "limits": car.list_rates,
    "volume": lambda h: zfs.ensure_volume(h, "vms/a", 1 << 30, "disk:1"),
    "growing": lambda h: zfs.grow(h, "vms/a", 1 << 31),
    "clone": lambda h: zfs.ensure_clone(h, "vms/a@b", "vms/c", "disk:1"),
    "dataset's end": lambda h: zfs.destroy(h, "vms/a"),
    "space": lambda h: zfs_read.read_space(h, "vms"),
    "devfs": lambda h: devfs.ensure_ruleset(h, 60001, devfs.BASIC),
    "rctl": lambda h: rctl.set_limits(h, "q", {"maxproc": 5}),
    "sysctl": lambda h: sysctl.ensure(h, "net.link.bridge.pfil_member", 1),
    "module": lambda h: kld.is_loaded(h, "pf"),
    "release": release.read,
    "machine": lambda h: bhyve_read.try_machine(h, SMALL, SEEN),
    "counters": lambda h: bhyve_read.read_stats(h, "x"),
}
WORDS = st.one_of(garbled(OUTPUTS), st.sampled_from(OUTPUTS), st.sampled_from(["", "tap0\n", "1\n", "0\n"]))
ANSWERS = st.lists(st.tuples(WORDS, st.sampled_from([0, 0, 0, 1, 2, -1])), min_size=1, max_size=6)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_host_that_answers_anything_gets_a_typed_error(name: str) -> None:
    @settings(max_examples=80, deadline=SLOW)
    @given(ANSWERS)
    def check(answers: list[tuple[str, int]]) -> None:
        host = Babbling(answers)
        try:
            OPERATIONS[name](host)
        except HostError as e:
            assert str(e)

    check()


FIELDS = st.builds(
    bpf.Instruction,
    st.one_of(st.sampled_from(sorted(bpf._PLAIN | bpf._JUMPS | {bpf._RET, bpf._JA})), st.integers(-1, 300)),
    st.integers(-1, 300),
    st.integers(-1, 300),
    st.one_of(st.integers(0, 20), st.integers(-1, 1 << 33)),
)


@settings(max_examples=600, deadline=SLOW)
@given(st.lists(FIELDS, max_size=30), st.binary(max_size=80))
def test_what_the_verifier_takes_comes_to_an_end(program: list[bpf.Instruction], frame: bytes) -> None:
    """And the simulated kernel, which has its own checks, does not break on what it refuses."""
    host = SimulatedHost(["tap1"])
    netgraph.set_guard(host, "tap1", PROGRAM)
    message = netgraph._message("in", "out", "", program)
    try:
        bpf.verify(program)
    except bpf.BadProgram:
        host.run(["ngctl", "msg", f"{netgraph.node('tap1')}:", "setprogram", message], check=False)
    else:
        host.run(["ngctl", "msg", f"{netgraph.node('tap1')}:", "setprogram", message])
    assert host.netgraph.lower_in("tap1", frame) in (True, False)


@settings(max_examples=300, deadline=SLOW)
@given(garbled([netgraph._message("in", "out", "", PROGRAM)]))
def test_a_garbled_message_is_refused_or_a_program(message: str) -> None:
    host = SimulatedHost(["tap1"])
    netgraph.set_guard(host, "tap1", PROGRAM)
    host.run(["ngctl", "msg", f"{netgraph.node('tap1')}:", "setprogram", message], check=False)
    assert host.netgraph.lower_in("tap1", bytes(60)) in (True, False)
