"""ng_bpf(4) guards: a node ``bsg_<interface>`` between the ``lower`` and ``upper`` hooks of an interface's ng_ether(4).

Frames from the guest go through the guard before the bridge sees them. A hook of a new node drops everything until it
has a program, and a program is replaced in one message, so there is no moment without a guard. Programs are given on
ngctl(8)'s command line: a line of a file ends after 2047 bytes there. Shutting the node down restores the interface.

A guard of several programs is a chain: what the first does not pass leaves by ``next1``, which is connected to the same
node's ``more1`` with the second program, and so on; what the last one does not pass is dropped.
"""

import re
from collections.abc import Sequence

from beastack.freebsd.bpf import Instruction, text
from beastack.freebsd.bpf_guard import MAX_PROGRAMS, BadGuard, pass_all
from beastack.freebsd.errors import CommandFailed, UnexpectedOutput
from beastack.freebsd.host import Host

PREFIX = "bsg_"
# The kernel parses a message's text into, and sockets carry it in, 20 KiB (ng_base.c, ng_socket.c).
MAX_TEXT = 19_000
_NODE = re.compile(r"  Name: (?P<name>\S+) +Type: (?P<type>\S+) +ID: [0-9a-f]+ +Num hooks: (?P<hooks>\d+)")
_HOOK = re.compile(r"  (?P<hook>\S+) +(?P<peer>\S+) +(?P<type>\S+) +[0-9a-f]+ +(?P<there>\S+) *")
# Hooks of a guard that is not half-made: two, and two more for each link.
_WHOLE = frozenset(str(2 * count) for count in range(1, MAX_PROGRAMS + 1))
_ABSENT = "No such file or directory"


def node(interface: str) -> str:
    """The name of an interface's guard."""
    return PREFIX + interface


def _hooks(host: Host, interface: str) -> dict[str, tuple[str, str]] | None:
    """Hook -> (peer's name, peer's hook) of the interface's guard; None when there is none."""
    argv = ["ngctl", "show", f"{node(interface)}:"]
    done = host.run(argv, check=False)
    if done.rc:
        if _ABSENT in done.err + done.out:
            return None
        raise CommandFailed(argv, done.rc, done.out, done.err)
    lines = done.out.splitlines()
    head = _NODE.match(lines[0]) if lines else None
    if head is None or head["type"] != "bpf":
        raise UnexpectedOutput(argv, done.out, "a node of type bpf")
    found = [match for line in lines[3:] if (match := _HOOK.fullmatch(line))]
    if len(found) != int(head["hooks"]):
        raise UnexpectedOutput(argv, done.out, f"{head['hooks']} hooks")
    return {match["hook"]: (match["peer"], match["there"]) for match in found}


def _connect(host: Host, interface: str) -> None:
    """A fresh node between the hooks, which drops everything."""
    steps = (
        f"mkpeer {interface}: bpf lower in",
        f"name {interface}:lower {node(interface)}",
        f"connect {interface}: {node(interface)}: upper out",
    )
    host.run(["ngctl", "-f", "-"], input="".join(f"{step}\n" for step in steps))


def _links(count: int) -> dict[str, str]:
    """Both ends of each link of a chain of ``count`` programs."""
    ends = ((f"next{n}", f"more{n}") for n in range(1, count))
    return {hook: other for one, two in ends for hook, other in ((one, two), (two, one))}


def _whole(host: Host, interface: str) -> int:
    """How many programs the interface's guard has room for; 0 when it is not whole."""
    hooks = _hooks(host, interface)
    count = len(hooks or {}) // 2
    links = {hook: (node(interface), other) for hook, other in _links(count).items()}
    return count if hooks == {"in": (interface, "lower"), "out": (interface, "upper"), **links} else 0


def _message(this: str, match: str, otherwise: str, program: Sequence[Instruction]) -> str:
    return f'{{ thisHook="{this}" ifMatch="{match}" ifNotMatch="{otherwise}" {text(program)} }}'


def set_guard(host: Host, interface: str, *programs: Sequence[Instruction]) -> None:
    """Let through what one of ``programs`` passes, and nothing else. Raises BadGuard when the kernel could not take it.

    While a guard is replaced, a frame may pass that the old or the new one passes, and no other.
    """
    if not programs:
        raise BadGuard("a guard without a program would close the port")
    last = len(programs) - 1
    messages = []
    for n, program in enumerate(programs):
        message = _message(f"more{n}" if n else "in", "out", f"next{n + 1}" if n < last else "", program)
        if len(message) > MAX_TEXT:
            raise BadGuard(f"too many allowed addresses for one port: a program of {len(message)} characters")
        messages.append(message)
    path = f"{node(interface)}:"
    room = _whole(host, interface)
    if not room:
        try:
            _connect(host, interface)
        except CommandFailed:
            # a node that was left half-made, under our name or none
            for left in (path, f"{interface}:lower", f"{interface}:upper"):
                _shutdown(host, left)
            _connect(host, interface)
        room = 1
    # a new link has no program and drops everything; links that are too many are reached by nothing and stay
    for n in range(room, len(programs)):
        host.run(["ngctl", "connect", path, path, f"next{n}", f"more{n}"])
    found = _whole(host, interface)
    if found < len(programs):
        raise UnexpectedOutput(["ngctl", "show", path], f"{found} programs", f"room for {len(programs)}")
    for message in [*reversed(messages), _message("out", "in", "in", pass_all())]:
        host.run(["ngctl", "msg", path, "setprogram", message])


def _shutdown(host: Host, path: str) -> None:
    argv = ["ngctl", "shutdown", path]
    done = host.run(argv, check=False)
    if done.rc and _ABSENT not in done.err + done.out:
        raise CommandFailed(argv, done.rc, done.out, done.err)


def clear_guard(host: Host, interface: str) -> None:
    """Remove the interface's guard; gone is fine."""
    _shutdown(host, f"{node(interface)}:")


def list_guards(host: Host) -> list[str]:
    """Interfaces that have a whole guard (`ngctl list`). Raises UnexpectedOutput."""
    done = host.run(["ngctl", "list"])
    lines = done.out.splitlines()
    if not lines or not lines[0].startswith("There are "):
        raise UnexpectedOutput(done.argv, done.out, "There are N total nodes:")
    found = []
    for line in lines[1:]:
        match = _NODE.match(line)
        if match is None:
            raise UnexpectedOutput(done.argv, line, "a node")
        if match["type"] == "bpf" and match["name"].startswith(PREFIX) and match["hooks"] in _WHOLE:
            found.append(match["name"].removeprefix(PREFIX))
    return sorted(found)
