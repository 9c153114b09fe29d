"""The guard's program against a slow predicate that says in Python what it should pass."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.freebsd.guard_frames import HONEST, HOSTILE, MAC, OTHER, PAIRS, arp, dad, frames, packed, reference, run

from beastack.freebsd.bpf_guard import BadGuard, guard, guards, link_local, pass_all

PROGRAM = guard(PAIRS)


@settings(max_examples=6000, deadline=None)
@given(frames())
def test_the_guard_is_what_it_says(frame: bytes) -> None:
    assert (run(PROGRAM, frame) != 0) == reference(frame, PAIRS)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=100))
def test_noise_is_judged_alike(frame: bytes) -> None:
    assert (run(PROGRAM, frame) != 0) == reference(frame, PAIRS)


CHAIN = guards(PAIRS, most=180)


@settings(max_examples=3000, deadline=None)
@given(frames())
def test_a_chain_passes_what_one_program_would(frame: bytes) -> None:
    assert len(CHAIN) == 4
    assert any(run(program, frame) for program in CHAIN) == reference(frame, PAIRS)


@pytest.mark.parametrize(
    ("pairs", "programs"),
    [
        ([(MAC, f"10.0.{n // 250}.{n % 250}") for n in range(250)], 3),
        ([(f"fa:16:3e:00:01:{n:02x}", f"10.0.0.{n}") for n in range(250)], 17),
        ([(MAC, f"2001:db8::{n:x}") for n in range(1, 60)], 2),
        ([(MAC, f"2001:db8::{n:x}") for n in range(1, 250)], 7),
        ([(MAC, "10.0.0.5")], 1),
    ],
    ids=["many IPv4 addresses", "many MACs", "many IPv6 addresses", "as many as a port may have", "one"],
)
def test_any_number_of_pairs(pairs: list[tuple[str, str]], programs: int) -> None:
    found = guards(pairs)
    assert len(found) == programs
    assert all(len(program) <= 512 for program in found)


def test_what_no_chain_can_be() -> None:
    with pytest.raises(BadGuard, match="instructions"):
        guards(PAIRS, most=50)
    with pytest.raises(BadGuard, match="programs"):
        guards([(f"fa:16:3e:00:{n // 250:02x}:{n % 250:02x}", "10.0.0.1") for n in range(1100)])
    with pytest.raises(BadGuard):
        guards([])


def test_sizes() -> None:
    assert len(guard([(MAC, "10.0.0.5")])) < 190
    # the most that neutron allows (max_allowed_address_pair), each with a MAC of its own, and the port's own addresses
    many = [(f"fa:16:3e:00:01:{n:02x}", f"{what}{n}") for n in range(10) for what in ("10.0.1.", "2001:db8:2::")]
    assert len(guard([*PAIRS[:1], *PAIRS[3:4], *many[::2]])) < 512
    assert len(guard([*PAIRS[:1], *PAIRS[3:4], *many[1::2]])) < 512
    assert len(guard([*PAIRS[:1], *PAIRS[3:4], *many])) < 512
    assert len(PROGRAM) < 512
    assert run(pass_all(), b"") != 0


@pytest.mark.parametrize(
    "pairs",
    [[], [("x", "10.0.0.1")], [("01:00:5e:00:00:01", "10.0.0.1")], [(MAC, "10.0.0")], [(MAC, "fe80::1%lo0")],
     [(MAC, None)], [(f"fa:16:3e:00:00:{n:02x}", "10.0.0.1") for n in range(40)]],
)  # fmt: skip
def test_no_guard_of_these(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(BadGuard):
        guard(pairs)


def test_a_mac_alone() -> None:
    """Without an IPv4 address there is none to ask for."""
    program = guard([(MAC, "")])
    assert not run(program, arp(MAC, "0.0.0.0", "10.0.0.1"))
    assert not run(program, arp(MAC, "10.0.0.1", "10.0.0.2"))
    assert run(program, dad(MAC, link_local(MAC)))
    assert not run(program, dad(MAC, link_local(OTHER)))


@pytest.mark.parametrize("what", HOSTILE)
def test_what_a_hostile_guest_may_try(what: str) -> None:
    assert not run(PROGRAM, HOSTILE[what])
    assert not reference(HOSTILE[what], PAIRS)


@pytest.mark.parametrize("what", HONEST)
def test_what_an_honest_guest_needs(what: str) -> None:
    assert run(PROGRAM, HONEST[what])
    assert reference(HONEST[what], PAIRS)


def test_everything_allowed() -> None:
    program = guard([(MAC, "0.0.0.0/0"), (MAC, "::/0")])
    mac = bytes.fromhex(MAC.replace(":", ""))
    packet = b"\xff" * 6 + mac + b"\x08\x00" + b"\x45" + bytes(8) + b"\x06" + bytes(2) + packed("8.8.8.8") + bytes(4)
    assert run(program, packet)
