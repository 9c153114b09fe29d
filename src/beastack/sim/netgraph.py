"""Owns netgraph of one network stack: ng_ether nodes, ng_bpf guards on them, and ngctl(8) (ng_ether(4), ng_bpf(4)).

A frame of the bpf node is judged by the program of the hook it arrives on; `ifMatch` or `ifNotMatch` names the hook it
leaves by, "" drops it; a hook without a program drops everything. What an ether node's `lower` hook takes away reaches
the host only when it comes back in by the same node's `upper` hook, and the other way round.
"""

import getopt
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from beastack.sim import bpfvm, ngmessage
from beastack.sim.bpfvm import Instruction


class Result(NamedTuple):
    """What ngctl printed and exited with."""

    out: str = ""
    err: str = ""
    rc: int = 0


class _Refused(Exception):
    """The kernel's answer to a message."""


class _Usage(Exception):
    """ngctl's own: the command is used wrongly."""


_NO_ENTRY = "No such file or directory"
_EXISTS = "File exists"
_INVALID = "Invalid argument"
_DROP_ALL = [Instruction(6)]
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


class _Hook:
    """One end of an edge; of a bpf node also the program and its counters."""

    def __init__(self, node: "_Node", name: str) -> None:
        self.node = node
        self.name = name
        self.peer: _Hook = self
        self.match = self.no_match = ""
        self.instructions = _DROP_ALL
        self.program = bpfvm.compile_program(_DROP_ALL)
        self.clear()

    def clear(self) -> None:
        self.received = [0, 0]
        self.matched = [0, 0]
        self.sent = [0, 0]

    def deliver(self, frame: bytes) -> "_Hook | None":
        """The far end a frame reaches that arrived here, at a bpf node; None when it is dropped."""
        self.received[0] += 1
        self.received[1] += len(frame)
        name = self.no_match
        if self.program(frame):
            self.matched[0] += 1
            self.matched[1] += len(frame)
            name = self.match
        target = self.node.hooks.get(name)
        if target is None:
            return None
        target.sent[0] += 1
        target.sent[1] += len(frame)
        return target.peer


class _Node:
    def __init__(self, name: str, kind: str, number: int, interface: str = "") -> None:
        self.name = name
        self.kind = kind
        self.number = number
        self.interface = interface
        self.hooks: dict[str, _Hook] = {}

    def accepts(self, hook: str) -> None:
        if hook in self.hooks:
            raise _Refused(_EXISTS)
        if not 0 < len(hook) < 32 or (self.kind == "ether" and hook not in ("lower", "upper", "orphans")):
            raise _Refused(_INVALID)


