"""Owns netgraph as the engine and ngctl(8) see it: the verdicts on frames come from nggraph, the commands are here."""

import getopt
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from beastack.sim.ngbpf import message
from beastack.sim.nggraph import NO_ENTRY, Graph, Node, Refused

_LINE_MAX = 2048
_MAX_ARGS = 512
_COMMANDS: dict[str, tuple[str, ...]] = {
    "config": (), "connect": ("join",), "debug": (), "help": ("?",), "list": ("ls",), "mkpeer": (), "msg": ("cmd",),
    "name": (), "read": ("source", "."), "rmhook": ("disconnect",), "show": ("inquire", "info"),
    "shutdown": ("kill", "rmnode"), "status": (), "types": (), "write": ("w",), "quit": ("exit",),
}  # fmt: skip
_USAGES = {
    "connect": "connect [path] <relpath> <hook> <peerhook>",
    "list": "list [-ln]",
    "mkpeer": "mkpeer [path] <type> <hook> <peerhook>",
    "msg": "msg path command [args ... ]",
    "name": "name <path> <name>",
    "rmhook": "rmhook [path] <hook>",
    "show": "show [-n] <path>",
    "shutdown": "shutdown <path>",
}


class Result(NamedTuple):
    """What ngctl printed and exited with."""

    out: str = ""
    err: str = ""
    rc: int = 0


class _Usage(Exception):
    """ngctl's own: the command is used wrongly."""


class Netgraph(Graph):
    """`Netgraph(interfaces)`: lower_in, upper_out, rename, interface_gone (see nggraph), and ngctl."""

    def ngctl(self, argv: list[str], stdin: str = "", files: Mapping[str, str] | None = None) -> Result:
        """ngctl(8). `files` holds the text of the files that argv names."""
        self.refresh()
        run = _Ngctl(self, self.next_number())
        try:
            options, rest = getopt.getopt(argv, "df:n:")
        except getopt.GetoptError:
            return Result("", "ngctl: usage: ngctl [-d] [-f file] [-n name] [command ...]\n", 64)
        source = next((value for option, value in options if option == "-f"), None)
        if rest:
            rc = run.command(rest)
        elif source is None:
            usage = "ngctl: usage: ngctl [-d] [-f file] [-n name] [command ...]\n"
            return Result("", f"ngctl: no command specified\n{usage}", 64)
        else:
            text = stdin if source == "-" else (files or {}).get(source)
            if text is None:
                return Result("", f"ngctl: {source}: {NO_ENTRY}\n", 66)
            rc = run.lines(text)
        return Result("".join(run.out), "".join(run.err), rc)


class _Ngctl:
    """One run of ngctl."""

    def __init__(self, graph: Graph, number: int) -> None:
        self.graph = graph
        self.number = number
        self.out: list[str] = []
        self.err: list[str] = []

    def lines(self, text: str) -> int:
        """A file of commands. ngctl reads at most 2047 bytes as one line: what is longer falls apart, here as there."""
        pieces = [
            line[at : at + _LINE_MAX - 1]
            for line in text.splitlines(keepends=True)
            for at in range(0, len(line), _LINE_MAX - 1)
        ]
        for at, line in enumerate(pieces, 1):
            if line.startswith("#"):
                continue
            rc = self.command(line.split()[: _MAX_ARGS - 1])
            if rc:
                if rc != -1:
                    self.err.append(f"ngctl: line {at}: error in file\n")
                return max(rc, 0)
        return 0

    def command(self, words: Sequence[str]) -> int:
        """The exit status; -1 for quit."""
        if not words or not words[0]:
            return 0
        wanted = words[0].lower()
        found = [
            name
            for name, aliases in _COMMANDS.items()
            if name.startswith(wanted) or any(alias.startswith(wanted) for alias in aliases)
        ]
        if len(found) != 1:
            words_ = "ambiguous" if found else "unknown"
            self.err.append(f'ngctl: "{words[0]}": {words_} command\n')
            return 71
        name, arguments = found[0], list(words[1:])
        if name == "quit":
            return -1
        if name not in _USAGES:
            self.err.append(f"ngctl: {name} is not simulated\n")
            return 71
        try:
            self._do(name, arguments)
        except _Usage:
            self.err.append(f"ngctl: usage: {_USAGES[name]}\n")
            return 64
        except Refused as refusal:
            self.err.append(f"ngctl: {'shutdown' if name == 'shutdown' else 'send msg'}: {refusal}\n")
            return 71
        return 0

    def _do(self, name: str, words: list[str]) -> None:
        graph = self.graph
        if name == "list":
            self._list(words)
        elif name == "msg":
            if len(words) < 2:
                raise _Usage
            node = graph.find(words[0])
            answer = message(node, words[1], " ".join(words[2:]))
            if answer is not None:
                number, text = answer
                self.out.append(f'Rec\'d response "{words[1]}" ({number}) from "[{node.number:x}]:":\nArgs:\t{text}\n')
        elif name == "show":
            words = [word for word in words if word != "-n"]
            if len(words) != 1:
                raise _Usage
            self._show(graph.find(words[0]))
        else:
            actions: dict[str, tuple[Callable[..., None], int]] = {
                "mkpeer": (graph.mkpeer, 4),
                "connect": (graph.connect, 4),
                "name": (graph.name, 2),
                "rmhook": (graph.rmhook, 2),
                "shutdown": (graph.shutdown, 1),
            }
            action, count = actions[name]
            if len(words) != count:
                raise _Usage
            action(*words)

    def _list(self, words: list[str]) -> None:
        if any(word not in ("-l", "-n", "-ln") for word in words):
            raise _Usage
        nodes = list(self.graph.nodes())
        named = [node for node in nodes if node.name] if any("n" in word for word in words) else nodes
        kind = "named " if named is not nodes else ""
        self.out.append(f"There are {len(named) + 1} total {kind}nodes:\n")
        for node in named:
            self._line(node)
            if any("l" in word for word in words):
                self._hooks(node)
        own = Node(f"ngctl{1000 + self.number}", "socket", self.number)
        self._line(own)

    def _line(self, node: Node) -> None:
        self.out.append(
            f"  Name: {node.name or '<unnamed>':<15} Type: {node.kind:<15} ID: {node.number:08x}   "
            f"Num hooks: {len(node.hooks)}\n"
        )

    def _show(self, node: Node) -> None:
        self._line(node)
        self._hooks(node)

    def _hooks(self, node: Node) -> None:
        if not node.hooks:
            return
        row = "  {:<15} {:<15} {:<12} {:<15} {:<15}\n".format
        self.out.append(row("Local hook", "Peer name", "Peer type", "Peer ID", "Peer hook"))
        self.out.append(row("----------", "---------", "---------", "-------", "---------"))
        for hook in reversed(node.hooks.values()):
            peer = hook.peer.node
            self.out.append(row(hook.name, peer.name or "<unnamed>", peer.kind, f"{peer.number:08x}", hook.peer.name))
