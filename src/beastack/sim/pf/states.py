"""Owns the state table: keys, life of a state by protocol, time limits, and the lines of `pfctl -s states`.

A state made by a packet from A to B coming in has the key (A, B): it matches A to B coming in and B to A going out, on
its own interface when it is if-bound, on any when it is floating. One made going out has the key (B, A). That is pf's
own scheme, and why a floating state lets one guest speak for another (05-security-groups). TCP is followed by its flags
alone, as pf does for `sloppy`: sequence numbers are not checked. A translated connection has two keys: what comes in is
looked for as it is on the wire, what goes out as it is in the stack.
"""

from collections.abc import Callable, Iterator

from beastack.sim.pf import names, render
from beastack.sim.pf.model import Rule
from beastack.sim.pf.packet import Packet
from beastack.sim.pf.rewrite import Flow, flow_of

Key = tuple[str, int, bytes, bytes, int, int]


def key_of(bound: str, proto: int, flow: Flow, inbound: bool) -> Key:
    """A packet's key: of a packet coming in its source comes first, of one going out its destination."""
    if inbound:
        return (bound, proto, flow.src, flow.dst, flow.sport, flow.dport)
    return (bound, proto, flow.dst, flow.src, flow.dport, flow.sport)


TIMEOUT_DEFAULTS = {
    "tcp.first": 120, "tcp.opening": 30, "tcp.established": 86400, "tcp.closing": 900, "tcp.finwait": 45,
    "tcp.closed": 90, "tcp.tsdiff": 30, "sctp.first": 120, "sctp.opening": 30, "sctp.established": 86400,
    "sctp.closing": 900, "sctp.closed": 90, "udp.first": 60, "udp.single": 30, "udp.multiple": 60, "icmp.first": 20,
    "icmp.error": 10, "other.first": 60, "other.single": 30, "other.multiple": 60, "frag": 60, "interval": 10,
    "adaptive.start": 60000, "adaptive.end": 120000, "src.track": 0,
}  # fmt: skip
_TCP_NAMES = (
    "CLOSED", "LISTEN", "SYN_SENT", "SYN_RCVD", "ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT_1", "CLOSING", "LAST_ACK",
    "FIN_WAIT_2", "TIME_WAIT",
)  # fmt: skip
_SYN_SENT, _ESTABLISHED, _CLOSING, _FIN_WAIT_2, _TIME_WAIT = 2, 4, 7, 9, 10
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_OTHER_NAMES = ("NO_TRAFFIC", "SINGLE", "MULTIPLE")


class State:
    """One connection seen from the interface and direction it was made on."""

    __slots__ = (
        "anchor",
        "bytes",
        "created",
        "direction",
        "expires",
        "ifname",
        "made_on",
        "number",
        "packet",
        "packets",
        "peers",
        "rule",
        "stack",
        "timeout",
        "translator",
        "wire",
    )  # fmt: skip

    def __init__(
        self, wire: Key, stack: Key, packet: Packet, rule: Rule, ifname: str, direction: str, now: float
    ) -> None:
        self.wire = wire
        self.stack = stack
        self.translator: Rule | None = None
        self.ifname = wire[0]
        self.made_on = ifname
        self.direction = direction
        self.rule = rule
        self.packet = packet
        self.created = now
        self.expires = now
        self.packets = [0, 0]
        self.bytes = [0, 0]
        self.peers = [0, 0]  # of the one that began, of the other
        self.number = 0
        self.timeout = _family_of(packet.proto) + ".first"
        if packet.proto == 6:
            self.peers[0] = _SYN_SENT
        elif packet.proto not in (1, 58):
            self.peers[0] = 1

    def advance(self, packet: Packet, side: int) -> str:
        """What a packet from `side` (0: the one that began) does to the state; the name of its time limit."""
        peers, proto = self.peers, self.packet.proto
        if proto == 6:
            return self._tcp(packet.flags, side)
        if proto in (1, 58):
            return "icmp.error"
        peers[side] = max(peers[side], 1)
        if peers[1 - side] == 1:
            peers[1 - side] = 2
        return _family_of(proto) + (".multiple" if peers == [2, 2] else ".single")

    def _tcp(self, flags: int, side: int) -> str:
        peers, other = self.peers, 1 - side
        if flags & _SYN and peers[side] < _SYN_SENT:
            peers[side] = _SYN_SENT
        if flags & _FIN and peers[side] < _CLOSING:
            peers[side] = _CLOSING
        if flags & _ACK:
            if peers[other] == _SYN_SENT:
                peers[other] = _ESTABLISHED
            elif peers[other] == _CLOSING:
                peers[other] = _FIN_WAIT_2
        if flags & _RST:
            peers[:] = [_TIME_WAIT, _TIME_WAIT]
        low, high = min(peers), max(peers)
        if low >= _FIN_WAIT_2:
            return "tcp.closed"
        if low >= _CLOSING:
            return "tcp.finwait"
        if low < _ESTABLISHED:
            return "tcp.opening"
        return "tcp.closing" if high >= _CLOSING else "tcp.established"

    @property
    def finished(self) -> bool:
        return self.packet.proto == 6 and min(self.peers) >= _FIN_WAIT_2

    def line(self, now: float, verbose: int) -> str:
        """This state in `pfctl -s states`."""
        packet = self.packet
        first, second = self.peers
        outgoing = self.direction == "out"
        new, old = (self.wire, self.stack) if outgoing else (self.stack, self.wire)
        ends = []
        for address, port in ((3, 5), (2, 4)):
            told, before = _host(new[address], new[port]), _host(old[address], old[port])  # type: ignore[arg-type]
            ends.append(told if told == before else f"{told} ({before})")
        if not outgoing:
            first, second = second, first
        arrow = "->" if outgoing else "<-"
        text = f"{self.ifname} {names.protocol_name(packet.proto)} {ends[0]} {arrow} {ends[1]}"
        if packet.proto in (1, 58):
            levels = "0:0"
        else:
            levels_of = _TCP_NAMES if packet.proto == 6 else _OTHER_NAMES
            levels = f"{levels_of[first]}:{levels_of[second]}"
        text += f"       {levels}\n"
        if verbose:
            if packet.proto == 6:
                text += "   [0 + 0]  [0 + 0]\n"
            text += (
                f"   age {_clock(now - self.created)}, expires in {_clock(self.expires - now)}, "
                f"{self.packets[0]}:{self.packets[1]} pkts, {self.bytes[0]}:{self.bytes[1]} bytes"
            )
            if self.rule.anchor_number >= 0:
                text += f", anchor {self.rule.anchor_number}"
            text += f", rule {self.rule.number}\n"
        if verbose > 1:
            text += f"   id: {self.number:016x} creatorid: 00000001\n"
            if self.ifname != self.made_on:
                text += f"   origif: {self.made_on}\n"
        return text


