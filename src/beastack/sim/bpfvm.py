"""Owns classic BPF: the check of a program and its translation into one Python function (bpf(4), bpf_filter(9)).

A jump goes forward only, so a program is a chain of blocks that runs once from top to bottom: each block that somebody
jumps to is guarded by the index that is to run next. A load outside the packet ends the program with 0, as in the
kernel.
"""

from collections.abc import Callable
from typing import NamedTuple

Program = Callable[[bytes], int]


class Instruction(NamedTuple):
    code: int
    jt: int = 0
    jf: int = 0
    k: int = 0


class BadProgram(ValueError):
    """The kernel would refuse this program (bpf_validate)."""


_MAX = 512
_MEMORY = 16
_LD, _LDX, _ST, _STX, _ALU, _JMP, _RET, _MISC = range(8)
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
_ALU_OPS = {
    0x00: "+",
    0x10: "-",
    0x20: "*",
    0x30: "//",
    0x40: "|",
    0x50: "&",
    0x60: "<<",
    0x70: ">>",
    0x90: "%",
    0xA0: "^",
}
_TESTS = {0x10: "==", 0x20: ">", 0x30: ">=", 0x40: "&"}


def _check(program: list[Instruction]) -> None:
    if not 0 < len(program) <= _MAX:
        raise BadProgram("a program has 1 to 512 instructions")
    last = len(program) - 1
    for at, one in enumerate(program):
        if not (0 <= one.code <= 0xFFFF and 0 <= one.jt <= 255 and 0 <= one.jf <= 255 and 0 <= one.k <= 0xFFFFFFFF):
            raise BadProgram(f"instruction {at}: a field is out of range")
        kind = one.code & 7
        if kind == _JMP:
            far = one.k if one.code & 0xF0 == 0 else max(one.jt, one.jf)
            if at + 1 + far > last:
                raise BadProgram(f"instruction {at}: jumps out of the program")
        elif kind == _ALU and one.code & 0xF0 in (0x30, 0x90) and not one.code & 8 and one.k == 0:
            raise BadProgram(f"instruction {at}: divides by zero")
        elif (kind in (_ST, _STX) or (kind in (_LD, _LDX) and one.code & 0xE0 == 0x60)) and one.k >= _MEMORY:
            raise BadProgram(f"instruction {at}: no such memory cell")
    if program[last].code & 7 != _RET:
        raise BadProgram("the last instruction is no return")


def compile_program(program: list[Instruction]) -> Program:
    """The program as a function from a packet to the number of bytes it accepts."""
    _check(program)
    targets = set()
    for at, one in enumerate(program):
        if one.code & 7 == _JMP:
            ways = (one.k,) if one.code & 0xF0 == 0 else (one.jt, one.jf)
            targets |= {at + 1 + way for way in ways}
    lines = ["def run(p):", " n = len(p)", " a = x = 0", f" m = [0] * {_MEMORY}", " j = 0"]
    indent = " "
    for at, one in enumerate(program):
        if at in targets or (at and program[at - 1].code & 7 == _JMP):
            lines.append(f" if j <= {at}:")
            indent = "  "
        lines += [indent + line for line in _translate(one, at)]
    lines.append(" return 0")
    namespace: dict[str, Program] = {}
    # the text is made of our own templates and checked integers only
    exec("\n".join(lines), {"__builtins__": {"len": len}, "from_bytes": int.from_bytes}, namespace)  # noqa: S102
    return namespace["run"]


def _load(one: Instruction) -> list[str]:
    mode, size = one.code & 0xE0, _SIZES.get(one.code & 0x18)
    if size is None:
        raise BadProgram(f"unknown instruction 0x{one.code:02x}")
    if mode == 0x20:
        if one.k + size > 0xFFFFFFFF:
            return ["return 0"]
        if size == 1:
            return [f"if n <= {one.k}: return 0", f"a = p[{one.k}]"]
        return [f"if n < {one.k + size}: return 0", f"a = from_bytes(p[{one.k}:{one.k + size}], 'big')"]
    if mode == 0x40:
        return [f"i = x + {one.k}", f"if i + {size} > n: return 0", f"a = from_bytes(p[i:i + {size}], 'big')"]
    simple = {0x00: f"a = {one.k}", 0x60: f"a = m[{one.k}]", 0x80: "a = n"}
    if size != 4 or mode not in simple:
        raise BadProgram(f"unknown instruction 0x{one.code:02x}")
    return [simple[mode]]


def _alu(one: Instruction) -> list[str]:
    op = one.code & 0xF0
    if one.code == 0x84:
        return ["a = -a & 0xffffffff"]
    if op not in _ALU_OPS or one.code & ~0xFF:
        raise BadProgram(f"unknown instruction 0x{one.code:02x}")
    value = "x" if one.code & 8 else str(one.k)
    if op in (0x60, 0x70):  # a shift by 32 or more leaves nothing
        return [f"a = (a {_ALU_OPS[op]} {value}) & 0xffffffff if {value} < 32 else 0"]
    check = ["if x == 0: return 0"] if op in (0x30, 0x90) and one.code & 8 else []
    return [*check, f"a = (a {_ALU_OPS[op]} {value}) & 0xffffffff"]


def _jump(one: Instruction, at: int) -> list[str]:
    op = one.code & 0xF0
    if one.code == 0x05:
        return [f"j = {at + 1 + one.k}"]
    if op not in _TESTS or one.code & ~0xFF:
        raise BadProgram(f"unknown instruction 0x{one.code:02x}")
    value = "x" if one.code & 8 else str(one.k)
    return [f"j = {at + 1 + one.jt} if a {_TESTS[op]} {value} else {at + 1 + one.jf}"]


def _translate(one: Instruction, at: int) -> list[str]:
    code, kind = one.code, one.code & 7
    if kind == _LD:
        return _load(one)
    if kind == _ALU:
        return _alu(one)
    if kind == _JMP:
        return _jump(one, at)
    simple = {
        0x01: [f"x = {one.k}"],
        0x61: [f"x = m[{one.k}]"],
        0x81: ["x = n"],
        0xB1: [f"if n <= {one.k}: return 0", f"x = (p[{one.k}] & 15) << 2"],
        0x02: [f"m[{one.k}] = a"],
        0x03: [f"m[{one.k}] = x"],
        0x06: [f"return {one.k}"],
        0x16: ["return a"],
        0x07: ["x = a"],
        0x87: ["a = x"],
    }
    if code not in simple:
        raise BadProgram(f"unknown instruction 0x{code:02x}")
    return simple[code]
