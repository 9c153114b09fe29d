"""Owns what pf rules are once read: addresses, ports, filter, translation and ether rules; an answer."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Result(NamedTuple):
    """What a program printed and exited with."""

    out: str = ""
    err: str = ""
    rc: int = 0


class Failure(Exception):
    """Ends pfctl: `pfctl: words`, exit status."""

    def __init__(self, words: str, rc: int = 1) -> None:
        super().__init__(words)
        self.rc = rc


class PfSyntaxError(Exception):
    """A line that pfctl refuses; `line` is counted from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"{line}: {message}")
        self.line = line
        self.message = message


@dataclass(slots=True)
class Addr:
    """One side of a rule. `kind` is any, net, range, table, dyn (an interface's addresses) or no-route."""

    kind: str = "any"
    af: int = 0
    low: int = 0
    prefix: int = 0
    high: int = 0
    name: str = ""
    neg: bool = False


@dataclass(slots=True)
class Port:
    """A port comparison: = != < <= > >= : (inclusive range) >< (inside, exclusive) <> (outside)."""

    op: str
    low: int
    high: int = 0


@dataclass(eq=False, slots=True)
class Rule:
    """One expanded rule of any kind, with its counters."""

    action: str  # pass block match anchor scrub; nat rdr binat nat-anchor rdr-anchor binat-anchor
    blocking: str = "drop"
    direction: str = ""
    quick: bool = False
    log: str = ""
    ifname: str = ""
    ifnot: bool = False
    af: int = 0
    proto: int = 0
    src: Addr = field(default_factory=Addr)
    sport: Port | None = None
    dst: Addr = field(default_factory=Addr)
    dport: Port | None = None
    flags: tuple[int, int] | None = None  # (set, of); (0, 0) is "flags any"
    icmp_type: int = -1
    icmp_code: int = -1
    tos: int = 0
    state: str = ""  # "", keep, modulate, synproxy, no
    if_bound: bool = False
    sloppy: bool = False
    no_sync: bool = False
    max_states: int = 0
    timeouts: dict[str, int] = field(default_factory=dict)
    fragment: bool = False
    allow_opts: bool = False
    labels: tuple[str, ...] = ()
    ridentifier: int = 0
    tag: str = ""
    tagged: str = ""
    tagged_not: bool = False
    translation: str = ""  # nat-to …, rdr-to … in filter rules
    pool: tuple[Addr, ...] = ()  # what is translated to
    pool_port: Port | None = None
    pool_options: tuple[str, ...] = ()
    turn: int = 0  # of the pool's addresses, round robin
    anchor: str = ""
    negated: bool = False  # "no nat"
    nat_pass: bool = False
    target: str = ""
    number: int = 0
    anchor_number: int = -1
    evaluations: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    states_now: int = 0
    states_made: int = 0
    last_active: float | None = None

    def count(self, direction: str, length: int, now: float) -> None:
        if direction == "in":
            self.packets_in += 1
            self.bytes_in += length
        else:
            self.packets_out += 1
            self.bytes_out += length
        self.last_active = now

    def reset(self) -> None:
        self.evaluations = self.packets_in = self.packets_out = self.bytes_in = self.bytes_out = self.states_made = 0


@dataclass(eq=False, slots=True)
class EtherRule:
    """A layer 2 rule. It is only listed: pf's ether rules do not see bridged frames (06-anti-spoofing)."""

    action: str
    direction: str = ""
    quick: bool = False
    ifname: str = ""
    ifnot: bool = False
    proto: int = 0
    src: str = ""
    dst: str = ""
    l3: str = "all"
    tag: str = ""
    anchor: str = ""


@dataclass(slots=True)
class TableSpec:
    """`table <name> …` in a file. `members` is None when the line gives no list: what is in the table stays."""

    name: str
    persist: bool = False
    const: bool = False
    counters: bool = False
    members: list[Addr] | None = None
    text: str = ""


@dataclass(slots=True)
class Parsed:
    """A whole file."""

    filters: list[Rule] = field(default_factory=list)
    nats: list[Rule] = field(default_factory=list)
    rdrs: list[Rule] = field(default_factory=list)
    binats: list[Rule] = field(default_factory=list)
    scrubs: list[Rule] = field(default_factory=list)
    ethers: list[EtherRule] = field(default_factory=list)
    tables: list[TableSpec] = field(default_factory=list)
    skip: list[str] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    timeouts: dict[str, int] = field(default_factory=dict)
    optimize: bool = True
    reassemble: bool = False
    echo: list[str] = field(default_factory=list)  # what -v prints while reading: options and tables
    errors: list[PfSyntaxError] = field(default_factory=list)
