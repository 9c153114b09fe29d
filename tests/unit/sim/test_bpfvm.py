"""The compiled programs against a plain interpreter, and what the kernel refuses."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beastack.sim.bpfvm import BadProgram, Instruction, compile_program

MASK = 0xFFFFFFFF


def interpret(program: list[Instruction], packet: bytes) -> int:
    """bpf_filter(9), one instruction after the other."""
    a = x = at = 0
    memory = [0] * 16
    while True:
        code, jt, jf, k = program[at]
        at += 1
        size = {0x00: 4, 0x08: 2, 0x10: 1}.get(code & 0x18, 0)
        operand = x if code & 8 else k
        kind, op = code & 7, code & 0xF0
        if code == 0x06:
            return k
        if code == 0x16:
            return a
        if kind == 0 and code & 0xE0 in (0x20, 0x40):
            start = k + (x if code & 0xE0 == 0x40 else 0)
            if start + size > len(packet):
                return 0
            a = int.from_bytes(packet[start : start + size], "big")
        elif code == 0x00:
            a = k
        elif code == 0x60:
            a = memory[k]
        elif code == 0x80:
            a = len(packet)
        elif code == 0x01:
            x = k
        elif code == 0x61:
            x = memory[k]
        elif code == 0x81:
            x = len(packet)
        elif code == 0xB1:
            if k >= len(packet):
                return 0
            x = (packet[k] & 0xF) * 4
        elif code == 0x02:
            memory[k] = a
        elif code == 0x03:
            memory[k] = x
        elif code == 0x07:
            x = a
        elif code == 0x87:
            a = x
        elif code == 0x84:
            a = -a & MASK
        elif kind == 5:
            if op == 0:
                at += k
            else:
                truth = {0x10: a == operand, 0x20: a > operand, 0x30: a >= operand, 0x40: bool(a & operand)}[op]
                at += jt if truth else jf
        elif kind == 4:
            if op in (0x30, 0x90) and operand == 0:
                return 0
            if op in (0x60, 0x70):
                a = 0 if operand > 31 else (a << operand if op == 0x60 else a >> operand) & MASK
            else:
                a = {
                    0x00: a + operand, 0x10: a - operand, 0x20: a * operand, 0x30: a // operand if operand else 0,
                    0x40: a | operand, 0x50: a & operand, 0x90: a % operand if operand else 0, 0xA0: a ^ operand,
                }[op] & MASK  # fmt: skip
        else:
            raise AssertionError(hex(code))


CODES = [
    0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x00, 0x60, 0x80, 0x01, 0x61, 0x81, 0xB1, 0x02, 0x03, 0x07, 0x87, 0x84,
    0x04, 0x0C, 0x14, 0x1C, 0x24, 0x2C, 0x34, 0x3C, 0x44, 0x4C, 0x54, 0x5C, 0x64, 0x6C, 0x74, 0x7C,
    0x94, 0x9C, 0xA4, 0xAC,    0x05, 0x15, 0x1D, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x4D, 0x06, 0x16,
]  # fmt: skip


@st.composite
def programs(draw: st.DrawFn) -> list[Instruction]:
    length = draw(st.integers(1, 14))
    found = []
    for at in range(length):
        code = draw(st.sampled_from(CODES))
        left = length - at - 1  # the return comes after the last one
        k = draw(st.one_of(st.integers(0, 40), st.integers(0, MASK)))
        if code in (0x60, 0x61, 0x02, 0x03):
            k %= 16
        elif code == 0x05:
            k %= left + 1
        elif code in (0x34, 0x94):
            k = k or 1
        jumps = st.integers(0, min(left, 255))
        found.append(Instruction(code, draw(jumps), draw(jumps), k))
    return [*found, Instruction(draw(st.sampled_from([0x06, 0x16])), 0, 0, draw(st.integers(0, MASK)))]


@settings(max_examples=400, deadline=None)
@given(programs(), st.binary(max_size=64))
def test_same_as_the_interpreter(program: list[Instruction], packet: bytes) -> None:
    assert compile_program(program)(packet) == interpret(program, packet)


@pytest.mark.parametrize(
    "program",
    [
        [],
        [Instruction(0x20, k=0)],
        [Instruction(0x15, jt=1, k=0), Instruction(6)],
        [Instruction(0x05, k=1), Instruction(6)],
        [Instruction(0x05, k=MASK), Instruction(6)],
        [Instruction(0x34, k=0), Instruction(6)],
        [Instruction(0x60, k=16), Instruction(6)],
        [Instruction(0x02, k=99), Instruction(6)],
        [Instruction(0xFF), Instruction(6)],
        [Instruction(0x38), Instruction(6)],
        [Instruction(0xFFFF), Instruction(6)],
        [Instruction(0x0E)],
        [Instruction(6, k=-1)],
        [Instruction(6)] * 513,
    ],
)
def test_refused(program: list[Instruction]) -> None:
    with pytest.raises(BadProgram):
        compile_program(program)
