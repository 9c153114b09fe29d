"""Owns the verdict on a frame: state, fragments, rules, in pf's order (pf_test in pf(4)).

Not simulated: that IPv6 fragments which pf put together leave a bridge through the host's own stack (pf_refragment6),
tags beyond one evaluation, states of neighbour discovery, TCP sequence numbers.
"""

import random
from collections.abc import Callable, Collection, Mapping

from beastack.sim.pf import packet as packets
from beastack.sim.pf.anchors import Anchor
from beastack.sim.pf.answers import Answer, answer
from beastack.sim.pf.control import Control
from beastack.sim.pf.evaluate import Step, decide, on_interface, program
from beastack.sim.pf.fragments import Fragments
from beastack.sim.pf.model import Result, Rule
from beastack.sim.pf.packet import Packet
from beastack.sim.pf.rewrite import Change, Flow, flow_of, write
from beastack.sim.pf.scrub import puts_together
from beastack.sim.pf.states import State, States
from beastack.sim.pf.status import Status
from beastack.sim.pf.translate import Addresses, Candidate, Translator, candidates

_SYN, _ACK = 0x02, 0x10


def _driver(ifname: str) -> Collection[str]:
    """The group that an interface has from its driver, as far as its name tells."""
    return (ifname.rstrip("0123456789"),)


