"""The assembler and the verifier refuse what the kernel would (bpf_validate, sys/net/bpf_filter.c)."""

import pytest

from beastack.freebsd.bpf import DROP, LD_H, Assembler, BadProgram, Instruction, verify


def test_the_assembler_refuses() -> None:
    far = Assembler()
    far.if_equal(1, no="end")
    for _ in range(256):
        far.op(LD_H, 12)
    far.label("end")
    far.ret(DROP)
    with pytest.raises(BadProgram, match="a jump of 256"):
        far.program()
    nowhere = Assembler()
    nowhere.goto("x")
    with pytest.raises(BadProgram, match="nowhere"):
        nowhere.program()
    twice = Assembler()
    twice.label("x")
    with pytest.raises(BadProgram, match="twice"):
        twice.label("x")
    backward = Assembler()
    backward.label("x")
    backward.ret(DROP)
    backward.goto("x")
    with pytest.raises(BadProgram):
        backward.program()


@pytest.mark.parametrize(
    "program",
    [[], [Instruction(0x20)], [Instruction(0x05, k=1), Instruction(6)], [Instruction(0x99), Instruction(6)],
     [Instruction(0x15, jt=256), Instruction(6)], [Instruction(6, k=-1)], [Instruction(6)] * 513],
)  # fmt: skip
def test_the_verifier_refuses(program: list[Instruction]) -> None:
    with pytest.raises(BadProgram):
        verify(program)
