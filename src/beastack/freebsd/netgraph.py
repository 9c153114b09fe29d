"""ng_bpf(4) guards: a node ``bsg_<interface>`` between the ``lower`` and ``upper`` hooks of an interface's ng_ether(4).

Frames from the guest go through the guard before the bridge sees them. A hook of a new node drops everything until it
has a program, and a program is replaced in one message, so there is no moment without a guard. Programs are given on
ngctl(8)'s command line: a line of a file ends after 2047 bytes there. Shutting the node down restores the interface.

A guard of several programs is a chain: what the first does not pass leaves by ``next1``, which is connected to the same
node's ``more1`` with the second program, and so on; what the last one does not pass is dropped.
"""

from collections.abc import Sequence

from beastack.freebsd import ngctl
from beastack.freebsd.bpf import Instruction, text
from beastack.freebsd.bpf_guard import MAX_PROGRAMS, BadGuard, pass_all
from beastack.freebsd.errors import CommandFailed, UnexpectedOutput
from beastack.freebsd.host import Host

PREFIX = ngctl.GUARD
# The kernel parses a message's text into, and sockets carry it in, 20 KiB (ng_base.c, ng_socket.c).
MAX_TEXT = 19_000
# Hooks of a guard that is not half-made: two, and two more for each link.
_WHOLE = frozenset(2 * count for count in range(1, MAX_PROGRAMS + 1))


def node(interface: str) -> str:
    """The name of an interface's guard."""
    return PREFIX + interface


def hooks(host: Host, interface: str) -> dict[str, tuple[str, str]] | None:
    """Hook -> (peer's name, peer's hook) of the interface's guard; None when there is none."""
    return ngctl.hooks(host, node(interface), "bpf")


def _connect(host: Host, interface: str) -> None:
    """A fresh node between the hooks, which drops everything."""
    ngctl.script(
        host,
        (
            f"mkpeer {interface}: bpf lower in",
            f"name {interface}:lower {node(interface)}",
            f"connect {interface}: {node(interface)}: upper out",
        ),
    )


def _connect_before(host: Host, interface: str, limit: str) -> None:
    """The same where the interface has a limit and no guard: frames come to the guard first."""
    ngctl.script(
        host,
        (
            f"rmhook {limit}: lower",
            f"mkpeer {interface}: bpf lower in",
            f"name {interface}:lower {node(interface)}",
            f"connect {limit}: {node(interface)}: lower out",
        ),
    )


def _links(count: int) -> dict[str, str]:
    """Both ends of each link of a chain of ``count`` programs."""
    ends = ((f"next{n}", f"more{n}") for n in range(1, count))
    return {hook: other for one, two in ends for hook, other in ((one, two), (two, one))}


def _whole(host: Host, interface: str) -> int:
    """How many programs the interface's guard has room for; 0 when it is not whole."""
    found = hooks(host, interface) or {}
    count = len(found) // 2
    links = {hook: (node(interface), other) for hook, other in _links(count).items()}
    limit = ngctl.LIMIT + interface
    if found.get("out") == (limit, "lower"):
        behind = {"lower": (node(interface), "out"), "upper": (interface, "upper")}
        if ngctl.hooks(host, limit, "car") != behind:
            return 0
        found["out"] = (interface, "upper")
    return count if found == {"in": (interface, "lower"), "out": (interface, "upper"), **links} else 0


def _message(this: str, match: str, otherwise: str, program: Sequence[Instruction]) -> str:
    return f'{{ thisHook="{this}" ifMatch="{match}" ifNotMatch="{otherwise}" {text(program)} }}'


def set_guard(host: Host, interface: str, *programs: Sequence[Instruction]) -> None:
    """Let through what one of ``programs`` passes, and nothing else. Raises BadGuard when the kernel could not take it.

    While a guard is replaced, a frame may pass that the old or the new one passes, and no other. The interface's limit
    stays, unless what was found had to be made anew: the caller sees to that (``car.set_rate``).
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
            _make_room(host, interface)
        room = 1
    # a new link has no program and drops everything; links that are too many are reached by nothing and stay
    for n in range(room, len(programs)):
        host.run(["ngctl", "connect", path, path, f"next{n}", f"more{n}"])
    found = _whole(host, interface)
    if found < len(programs):
        raise UnexpectedOutput(["ngctl", "show", path], f"{found} programs", f"room for {len(programs)}")
    for message in [*reversed(messages), way_back()]:
        host.run(["ngctl", "msg", path, "setprogram", message])


def _make_room(host: Host, interface: str) -> None:
    """A fresh node although something is there: a limit alone, or what was left half-made, under our name or none."""
    limit = ngctl.LIMIT + interface
    alone = {"lower": (interface, "lower"), "upper": (interface, "upper")}
    if hooks(host, interface) is None and ngctl.hooks(host, limit, "car") == alone:
        _connect_before(host, interface, limit)
        return
    for left in (f"{node(interface)}:", f"{limit}:", f"{interface}:lower", f"{interface}:upper"):
        ngctl.shutdown(host, left)
    _connect(host, interface)


def way_back() -> str:
    """The program of a guard's ``out``: what comes to the guest's side passes. It goes with the hook's connection."""
    return _message("out", "in", "in", pass_all())


def clear_guard(host: Host, interface: str) -> None:
    """Remove the interface's guard; gone is fine. A limit behind it stays."""
    behind = (hooks(host, interface) or {}).get("out") == (ngctl.LIMIT + interface, "lower")
    ngctl.shutdown(host, f"{node(interface)}:")
    if behind and any(found.name == interface for found in ngctl.nodes(host)):
        ngctl.script(host, (f"connect {interface}: {ngctl.LIMIT}{interface}: lower lower",))


def list_guards(host: Host) -> list[str]:
    """Interfaces that have a whole guard (`ngctl list`). Raises UnexpectedOutput."""
    return sorted(
        found.name.removeprefix(PREFIX)
        for found in ngctl.nodes(host)
        if found.kind == "bpf" and found.name.startswith(PREFIX) and found.hooks in _WHOLE
    )