class Pf:
    """The packet filter of one network stack.

    `groups` and `addresses` tell an interface's groups and own addresses; `reply` sends what `block return` says.
    """

    def __init__(
        self,
        groups: Callable[[str], Collection[str]] = _driver,
        addresses: Addresses = lambda _ifname: (),
        reply: Callable[[Answer], None] = lambda _answer: None,
    ) -> None:
        self._groups = groups
        self.reply = reply
        self.main = Anchor()
        self.main.addresses = addresses
        self._translator = Translator(self.main, random.Random())  # noqa: S311 - which port is no secret here
        self._candidates: dict[tuple[str, str, int], tuple[Candidate, ...]] = {}
        self._default = Rule("pass", state="keep")
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
        self._candidates.clear()
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
        return self.judge(ifname, direction, frame, now) is not None

    def judge(self, ifname: str, direction: str, frame: bytes, now: float, partial: bool = False) -> bytes | None:
        """The frame as it goes on, translated where a rule or a state says so; None when it is blocked.

        `partial`: its transport checksum is still to be completed, as virtio's NEEDS_CSUM says.
        """
        if not self.status.enabled or frame[12:14] not in (b"\x08\x00", b"\x86\xdd"):
            return frame
        skipped = self._skipped.get(ifname)
        if skipped is None:
            skipped = self._skipped[ifname] = any(on_interface(ifname, one, self._groups(ifname)) for one in self.skip)
        if skipped:
            return frame
        self.states.purge(now)
        packet = packets.parse(frame)
        if packet is None:
            self.status.drop("short")
            return None
        inner = None
        if packet.frag_id >= 0 and not self._together(ifname, direction, packet.family):
            packet.piece, packet.stateful = True, False
            passed, change = self._rules(ifname, direction, packet, frame, now)
            if not passed:
                return None
        elif packet.frag_offset:
            passed, change = self.fragments.later(ifname, direction, packet, now)
            if not passed:
                self.status.drop("fragment")
                return None
        else:
            if packet.inner is not None:
                inner = packets.parse_inner(packet.inner, packet.family)
            came = flow_of(packet)
            passed, change = self._whole(ifname, direction, packet, inner, frame, now)
            if packet.frag_more:
                packet.src, packet.dst = came.src, came.dst
                until = now + self.states.timeouts["frag"]
                limit = self.status.limits["frags"]
                self.fragments.first(ifname, direction, packet, passed, until, limit, change)
            if not passed:
                return None
            if change is not None:
                packet.src, packet.sport, packet.dst, packet.dport = came
        if change is None:
            return frame
        self.status.counters["translate"] += 1
        return write(frame, packet, inner, change, partial)

    def _together(self, ifname: str, direction: str, family: int) -> bool:
        asked = self.status.reassemble
        return puts_together(self.main.scrubs, ifname, direction, family, self._groups(ifname), asked)

    def _whole(
        self, ifname: str, direction: str, packet: Packet, inner: Packet | None, frame: bytes, now: float
    ) -> tuple[bool, Change | None]:
        inbound = direction == "in"
        if packet.inner is not None:
            state = self._quoted(ifname, inbound, packet, inner, now)
            if state is not None and inner is not None:
                return self._options(packet, state.rule), _quoted_change(state, inbound, packet, inner)
        elif packet.stateful:
            found = self.states.find(ifname, packet, inbound, now)
            if found is not None and found.finished and packet.flags & (_SYN | _ACK) == _SYN:
                self.states.remove(found)
                found = None
            if found is not None:
                self.states.seen(found, packet, direction, now)
                return self._options(packet, found.rule), _change(found, inbound)
        return self._rules(ifname, direction, packet, frame, now)

    def _quoted(self, ifname: str, inbound: bool, packet: Packet, inner: Packet | None, now: float) -> State | None:
        """The state that an ICMP error is about; the packet it quotes went the other way."""
        if inner is None or inner.frag_offset or not inner.stateful:
            return None
        state = self.states.find(ifname, inner, inbound, now, quoted=True)
        if state is not None:
            state.rule.count("in" if inbound else "out", packet.length, now)
        return state

    def _options(self, packet: Packet, rule: Rule | None) -> bool:
        """IP options pass only where a rule says allow-opts."""
        if packet.badopts and not (rule is not None and rule.allow_opts):
            return self.status.drop("ip-option")
        return True

    def _rules(
        self, ifname: str, direction: str, packet: Packet, frame: bytes, now: float
    ) -> tuple[bool, Change | None]:
        """Translation first, so that filter rules see the new ends; then those, unless `pass` spares them."""
        where = (ifname, direction, packet.family)
        steps = self._programs.get(where)
        if steps is None:
            steps = self._programs[where] = program(self.main, *where, self._groups(ifname))
            self._candidates[where] = candidates(self.main, *where, self._groups(ifname))
        came, translator = flow_of(packet), None
        among = self._candidates[where]
        candidate = self._translator.find(among, packet) if among and packet.stateful else None
        if candidate is not None:
            translator = candidate.rule
            kind = translator.action
            if not self._translate(translator, packet, kind, candidate.reverse, ifname):
                return self.status.drop("map-failed"), None
        if translator is not None and translator.nat_pass:
            rule: Rule | None = translator
        else:
            rule = decide(steps, packet)
            self.status.counters["match"] += 1
        if rule is None:
            # pf's own default rule passes without a state; a translation lives in a state only
            if translator is None:
                return self._options(packet, None), None
            rule = self._default
        rule.count(direction, packet.length, now)
        if rule.action == "block":
            if rule.blocking != "drop":
                packet.src, packet.sport, packet.dst, packet.dport = came
                said = answer(rule.blocking, packet, frame)
                if said is not None:
                    self.reply(said)
            return False, None
        if not self._options(packet, rule):
            return False, None
        if translator is None:
            asked = rule if rule.pool and rule.action == "pass" else packet.translation
            if asked is not None and asked.translation.startswith("nat-to" if direction == "out" else "rdr-to"):
                translator = asked
                if not self._translate(asked, packet, asked.translation[:3], False, ifname):
                    return self.status.drop("map-failed"), None
        stateful = packet.stateful and (rule.state != "no" or translator is not None)
        if stateful:
            state = self.states.make(packet, rule, ifname, direction, now, came)
            if isinstance(state, str):
                return self.status.drop(state), None
            state.translator = translator
            if translator is not None and translator is not rule:
                translator.count(direction, packet.length, now)
        after = flow_of(packet)
        return True, None if after == came else Change(after)

    def _translate(self, rule: Rule, packet: Packet, kind: str, reverse: bool, ifname: str) -> bool:
        """Give the packet its new ends; False when there are none left."""
        new = self._translator.apply(
            rule, packet, kind, reverse, lambda flow: self.states.taken(ifname, packet.proto, flow)
        )
        if new is None:
            return False
        packet.src, packet.sport, packet.dst, packet.dport = new
        return True


def _change(state: State, inbound: bool) -> Change | None:
    """What a packet of this state is to become: coming in as in the stack, going out as on the wire."""
    if state.wire == state.stack:
        return None
    key = state.stack if inbound else state.wire
    _bound, _proto, one, two, one_port, two_port = key
    return Change(Flow(one, one_port, two, two_port) if inbound else Flow(two, two_port, one, one_port))


def _quoted_change(state: State, inbound: bool, packet: Packet, inner: Packet) -> Change | None:
    """An ICMP error about a translated packet: what it quotes goes back to what its sender knows, and so does its
    destination; its source stays, it speaks for itself."""
    if state.wire == state.stack:
        return None
    _bound, _proto, one, two, one_port, two_port = state.stack if inbound else state.wire
    quoted = Flow(two, two_port, one, one_port) if inbound else Flow(one, one_port, two, two_port)
    target = quoted.src if quoted.src != inner.src else packet.dst
    return Change(Flow(packet.src, packet.sport, target, packet.dport), quoted)
