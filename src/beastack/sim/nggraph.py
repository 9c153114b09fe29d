"""Owns the nodes and hooks of one network stack's netgraph: ng_ether nodes, ng_bpf guards and ng_car limits.

A frame of the bpf node is judged by the program of the hook it arrives on; `ifMatch` or `ifNotMatch` names the hook it
leaves by, "" drops it; a hook without a program drops everything. What an ether node's `lower` hook takes away reaches
the host only when it comes back in by the same node's `upper` hook, and the other way round. A car node passes what
comes in by one of its two hooks to the other, or drops it (ngcar). See ng_ether(4), ng_bpf(4), ng_car(4).
"""

import re
import time
from collections.abc import Callable

from beastack.sim import bpfvm, ngcar
from beastack.sim.bpfvm import Instruction


class Refused(Exception):
    """The kernel's answer to a message."""


NO_ENTRY = "No such file or directory"
_EXISTS = "File exists"
INVALID = "Invalid argument"
# a chain that comes back to where it was would never end
_LONGEST = 1024
DROP_ALL = [Instruction(6)]
_CAR_HOOKS = ("lower", "upper")


class Hook:
    """One end of an edge; of a bpf node also the program and its counters."""

    def __init__(self, node: "Node", name: str) -> None:
        self.node = node
        self.name = name
        self.peer: Hook = self
        self.match = self.no_match = ""
        self.instructions = DROP_ALL
        self.program = bpfvm.compile_program(DROP_ALL)
        self.clear()

    def clear(self) -> None:
        self.received = [0, 0]
        self.matched = [0, 0]
        self.sent = [0, 0]

    def deliver(self, frame: bytes, now: Callable[[], float]) -> "Hook | None":
        """The far end a frame reaches that arrived here, at a bpf or car node; None when it is dropped."""
        if self.node.car is not None:
            other = self.node.hooks.get("upper" if self.name == "lower" else "lower")
            meter = self.node.car.meter(self.name)
            if not meter.passes(len(frame), now()):
                return None
            if other is None:
                meter.stats["errors"] += 1
            return other.peer if other is not None else None
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


class Node:
    def __init__(self, name: str, kind: str, number: int, interface: str = "", now: float = 0.0) -> None:
        self.name = name
        self.kind = kind
        self.number = number
        self.interface = interface
        self.hooks: dict[str, Hook] = {}
        self.car = ngcar.Car(now) if kind == "car" else None

    def accepts(self, hook: str) -> None:
        if hook in self.hooks:
            raise Refused(_EXISTS)
        if self.kind == "car" and hook not in _CAR_HOOKS:
            raise Refused(INVALID)
        if not 0 < len(hook) < 32 or (self.kind == "ether" and hook not in ("lower", "upper", "orphans")):
            raise Refused(INVALID)


class Graph:
    """`interfaces` names the Ethernet interfaces there are now; each has an ether node of the same name."""

    def __init__(self, interfaces: Callable[[], list[str]], clock: Callable[[], float] = time.monotonic) -> None:
        self._interfaces = interfaces
        self.clock = clock
        self._nodes: list[Node] = []
        self._ethers: dict[str, Node] = {}
        self._last = 0
        self._cars = 0

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
        far: Hook | None = hook.peer
        for _ in range(_LONGEST):  # a chain of nodes, or of one node's hooks
            if far is None or far.node.kind == "ether":
                break
            far = far.deliver(frame, self.clock)
        return far is not None and far.node is ether and far.name == wanted

    def measures(self, ifname: str) -> bool:
        """Whether there is a node in this stack that counts a frame's length: large segments are cut first."""
        ether = self._ethers.get(ifname)
        return self._cars > 0 and ether is not None and bool(ether.hooks)

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

    def refresh(self) -> None:
        names = self._interfaces()
        for gone in set(self._ethers) - set(names):
            self.interface_gone(gone)
        for name in names:
            if name not in self._ethers:
                self._ethers[name] = self._new(_node_name(name), "ether", name)

    def _new(self, name: str, kind: str, interface: str = "") -> Node:
        self._last += 1
        node = Node(name, kind, self._last, interface, self.clock())
        self._nodes.append(node)
        self._cars += node.car is not None
        return node

    def _gone(self, node: Node) -> None:
        if node in self._nodes:
            self._nodes.remove(node)
            self._cars -= node.car is not None

    def nodes(self) -> list[Node]:
        return self._nodes

    def next_number(self) -> int:
        self._last += 1
        return self._last

    def find(self, path: str) -> Node:
        """`name:`, `[id]:` and `name:hook.hook`."""
        name, colon, hooks = path.partition(":")
        if not colon:
            raise Refused(NO_ENTRY)
        identity = re.fullmatch(r"\[([0-9a-fA-F]+)\]", name)
        for node in self._nodes:
            if (identity and node.number == int(identity[1], 16)) or (name and node.name == name):
                break
        else:
            raise Refused(NO_ENTRY)
        for hook in hooks.split(".") if hooks else ():
            if hook not in node.hooks:
                raise Refused(NO_ENTRY)
            node = node.hooks[hook].peer.node
        return node

    def mkpeer(self, path: str, kind: str, hook: str, peer_hook: str) -> None:
        node = self.find(path)
        if kind not in ("bpf", "car"):
            raise Refused("Device not configured" if kind != "ether" else INVALID)
        node.accepts(hook)
        Node("", kind, 0).accepts(peer_hook)
        self._join(node, hook, self._new("", kind), peer_hook)

    def connect(self, path: str, other: str, hook: str, peer_hook: str) -> None:
        node = self.find(path)
        peer = self.find(other if ":" in other else path.rstrip(":") + ":" + other)
        node.accepts(hook)
        peer.accepts(peer_hook)
        if node is peer and hook == peer_hook:
            raise Refused(_EXISTS)
        self._join(node, hook, peer, peer_hook)

    @staticmethod
    def _join(node: Node, hook: str, peer: Node, peer_hook: str) -> None:
        one, two = Hook(node, hook), Hook(peer, peer_hook)
        for end in (one, two):
            if end.node.car is not None:
                end.node.car.meter(end.name).stats = ngcar.no_stats()
        one.peer, two.peer = two, one
        node.hooks[hook], peer.hooks[peer_hook] = one, two

    def name(self, path: str, name: str) -> None:
        node = self.find(path)
        if not re.fullmatch(r"[^.:\[\]\s]{1,31}", name):
            raise Refused(INVALID)
        if any(one.name == name for one in self._nodes):
            raise Refused("Address already in use")
        node.name = name

    def rmhook(self, path: str, hook: str) -> None:
        node = self.find(path)
        if hook not in node.hooks:
            raise Refused(NO_ENTRY)
        self._disconnect(node.hooks[hook])

    def _disconnect(self, hook: Hook) -> None:
        for end in (hook, hook.peer):
            end.node.hooks.pop(end.name, None)
            if end.node.kind != "ether" and not end.node.hooks:
                self._gone(end.node)

    def _disconnect_all(self, node: Node) -> None:
        for hook in list(node.hooks.values()):
            if node.hooks.get(hook.name) is hook:
                self._disconnect(hook)

    def shutdown(self, path: str) -> None:
        """Other nodes go; an ether node loses its hooks and stays, with its own name."""
        node = self.find(path)
        self._disconnect_all(node)
        if node.kind == "ether":
            node.name = _node_name(node.interface)
        else:
            self._gone(node)


def _node_name(interface: str) -> str:
    return re.sub(r"[.:]", "_", interface)
