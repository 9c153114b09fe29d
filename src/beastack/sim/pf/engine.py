"""Owns the verdict on a frame: state, fragments, rules, in pf's order (pf_test in pf(4)).

Not simulated: translation (nat, rdr and binat rules load and are listed, packets are not rewritten), answers of
`block return` (the packet is dropped without one), tags beyond one evaluation, states of neighbour discovery.
"""

from collections.abc import Callable, Collection, Mapping

from beastack.sim.pf import packet as packets
from beastack.sim.pf.anchors import Anchor
from beastack.sim.pf.control import Control
from beastack.sim.pf.evaluate import Step, decide, on_interface, program
from beastack.sim.pf.fragments import Fragments
from beastack.sim.pf.model import Result, Rule
from beastack.sim.pf.packet import Packet
from beastack.sim.pf.states import States
from beastack.sim.pf.status import Status

_SYN, _ACK = 0x02, 0x10


def _driver(ifname: str) -> Collection[str]:
    """The group that an interface has from its driver, as far as its name tells."""
    return (ifname.rstrip("0123456789"),)


class Pf:
    """The packet filter of one network stack. `groups` tells an interface's groups."""

    def __init__(self, groups: Callable[[str], Collection[str]] = _driver) -> None:
        self._groups = groups
        self.main = Anchor()
        self.states = States()
        self.status = Status()
        self.fragments = Fragments()
        self.skip: set[str] = set()
        self._programs: dict[tuple[str, str, int], list[Step]] = {}
        self._skipped: dict[str, bool] = {}

    @property
    def enabled(self) -> bool:
        return self.status.enabled

    def interfaces_changed(self) -> None:
        """Interfaces came, went, or are in other groups than before."""
        self._programs.clear()
        self._skipped.clear()

    def changed(self) -> None:
        """Rules, anchors or skipped interfaces are others than before."""
        self.interfaces_changed()
        for number, rule in enumerate(self.main.filters):
            if rule.anchor:
                found = self.main.find(rule.anchor.removesuffix("*"))
                for anchor in found.walk() if found is not None else ():
                    for one in anchor.filters:
                        one.anchor_number = number

    def pfctl(self, argv: list[str], stdin: str, now: float, files: Mapping[str, str] | None = None) -> Result:
        """pfctl(8). `files` holds the text of the files that argv names."""
        self.status.started(now)
        self.states.purge(now)
        return Control(self, argv, stdin, now, files or {}).run()

    def filter(self, ifname: str, direction: str, frame: bytes, now: float) -> bool:
        """Whether an Ethernet frame passes at an interface; what is not IP always does."""
        if not self.status.enabled or frame[12:14] not in (b"\x08\x00", b"\x86\xdd"):
            return True
        skipped = self._skipped.get(ifname)
        if skipped is None:
            skipped = self._skipped[ifname] = any(on_interface(ifname, one, self._groups(ifname)) for one in self.skip)
        if skipped:
            return True
        self.states.purge(now)
        packet = packets.parse(frame)
        if packet is None:
            return self.status.drop("short")
        if packet.frag_id < 0:
            return self._whole(ifname, direction, packet, now)
        if packet.frag_offset:
            return self.fragments.later(ifname, direction, packet, now) or self.status.drop("fragment")
        if packet.frag_offset == 0 and not packet.frag_more:
            return self._whole(ifname, direction, packet, now)
        passed = self._whole(ifname, direction, packet, now)
        until = now + self.states.timeouts["frag"]
        self.fragments.first(ifname, direction, packet, passed, until, self.status.limits["frags"])
        return passed

    def _whole(self, ifname: str, direction: str, packet: Packet, now: float) -> bool:
        inbound = direction == "in"
        if packet.inner is not None:
            state = self._quoted(ifname, inbound, packet, now)
            if state is not None:
                return self._options(packet, state)
        elif packet.stateful:
            found = self.states.find(ifname, packet, inbound, now)
            if found is not None and found.finished and packet.flags & (_SYN | _ACK) == _SYN:
                self.states.remove(found)
                found = None
            if found is not None:
                self.states.seen(found, packet, direction, now)
                return self._options(packet, found.rule)
        return self._rules(ifname, direction, packet, now)

    def _quoted(self, ifname: str, inbound: bool, packet: Packet, now: float) -> Rule | None:
        """The rule of the state that an ICMP error is about; the packet it quotes went the other way."""
        inner = packets.parse_inner(packet.inner or b"", packet.family)
        if inner is None or inner.frag_offset or not inner.stateful:
            return None
        state = self.states.find(ifname, inner, not inbound, now)
        if state is None:
            return None
        state.rule.count("in" if inbound else "out", packet.length, now)
        return state.rule

    def _options(self, packet: Packet, rule: Rule | None) -> bool:
        """IP options pass only where a rule says allow-opts."""
        if packet.badopts and not (rule is not None and rule.allow_opts):
            return self.status.drop("ip-option")
        return True

    def _rules(self, ifname: str, direction: str, packet: Packet, now: float) -> bool:
        where = (ifname, direction, packet.family)
        steps = self._programs.get(where)
        if steps is None:
            steps = self._programs[where] = program(self.main, *where, self._groups(ifname))
        rule = decide(steps, packet)
        self.status.counters["match"] += 1
        if rule is None:
            return self._options(packet, None)
        rule.count(direction, packet.length, now)
        if rule.action == "block":
            return False
        if not self._options(packet, rule):
            return False
        if packet.stateful and rule.state != "no" and self.states.make(packet, rule, ifname, direction, now) is None:
            return self.status.drop("state-limit")
        return True