def _family_of(proto: int) -> str:
    return {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp"}.get(proto, "other")


def _host(address: bytes, port: int) -> str:
    text = render.ip_bytes(address)
    if not port:
        return text
    return f"{text}:{port}" if len(address) == 4 else f"{text}[{port}]"


def _clock(seconds: float) -> str:
    whole = max(0, int(seconds))
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


class States:
    """All states, found by key."""

    def __init__(self) -> None:
        self._wire: dict[Key, State] = {}
        self._stack: dict[Key, State] = {}
        self.timeouts = dict(TIMEOUT_DEFAULTS)
        self.limit = 100000
        self.searches = self.inserts = self.removals = 0
        self._made = 0
        self._next_purge = 0.0

    def __len__(self) -> int:
        return len(self._wire)

    def __iter__(self) -> Iterator[State]:
        return iter(list(self._wire.values()))

    def find(self, ifname: str, packet: Packet, inbound: bool, now: float, quoted: bool = False) -> State | None:
        """The state a packet belongs to, or, when an ICMP error that comes this way quotes it, belonged to."""
        self.searches += 1
        flow, among = flow_of(packet), self._wire if inbound else self._stack
        for bound in (ifname, "all"):
            # what is quoted went the other way
            state = among.get(key_of(bound, packet.proto, flow, inbound != quoted))
            if state is not None:
                if state.expires > now:
                    return state
                self.remove(state)
        return None

    def seen(self, state: State, packet: Packet, direction: str, now: float) -> None:
        """Count a packet of a state and set its new time limit."""
        side = 0 if direction == state.direction else 1
        state.packets[side] += 1
        state.bytes[side] += packet.length
        state.timeout = state.advance(packet, side)
        state.expires = now + self._seconds(state)
        state.rule.count(direction, packet.length, now)

    def _seconds(self, state: State) -> float:
        return state.rule.timeouts.get(state.timeout, self.timeouts[state.timeout])

    def taken(self, ifname: str, proto: int, flow: Flow) -> bool:
        """Whether answers to a packet that leaves with these ends would belong to a state there is."""
        return any(key_of(bound, proto, flow, False) in self._wire for bound in (ifname, "all"))

    def make(
        self, packet: Packet, rule: Rule, ifname: str, direction: str, now: float, came: Flow | None = None
    ) -> State | str:
        """A new state, or why there is none: a limit, or a live state with the same ends, which only a translation can
        bring about. `came`: the packet's ends before they were translated.
        """
        if len(self._wire) >= self.limit or (rule.max_states and rule.states_now >= rule.max_states):
            return "state-limit"
        inbound, after = direction == "in", flow_of(packet)
        bound = ifname if rule.if_bound else "all"
        keys = [key_of(bound, packet.proto, flow, inbound) for flow in (came or after, after)]
        wire, stack = keys if inbound else keys[::-1]
        for old in (self._wire.get(wire), self._stack.get(stack)):
            if old is None or self._wire.get(old.wire) is not old:
                continue
            if old.expires > now and not old.finished:
                return "state-insert"
            self.remove(old)
        state = State(wire, stack, packet, rule, ifname, direction, now)
        packet.inner = None
        state.packets[0], state.bytes[0] = 1, packet.length
        state.expires = now + self._seconds(state)
        self._made += 1
        state.number = self._made
        self._wire[wire] = self._stack[stack] = state
        rule.states_now += 1
        rule.states_made += 1
        self.inserts += 1
        return state

    def remove(self, state: State) -> None:
        del self._wire[state.wire], self._stack[state.stack]
        state.rule.states_now -= 1
        self.removals += 1

    def purge(self, now: float) -> None:
        """Remove what has expired, at most once in `interval` seconds."""
        if now >= self._next_purge or now < self._next_purge - 2 * self.timeouts["interval"]:
            self._next_purge = now + self.timeouts["interval"]
            self.kill(lambda state: state.expires <= now)

    def kill(self, wanted: Callable[[State], bool]) -> int:
        gone = [state for state in self._wire.values() if wanted(state)]
        for state in gone:
            self.remove(state)
        return len(gone)
