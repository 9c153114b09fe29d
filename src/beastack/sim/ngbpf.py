"""Owns the control messages of an ng_bpf node: setprogram, getprogram, getstats and their like (ng_bpf(4)).

Those of an ng_car node are ngcar's.
"""

from beastack.sim import bpfvm, ngcar, ngmessage
from beastack.sim.bpfvm import Instruction
from beastack.sim.nggraph import INVALID, NO_ENTRY, Hook, Node, Refused

_BPF_COMMANDS = {"setprogram": 1, "getprogram": 2, "getstats": 3, "clrstats": 4, "getclrstats": 5}


def message(node: Node, command: str, text: str) -> tuple[int, str] | None:
    """A control message to a node: the number of the command and the text of the response, if there is one."""
    if node.car is not None and command in ngcar.COMMANDS:
        try:
            return node.car.message(command, text)
        except ngmessage.BadMessage as e:
            raise Refused(str(e) if "not simulated" in str(e) else INVALID) from None
    if node.kind != "bpf" or command not in _BPF_COMMANDS:
        raise Refused("Function not implemented")
    try:
        argument = ngmessage.read(text)
        if command == "setprogram":
            _set_program(node, argument)
            return None
    except (ngmessage.BadMessage, bpfvm.BadProgram):
        raise Refused(INVALID) from None
    if not isinstance(argument, str):
        raise Refused(INVALID)
    hook = node.hooks.get(argument)
    if hook is None:
        raise Refused(NO_ENTRY)
    number = _BPF_COMMANDS[command]
    answer = None if command == "clrstats" else _program_of(hook) if command == "getprogram" else _stats_of(hook)
    if command in ("clrstats", "getclrstats"):
        hook.clear()
    return None if answer is None else (number, answer)


def _set_program(node: Node, argument: ngmessage.Value) -> None:
    if not isinstance(argument, dict):
        raise ngmessage.BadMessage("a program is a structure")
    if set(argument) - {"thisHook", "ifMatch", "ifNotMatch", "bpf_prog_len", "bpf_prog"}:
        raise ngmessage.BadMessage("unknown field")
    items = argument.get("bpf_prog", [])
    length = ngmessage.number(argument, "bpf_prog_len")
    if not isinstance(items, list) or len(items) != length:
        raise ngmessage.BadMessage("bpf_prog_len is another number than there are instructions")
    program = []
    for item in items:
        if not isinstance(item, dict) or set(item) - {"code", "jt", "jf", "k"}:
            raise ngmessage.BadMessage("an instruction")
        program.append(Instruction(*(ngmessage.number(item, name) for name in ("code", "jt", "jf", "k"))))
    hook = node.hooks.get(ngmessage.string(argument, "thisHook"))
    match, no_match = ngmessage.string(argument, "ifMatch"), ngmessage.string(argument, "ifNotMatch")
    if hook is None:
        raise Refused(NO_ENTRY)
    hook.program, hook.instructions = bpfvm.compile_program(program), program
    hook.match, hook.no_match = match, no_match


def _program_of(hook: Hook) -> str:
    items: list[ngmessage.Value] = [dict(one._asdict()) for one in hook.instructions]
    fields: dict[str, ngmessage.Value] = {"thisHook": hook.name, "ifMatch": hook.match, "ifNotMatch": hook.no_match}
    return ngmessage.write({**fields, "bpf_prog_len": len(items), "bpf_prog": items})


def _stats_of(hook: Hook) -> str:
    counts = (("recv", hook.received), ("recvMatch", hook.matched), ("xmit", hook.sent))
    return ngmessage.write(
        {f"{name}{unit}": pair[at] for name, pair in counts for at, unit in enumerate(("Frames", "Octets"))}
    )
