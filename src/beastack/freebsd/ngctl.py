"""netgraph(4) by ngctl(8): nodes, their hooks, scripts and the answers to messages.

Two kinds of nodes stand between the ``lower`` and ``upper`` hooks of a port's ng_ether(4): first its guard
(``netgraph``), then its limit (``car``); either may be missing.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from beastack.freebsd.errors import CommandFailed, UnexpectedOutput
from beastack.freebsd.host import Host

GUARD, LIMIT = "bsg_", "bsl_"
_NODE = re.compile(r"  Name: (?P<name>\S+) +Type: (?P<type>\S+) +ID: [0-9a-f]+ +Num hooks: (?P<hooks>\d+)")
_HOOK = re.compile(r"  (?P<hook>\S+) +(?P<peer>\S+) +(?P<type>\S+) +[0-9a-f]+ +(?P<there>\S+) *")
_ANSWER = re.compile(r'Rec\'d response "(?P<command>\w+)" \(\d+\) from "[^"]*":\nArgs:\t(?P<text>.*)\n')
_ABSENT = "No such file or directory"


class Node(NamedTuple):
    """A line of ``ngctl list``."""

    name: str
    kind: str
    hooks: int


def nodes(host: Host) -> list[Node]:
    """Every node. Raises UnexpectedOutput."""
    done = host.run(["ngctl", "list"])
    lines = done.out.splitlines()
    if not lines or not lines[0].startswith("There are "):
        raise UnexpectedOutput(done.argv, done.out, "There are N total nodes:")
    found = []
    for line in lines[1:]:
        match = _NODE.match(line)
        if match is None:
            raise UnexpectedOutput(done.argv, line, "a node")
        found.append(Node(match["name"], match["type"], int(match["hooks"])))
    return found


def hooks(host: Host, name: str, kind: str) -> dict[str, tuple[str, str]] | None:
    """Hook -> (peer's name, peer's hook) of a node of this kind; None when there is no node of this name.

    Raises CommandFailed, and UnexpectedOutput for a node of another kind.
    """
    argv = ["ngctl", "show", f"{name}:"]
    done = host.run(argv, check=False)
    if done.rc:
        if _ABSENT in done.err + done.out:
            return None
        raise CommandFailed(argv, done.rc, done.out, done.err)
    lines = done.out.splitlines()
    head = _NODE.match(lines[0]) if lines else None
    if head is None or head["type"] != kind:
        raise UnexpectedOutput(argv, done.out, f"a node of type {kind}")
    found = [match for line in lines[3:] if (match := _HOOK.fullmatch(line))]
    if len(found) != int(head["hooks"]):
        raise UnexpectedOutput(argv, done.out, f"{head['hooks']} hooks")
    return {match["hook"]: (match["peer"], match["there"]) for match in found}


def kind(host: Host, path: str) -> str | None:
    """The type of the node at ``node:hook``; None when there is none. Raises CommandFailed."""
    argv = ["ngctl", "show", path]
    done = host.run(argv, check=False)
    if done.rc and _ABSENT in done.err + done.out:
        return None
    head = _NODE.match(done.out)
    if done.rc or head is None:
        raise CommandFailed(argv, done.rc, done.out, done.err)
    return head["type"]


def script(host: Host, steps: Iterable[str]) -> None:
    """Several commands in one run, up to the first that fails; at most 2,047 bytes each. Raises CommandFailed."""
    host.run(["ngctl", "-f", "-"], input="".join(f"{step}\n" for step in steps))


def ask(host: Host, name: str, command: str) -> str:
    """The text of a node's answer to a message without an argument. Raises CommandFailed, UnexpectedOutput."""
    done = host.run(["ngctl", "msg", f"{name}:", command])
    match = _ANSWER.fullmatch(done.out)
    if match is None or match["command"] != command:
        raise UnexpectedOutput(done.argv, done.out, f"the answer to {command}")
    return match["text"]


def shutdown(host: Host, path: str) -> None:
    """Remove a node (an ng_ether(4) node only loses its hooks); gone is fine. Raises CommandFailed."""
    argv = ["ngctl", "shutdown", path]
    done = host.run(argv, check=False)
    if done.rc and _ABSENT not in done.err + done.out:
        raise CommandFailed(argv, done.rc, done.out, done.err)