class Netgraph:
    """`interfaces` names the Ethernet interfaces there are now; each has an ether node of the same name."""

    def __init__(self, interfaces: Callable[[], list[str]]) -> None:
        self._interfaces = interfaces
        self._nodes: list[_Node] = []
        self._ethers: dict[str, _Node] = {}
        self._last = 0

    def lower_in(self, ifname: str, frame: bytes) -> bool:
        """Whether a frame that arrives from the wire (or the guest) reaches the host."""
        return self._through(ifname, "lower", "upper", frame)

    def upper_out(self, ifname: str, frame: bytes) -> bool:
        """Whether a frame of the host's reaches the wire. Frames that a bridge forwards do not come this way (06)."""
        return self._through(ifname, "upper", "lower", frame)

    def _through(self, ifname: str, taken: str, wanted: str, frame: bytes) -> bool:
        ether = self._ethers.get(ifname)
        hook = ether.hooks.get(taken) if ether is not None else None
        if hook is None:
            return True
        far = hook.peer.deliver(frame) if hook.peer.node.kind == "bpf" else None
        for _ in range(8):  # a chain of bpf nodes
            if far is None or far.node.kind != "bpf":
                break
            far = far.deliver(frame)
        return far is not None and far.node is ether and far.name == wanted

    def rename(self, old: str, new: str) -> None:
        """An interface has another name; its node follows, with its hooks."""
        ether = self._ethers.pop(old, None)
        if ether is not None:
            ether.name, ether.interface = _node_name(new), new
            self._ethers[new] = ether

    def interface_gone(self, name: str) -> None:
        ether = self._ethers.pop(name, None)
        if ether is not None:
            self._disconnect_all(ether)
            self._nodes.remove(ether)

    def ngctl(self, argv: list[str], stdin: str = "", files: Mapping[str, str] | None = None) -> Result:
        """ngctl(8). `files` holds the text of the files that argv names."""
        self._refresh()
        self._last += 1  # ngctl's own socket node takes a number
        run = _Ngctl(self, self._last)
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
                return Result("", f"ngctl: {source}: {_NO_ENTRY}\n", 66)
            rc = run.lines(text)
        return Result("".join(run.out), "".join(run.err), rc)

    def _refresh(self) -> None:
        names = self._interfaces()
        for gone in set(self._ethers) - set(names):
            self.interface_gone(gone)
        for name in names:
            if name not in self._ethers:
                self._ethers[name] = self._new(_node_name(name), "ether", name)

    def _new(self, name: str, kind: str, interface: str = "") -> _Node:
        self._last += 1
        node = _Node(name, kind, self._last, interface)
        self._nodes.append(node)
        return node

    def nodes(self) -> list[_Node]:
        return self._nodes

    def find(self, path: str) -> _Node:
        """`name:`, `[id]:` and `name:hook.hook`."""
        name, colon, hooks = path.partition(":")
        if not colon:
            raise _Refused(_NO_ENTRY)
        identity = re.fullmatch(r"\[([0-9a-fA-F]+)\]", name)
        for node in self._nodes:
            if (identity and node.number == int(identity[1], 16)) or (name and node.name == name):
                break
        else:
            raise _Refused(_NO_ENTRY)
        for hook in hooks.split(".") if hooks else ():
            if hook not in node.hooks:
                raise _Refused(_NO_ENTRY)
            node = node.hooks[hook].peer.node
        return node

    def mkpeer(self, path: str, kind: str, hook: str, peer_hook: str) -> None:
        node = self.find(path)
        if kind != "bpf":
            raise _Refused("Device not configured" if kind != "ether" else _INVALID)
        node.accepts(hook)
        if not 0 < len(peer_hook) < 32:
            raise _Refused(_INVALID)
        self._join(node, hook, self._new("", "bpf"), peer_hook)

    def connect(self, path: str, other: str, hook: str, peer_hook: str) -> None:
        node = self.find(path)
        peer = self.find(other if ":" in other else path.rstrip(":") + ":" + other)
        node.accepts(hook)
        peer.accepts(peer_hook)
        if node is peer and hook == peer_hook:
            raise _Refused(_EXISTS)
        self._join(node, hook, peer, peer_hook)

    @staticmethod
    def _join(node: _Node, hook: str, peer: _Node, peer_hook: str) -> None:
        one, two = _Hook(node, hook), _Hook(peer, peer_hook)
        one.peer, two.peer = two, one
        node.hooks[hook], peer.hooks[peer_hook] = one, two

    def name(self, path: str, name: str) -> None:
        node = self.find(path)
        if not re.fullmatch(r"[^.:\[\]\s]{1,31}", name):
            raise _Refused(_INVALID)
        if any(one.name == name for one in self._nodes):
            raise _Refused("Address already in use")
        node.name = name

    def rmhook(self, path: str, hook: str) -> None:
        node = self.find(path)
        if hook not in node.hooks:
            raise _Refused(_NO_ENTRY)
        self._disconnect(node.hooks[hook])

    def _disconnect(self, hook: _Hook) -> None:
        for end in (hook, hook.peer):
            end.node.hooks.pop(end.name, None)
            if end.node.kind == "bpf" and not end.node.hooks and end.node in self._nodes:
                self._nodes.remove(end.node)

    def _disconnect_all(self, node: _Node) -> None:
        for hook in list(node.hooks.values()):
            if node.hooks.get(hook.name) is hook:
                self._disconnect(hook)

    def shutdown(self, path: str) -> None:
        """A bpf node goes; an ether node loses its hooks and stays, with its own name."""
        node = self.find(path)
        self._disconnect_all(node)
        if node.kind == "ether":
            node.name = _node_name(node.interface)
        elif node in self._nodes:
            self._nodes.remove(node)


