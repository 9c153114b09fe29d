"""A small assembler for classic BPF (bpf(4)) with the kernel's own checks (bpf_validate(9)).

Conditional jumps reach 255 instructions: programs return where they decide, and pass over long parts by ``ja``, whose
offset has 32 bits. Jumps name labels and go forward only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_INSTRUCTIONS = 512
PASS, DROP = 0xFFFF, 0
_RET, _JA, _JEQ, _JSET, _JEQ_X = 0x06, 0x05, 0x15, 0x45, 0x1D
LD_W, LD_H, LD_B = 0x20, 0x28, 0x30
LD_W_X, LD_H_X = 0x40, 0x48
LD_IMM, LD_MEM, ST, LDX_IMM = 0x00, 0x60, 0x02, 0x01
LDX_IHL = 0xB1
AND, TAX = 0x54, 0x07
_MEMORY = {LD_MEM, ST}
MEMORY_WORDS = 16
_PLAIN = {LD_W, LD_H, LD_B, LD_W_X, LD_H_X, LD_IMM, LDX_IMM, LDX_IHL, AND, TAX} | _MEMORY
_JUMPS = {_JEQ, _JSET, _JEQ_X}


class BadProgram(Exception):
    """The kernel would refuse the program, or it would not mean what was written."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, struct bpf_insn."""

    code: int
    jt: int = 0
    jf: int = 0
    k: int = 0


@dataclass(frozen=True, slots=True)
class _Jump:
    code: int
    k: int
    yes: str | None
    no: str | None


class Assembler:
    """Instructions in order; ``None`` as a jump's target is the next instruction."""

    def __init__(self) -> None:
        self._lines: list[Instruction | _Jump] = []
        self._labels: dict[str, int] = {}
        self._made = 0

    def fresh(self) -> str:
        """A label's name that nobody else has."""
        self._made += 1
        return f".{self._made}"

    def label(self, name: str) -> None:
        """The next instruction is called ``name``. Raises BadProgram when another one is."""
        if name in self._labels:
            raise BadProgram(f"label {name} is there twice")
        self._labels[name] = len(self._lines)

    def op(self, code: int, k: int = 0) -> None:
        """A load, a store, an AND or a transfer."""
        self._lines.append(Instruction(code, k=k))

    def ret(self, value: int) -> None:
        """Return."""
        self._lines.append(Instruction(_RET, k=value))

    def goto(self, label: str) -> None:
        """Jump any distance."""
        self._lines.append(_Jump(_JA, 0, label, None))

    def if_equal(self, k: int, yes: str | None = None, no: str | None = None) -> None:
        """Compare A with ``k``."""
        self._lines.append(_Jump(_JEQ, k, yes, no))

    def if_equal_x(self, yes: str | None = None, no: str | None = None) -> None:
        """Compare A with X."""
        self._lines.append(_Jump(_JEQ_X, 0, yes, no))

    def if_bits(self, k: int, yes: str | None = None, no: str | None = None) -> None:
        """Whether A has any bit of ``k``."""
        self._lines.append(_Jump(_JSET, k, yes, no))

    def need_equal(self, k: int) -> None:
        """Drop unless A is ``k``."""
        on = self.fresh()
        self.if_equal(k, yes=on)
        self.ret(DROP)
        self.label(on)

    def _offset(self, at: int, target: str | None, most: int) -> int:
        if target is None:
            return 0
        if target not in self._labels:
            raise BadProgram(f"label {target} is nowhere")
        distance = self._labels[target] - at - 1
        if not 0 <= distance <= most:
            raise BadProgram(f"instruction {at}: a jump of {distance} instructions")
        return distance

    def program(self) -> list[Instruction]:
        """The finished program; raises BadProgram."""
        made = []
        for at, line in enumerate(self._lines):
            if isinstance(line, Instruction):
                made.append(line)
            elif line.code == _JA:
                made.append(Instruction(_JA, k=self._offset(at, line.yes, 0xFFFFFFFF)))
            else:
                jt, jf = self._offset(at, line.yes, 255), self._offset(at, line.no, 255)
                made.append(Instruction(line.code, jt, jf, line.k))
        verify(made)
        return made


def verify(program: Sequence[Instruction]) -> None:
    """Raises BadProgram for what bpf_validate(9) refuses, and for instructions that are not used here."""
    if not 0 < len(program) <= MAX_INSTRUCTIONS:
        raise BadProgram(f"{len(program)} instructions; the kernel takes 1 to {MAX_INSTRUCTIONS}")
    for at, one in enumerate(program):
        if not (0 <= one.jt <= 255 and 0 <= one.jf <= 255 and 0 <= one.k <= 0xFFFFFFFF):
            raise BadProgram(f"instruction {at}: a field is out of range")
        if one.code in _MEMORY and one.k >= MEMORY_WORDS:
            raise BadProgram(f"instruction {at}: there is no word {one.k} of memory")
        if one.code == _JA:
            far = one.k
        elif one.code in _JUMPS:
            far = max(one.jt, one.jf)
        elif one.code == _RET or one.code in _PLAIN:
            continue
        else:
            raise BadProgram(f"instruction {at}: unknown code {one.code:#x}")
        if at + 1 + far >= len(program):
            raise BadProgram(f"instruction {at}: jumps out of the program")
    if program[-1].code != _RET:
        raise BadProgram("the last instruction is no return")


def text(program: Sequence[Instruction]) -> str:
    """The program as ng_bpf(4)'s setprogram reads it, fields of 0 left out."""
    items = []
    for one in program:
        fields = [("code", one.code), ("jt", one.jt), ("jf", one.jf), ("k", one.k)]
        items.append("{ " + " ".join(f"{name}={value}" for name, value in fields if value) + " }")
    return f"bpf_prog_len={len(program)} bpf_prog=[ {' '.join(items)} ]"
