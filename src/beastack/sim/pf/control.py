"""Owns pfctl(8): its options, the order in which it does what they ask, and its words (04-pf)."""

import getopt
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from beastack.sim.pf import listing, tablectl
from beastack.sim.pf.anchors import Anchor, prune
from beastack.sim.pf.hosts import table_member
from beastack.sim.pf.model import Addr, Failure, Result
from beastack.sim.pf.parser import parse
from beastack.sim.pf.states import TIMEOUT_DEFAULTS, State
from beastack.sim.pf.status import LIMITS

if TYPE_CHECKING:
    from beastack.sim.pf.engine import Pf

USAGE = (
    "usage: pfctl [-AdeghMmNnOPqRrvz] [-a anchor] [-D macro=value] [-F modifier]\n"
    "\t[-f file] [-i interface] [-K host | network]\n"
    "\t[-k host | network | gateway | label | id] [-o level] [-p device]\n"
    "\t[-s modifier] [-t table -T command [address ...]] [-x level]\n"
)
_FLUSHABLE = ["nat", "queue", "rules", "Sources", "states", "info", "Tables", "osfp", "all", "ethernet", "Reset"]
NO_DEVICE = "Operation not supported by device"


class Control:
    """One run of pfctl."""

    def __init__(self, pf: "Pf", argv: list[str], stdin: str, now: float, files: Mapping[str, str]) -> None:
        self.pf = pf
        self.argv = argv
        self.stdin = stdin
        self.now = now
        self.files = files
        self.out: list[str] = []
        self.err: list[str] = []
        self.anchor = self.interface = self.table = self.command = ""
        self.file: str | None = None
        self.quiet = self.dry = False
        self.verbose = 0
        self.wildcard = False
        self.kills: list[str] = []

    def say(self, words: str) -> None:
        """What pfctl says on standard error unless -q."""
        if not self.quiet:
            self.err.append(words + "\n")

    def run(self) -> Result:
        try:
            options, rest = getopt.getopt(self.argv, "a:AdD:eqf:F:ghi:k:K:mMnNOo:Pp:rRS:s:t:T:vx:z")
        except getopt.GetoptError as error:
            missing = "requires argument" in error.msg
            words = "option requires an argument" if missing else "illegal option"
            return Result("", f"pfctl: {words} -- {error.opt}\n{USAGE}", 1)
        try:
            rc = self._run(options, rest)
        except Failure as failure:
            self.err.append(f"pfctl: {failure}\n")
            rc = failure.rc
        return Result("".join(self.out), "".join(self.err), rc)

    def _run(self, options: list[tuple[str, str]], rest: list[str]) -> int:
        enable = disable = False
        show = flush = ""
        for option, value in options:
            match option:
                case "-a":
                    self.anchor = value.strip("/")
                case "-d":
                    disable = True
                case "-e":
                    enable = True
                case "-f":
                    self.file = value
                case "-F":
                    flush = self._choose(value, _FLUSHABLE)
                case "-i":
                    self.interface = value
                case "-k":
                    self.kills.append(value)
                case "-n":
                    self.dry = True
                case "-q":
                    self.quiet = True
                case "-s":
                    show = self._choose(value, listing.MODIFIERS)
                case "-t":
                    self.table = value
                case "-T":
                    self.command = self._choose(value, tablectl.COMMANDS)
                case "-v":
                    self.verbose += 1
                case "-m" | "-O" | "-P" | "-r" | "-g" | "-o":
                    pass  # how names and optimization are done: nothing changes here
                case _:
                    raise Failure(f"option {option} is not simulated")
        if not (enable or disable or show or flush or self.kills or self.command or self.file is not None):
            self.err.append(USAGE)
            return 1
        if self.anchor == "*" or self.anchor.endswith("/*"):
            self.wildcard, self.anchor = True, self.anchor[:-1].rstrip("/")
        if self.verbose and not self.dry:
            self.err.append("No ALTQ support in kernel\nALTQ related functions disabled\n")
        return self._act(enable, disable, show, flush, rest)

    def _act(self, enable: bool, disable: bool, show: str, flush: str, rest: list[str]) -> int:
        pf = self.pf
        if disable and not self.dry:
            if not pf.status.switch(False, self.now):
                raise Failure("pf not enabled")
            self.say("pf disabled")
        if show:
            listing.show(self, show)
        if flush and not self.dry:
            self._flush(flush)
        if self.kills and not self.dry:
            self._kill()
        rc = 0
        if self.command:
            rc = tablectl.run(self, rest)
        elif self.file is not None:
            rc = self._load(self.file)
        if enable and not self.dry:
            if not pf.status.switch(True, self.now):
                raise Failure("pf already enabled")
            self.say("pf enabled")
        return rc

    def _choose(self, value: str, known: list[str]) -> str:
        """pfctl takes any beginning of a word; the first that fits."""
        for word in known:
            if value and word.startswith(value):
                return word
        raise Failure(f"Unknown command-line argument '{value}'")

    def text_of(self, name: str) -> str:
        if name == "-":
            return self.stdin
        if name not in self.files:
            raise Failure(f"{name}: No such file or directory")
        return self.files[name]

    def found_anchor(self) -> Anchor | None:
        return self.pf.main.find(self.anchor)

    def _load(self, name: str) -> int:
        label = "stdin" if name == "-" else name
        parsed = parse(self.text_of(name))
        if parsed.errors:
            self.err += [f"{label}:{error.line}: {error.message}\n" for error in parsed.errors]
            if not self.dry:
                self.err.append("pfctl: Syntax error in config file: pf rules not loaded\n")
            return 1
        if self.verbose:
            self.out += [line + "\n" for line in parsed.echo]
            listing.rules_of_file(self, parsed)
        for spec in parsed.tables:
            for other in self.pf.main.walk():
                if not self.dry and spec.name in other.tables and other.path != self.anchor:
                    where = other.path or "/"
                    self.err.append(f'pfctl: warning: table <{spec.name}> already defined in anchor "{where}"\n')
        if self.dry:
            return 0
        pf = self.pf
        anchor = pf.main.ensure(self.anchor)
        anchor.load(parsed, self.now)
        if not self.anchor:
            pf.skip = set(parsed.skip)
            pf.status.reassemble = parsed.reassemble
            pf.status.limits.update(parsed.limits)
            pf.states.limit = pf.status.limits["states"]
            pf.states.timeouts.update(parsed.timeouts)
        self.tidy(anchor)
        return 0

    def tidy(self, *anchors: Anchor) -> None:
        """After a change: remove what is empty, forget what was compiled."""
        for anchor in anchors:
            prune(anchor)
        self.pf.changed()
        if anchors and anchors[0].parent is None:
            for one in reversed(list(self.pf.main.walk())):
                prune(one)

    def _flush(self, what: str) -> None:
        pf = self.pf
        if self.interface and what != "states":
            raise Failure("don't know how to clear that for one interface")
        if what in ("ethernet", "all"):
            self._clear("ethers")
            self.say("Ethernet rules cleared")
        if what in ("rules", "all") and not (self.wildcard and what == "all"):
            self._clear("filters", "scrubs")
            self.say("rules cleared")
        if what in ("nat", "all") and not (self.wildcard and what == "all"):
            self._clear("nats", "rdrs", "binats")
            self.say("nat cleared")
        if what == "all" and self.wildcard:
            self._flush_below()
        elif what in ("Tables", "all"):
            self._flush_tables()
        if what == "all" and not self.anchor and not self.wildcard:
            self.say("rules cleared")
        if (what == "all" and not self.anchor and not self.wildcard) or what == "states":
            interface = self.interface
            count = pf.states.kill(lambda state: interface in ("", state.made_on))
            self.say(f"{count} states cleared")
        if what == "Sources" or (what == "all" and not self.anchor and not self.wildcard):
            self.say("source tracking entries cleared")
        if what == "info" or (what == "all" and not self.anchor and not self.wildcard):
            pf.status.clear(self.now)
            self.say("pf: statistics cleared")
        if what == "all" and not self.anchor and not self.wildcard:
            pf.skip.clear()
            pf.changed()
            self.say("pf: interface flags reset")
        if what == "Reset":
            pf.status.limits = dict(LIMITS)
            pf.states.timeouts = dict(TIMEOUT_DEFAULTS)

    def _clear(self, *kinds: str) -> None:
        anchor = self.found_anchor()
        if anchor is None:
            return
        for one in anchor.walk() if self.wildcard else (anchor,):
            for kind in kinds:
                setattr(one, kind, [])
        self.tidy(anchor)

    def _flush_below(self) -> None:
        """`-a 'x/*' -F all`: says what it removes, but an anchor that has or names a table stays behind (04-pf)."""
        self.say("rules cleared")
        self.say("nat cleared")
        anchor = self.found_anchor()
        if anchor is None:
            raise Failure(NO_DEVICE)
        every = list(anchor.walk())
        self.out += ["Removing:\n", *(f"  {one.path}\n" for one in reversed(every) if one.path)]
        kept = [one for one in every if one.tables or one.referenced_tables()]
        for one in every:
            one.filters, one.nats, one.rdrs, one.binats, one.scrubs = [], [], [], [], []
        for one in reversed(every):
            if one not in kept:
                prune(one)
        for one in kept:
            one.tables.clear()
        self.pf.changed()

    def _flush_tables(self) -> None:
        anchor = self.found_anchor()
        if anchor is None:
            raise Failure(NO_DEVICE)
        count = len(anchor.tables)
        anchor.tables.clear()
        self.say(f"{count} tables deleted.")
        self.tidy(anchor)

    def _kill(self) -> None:
        kinds = {"label": self._kill_label, "id": self._kill_id}
        if self.kills[0] in kinds:
            if len(self.kills) != 2:
                raise Failure(f"no {self.kills[0]} specified")
            count = kinds[self.kills[0]](self.kills[1])
            self.say(f"killed {count} states")
            return
        wanted = [self._network(text) for text in self.kills[:2]]
        match_source = self._in(wanted[0])
        match_target = self._in(wanted[1]) if len(wanted) > 1 else None

        def hit(state: State) -> bool:
            if self.interface and state.made_on != self.interface:
                return False
            # pf_killstates: the addresses on the wire, so a translated connection is found by its outer ones
            ends = state.wire[2:4] if state.direction == "in" else state.wire[3:1:-1]
            return match_source(ends[0]) and (match_target is None or match_target(ends[1]))

        count = self.pf.states.kill(hit)
        self.say(f"killed {count} states from 1 sources and {len(wanted) - 1} destinations")

    def _network(self, text: str) -> Addr:
        found = table_member(text)
        if found is None:
            raise Failure(f"getaddrinfo: {text}: Name does not resolve")
        return found

    @staticmethod
    def _in(addr: Addr) -> Callable[[bytes], bool]:
        width = 32 if addr.af == 4 else 128
        shift = width - addr.prefix

        def test(raw: bytes) -> bool:
            return len(raw) * 8 == width and int.from_bytes(raw, "big") >> shift == addr.low >> shift

        return test

    def _kill_label(self, label: str) -> int:
        return self.pf.states.kill(lambda state: label in state.rule.labels)

    def _kill_id(self, text: str) -> int:
        try:
            number = int(text.partition("/")[0], 16)
        except ValueError:
            raise Failure(f"wrong id format specified: {text}") from None
        return self.pf.states.kill(lambda state: state.number == number)