def _node_name(interface: str) -> str:
    return re.sub(r"[.:]", "_", interface)


def _message(node: _Node, command: str, text: str) -> tuple[int, str] | None:
    """A control message to a bpf node: the number of the command and the text of the response, if there is one."""
    if node.kind != "bpf" or command not in _BPF_COMMANDS:
        raise _Refused("Function not implemented")
    try:
        argument = ngmessage.read(text)
        if command == "setprogram":
            _set_program(node, argument)
            return None
    except (ngmessage.BadMessage, bpfvm.BadProgram):
        raise _Refused(_INVALID) from None
    if not isinstance(argument, str):
        raise _Refused(_INVALID)
    hook = node.hooks.get(argument)
    if hook is None:
        raise _Refused(_NO_ENTRY)
    number = _BPF_COMMANDS[command]
    answer = None if command == "clrstats" else _program_of(hook) if command == "getprogram" else _stats_of(hook)
    if command in ("clrstats", "getclrstats"):
        hook.clear()
    return None if answer is None else (number, answer)


_BPF_COMMANDS = {"setprogram": 1, "getprogram": 2, "getstats": 3, "clrstats": 4, "getclrstats": 5}


def _set_program(node: _Node, argument: ngmessage.Value) -> None:
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
        raise _Refused(_NO_ENTRY)
    hook.program, hook.instructions = bpfvm.compile_program(program), program
    hook.match, hook.no_match = match, no_match


def _program_of(hook: _Hook) -> str:
    items: list[ngmessage.Value] = [dict(one._asdict()) for one in hook.instructions]
    fields: dict[str, ngmessage.Value] = {"thisHook": hook.name, "ifMatch": hook.match, "ifNotMatch": hook.no_match}
    return ngmessage.write({**fields, "bpf_prog_len": len(items), "bpf_prog": items})


def _stats_of(hook: _Hook) -> str:
    counts = (("recv", hook.received), ("recvMatch", hook.matched), ("xmit", hook.sent))
    return ngmessage.write(
        {f"{name}{unit}": pair[at] for name, pair in counts for at, unit in enumerate(("Frames", "Octets"))}
    )


class _Ngctl:
    """One run of ngctl."""

    def __init__(self, graph: Netgraph, number: int) -> None:
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
        except _Refused as refusal:
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
            answer = _message(node, words[1], " ".join(words[2:]))
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
        own = _Node(f"ngctl{1000 + self.number}", "socket", self.number)
        self._line(own)

    def _line(self, node: _Node) -> None:
        self.out.append(
            f"  Name: {node.name or '<unnamed>':<15} Type: {node.kind:<15} ID: {node.number:08x}   "
            f"Num hooks: {len(node.hooks)}\n"
        )

    def _show(self, node: _Node) -> None:
        self._line(node)
        self._hooks(node)

    def _hooks(self, node: _Node) -> None:
        if not node.hooks:
            return
        row = "  {:<15} {:<15} {:<12} {:<15} {:<15}\n".format
        self.out.append(row("Local hook", "Peer name", "Peer type", "Peer ID", "Peer hook"))
        self.out.append(row("----------", "---------", "---------", "-------", "---------"))
        for hook in reversed(node.hooks.values()):
            peer = hook.peer.node
            self.out.append(row(hook.name, peer.name or "<unnamed>", peer.kind, f"{peer.number:08x}", hook.peer.name))
