"""Limits of what a port may send, by ng_car(4): a node ``bsl_<interface>`` behind the port's guard, or alone.

A token bucket: ``cir`` fills it, ``cbs`` is its size, and a frame that finds too little in it is dropped (single rate
without an exceeded burst), as upstream's drivers police what guests send. The other direction of the node forwards
everything; what a bridge sends to a member never comes through ng_ether(4)'s hooks (ng_ether_output_p is called in
ether_output(), if_bridge calls if_transmit), so there is nothing to be limited there.

Read from sys/netgraph/ng_car.c and ng_car.h: a rate of more than 1,000,000,000 bit/s is refused with EINVAL, as is
cbs = ebs = 0. setconf fills the buckets, so it is only sent when something else is in force. A new node limits to
10,240 bit/s: it is configured before it is connected. Time counts in ticks of the clock, bytes in whole ones.

The bucket is filled only when a frame finds too little in it, and then with all that the time since the last filling
brought: who sends nothing for a while gets twice ``cbs`` at once. So ``cbs`` is half of the burst that is allowed.
"""

import re
from dataclasses import asdict, dataclass

from beastack.freebsd import netgraph, ngctl
from beastack.freebsd.errors import CommandFailed, UnexpectedOutput
from beastack.freebsd.host import Host

# kbit/s. Below, a flood loses the fractions of a byte that each tick brings: 64 kbit/s are 8 bytes a millisecond.
MIN_KBPS, MAX_KBPS = 64, 1_000_000
# kbit: as many as neutron's database takes
MAX_BURST_KB = 2**31 - 1
# Of the rate, where no burst is given: as upstream (neutron_lib, qos DEFAULT_BURST_RATE).
DEFAULT_BURST = 0.8
# A bucket (half a burst) holds one frame of the largest usual MTU at least, and what 20 ms bring: the clock of a host
# that is a guest itself ticks 100 times a second.
_LEAST_BUCKET, _LEAST_TIME = 16_384, 0.02
_FORWARD, _DROP = 1, 2
_BOTH = re.compile(r"\{ (?:upstream=\{ ([^{}]*)\} ?)?(?:downstream=\{ ([^{}]*)\} ?)?\}")
_FIELD = re.compile(r"(\w+)=(\d+)")


class BadRate(ValueError):
    """ng_car(4) cannot limit to this; the text says why."""


@dataclass(frozen=True)
class Rate:
    """Of what a guest sends: kbit/s, and kbit at once (0: 80 % of what a second brings)."""

    kbps: int
    burst_kb: int = 0


@dataclass(frozen=True)
class Conf:
    """``struct ng_car_hookconf``: one direction. Bytes, bits a second; names as ngctl(8) has them."""

    cbs: int = 0
    ebs: int = 0
    cir: int = 0
    pir: int = 0
    greenAction: int = 0
    yellowAction: int = 0
    redAction: int = 0
    mode: int = 0
    opt: int = 0


FREE = Conf(cbs=_LEAST_BUCKET, greenAction=_FORWARD, yellowAction=_FORWARD, redAction=_FORWARD)


def node(interface: str) -> str:
    """The name of an interface's limit."""
    return ngctl.LIMIT + interface


def conf(rate: Rate) -> Conf:
    """The direction that is limited. Raises BadRate."""
    if not MIN_KBPS <= rate.kbps <= MAX_KBPS:
        raise BadRate(f"{rate.kbps} kbit/s: ng_car(4) limits from {MIN_KBPS} to {MAX_KBPS}")
    if not 0 <= rate.burst_kb <= MAX_BURST_KB:
        raise BadRate(f"a burst of {rate.burst_kb} kbit")
    burst = (rate.burst_kb or int(rate.kbps * DEFAULT_BURST)) * 125
    cbs = max(burst // 2, _LEAST_BUCKET, int(rate.kbps * 125 * _LEAST_TIME))
    return Conf(cbs=cbs, cir=rate.kbps * 1000, greenAction=_FORWARD, yellowAction=_FORWARD, redAction=_DROP)


def text(upstream: Conf, downstream: Conf) -> str:
    """setconf's argument; fields of 0 are left out, as the kernel does in its answers."""

    def one(side: Conf) -> str:
        return "".join(f"{name}={value} " for name, value in asdict(side).items() if value)

    return f"{{ upstream={{ {one(upstream)}}} downstream={{ {one(downstream)}}} }}"


def read(argv: list[str], said: str) -> tuple[Conf, Conf]:
    """Both directions as getconf says them. Raises UnexpectedOutput."""
    match = _BOTH.fullmatch(said)
    if match is None:
        raise UnexpectedOutput(argv, said, "upstream and downstream")
    return _side(argv, match[1] or ""), _side(argv, match[2] or "")


def _side(argv: list[str], said: str) -> Conf:
    known = set(asdict(FREE))
    found: dict[str, int] = {}
    for word in said.split():
        match = _FIELD.fullmatch(word)
        if match is None or match[1] not in known or match[1] in found:
            raise UnexpectedOutput(argv, said, "fields of ng_car_hookconf")
        found[match[1]] = int(match[2])
    return Conf(**found)


def _in_force(host: Host, interface: str) -> tuple[Conf, Conf]:
    return read(["ngctl", "msg", f"{node(interface)}:", "getconf"], ngctl.ask(host, node(interface), "getconf"))


def set_rate(host: Host, interface: str, rate: Rate) -> None:
    """Limit what comes in from the interface's guest. Does nothing when the limit is in force.

    Raises BadRate, CommandFailed. The interface's guard stays in force; while a limit is put behind it or taken away,
    it drops what the guest sends.
    """
    wanted = conf(rate), FREE
    guard = netgraph.hooks(host, interface)
    before = (interface, "lower") if guard is None else (netgraph.node(interface), "out")
    whole = {"lower": before, "upper": (interface, "upper")}
    found = ngctl.hooks(host, node(interface), "car")
    setconf = f"msg {node(interface)}: setconf {text(*wanted)}"
    if found == whole:
        if _in_force(host, interface) != wanted:
            ngctl.script(host, (setconf,))
        return
    if found is not None:
        ngctl.shutdown(host, f"{node(interface)}:")
    try:
        ngctl.script(host, _steps(interface, guard, setconf))
    except CommandFailed:
        # what was left half-made, under our name or none
        clear_rate(host, interface)
        try:
            ngctl.script(host, _steps(interface, netgraph.hooks(host, interface), setconf))
        except CommandFailed:
            clear_rate(host, interface)
            raise


def _steps(interface: str, guard: dict[str, tuple[str, str]] | None, setconf: str) -> list[str]:
    name, before = node(interface), netgraph.node(interface)
    last = f"connect {name}: {interface}: upper upper"
    if guard is None:
        return [f"mkpeer {interface}: car lower lower", f"name {interface}:lower {name}", setconf, last]
    straight = [f"rmhook {before}: out"] if guard.get("out") == (interface, "upper") else []
    back = f"msg {before}: setprogram {netgraph.way_back()}"
    return [*straight, f"mkpeer {before}: car out lower", f"name {before}:out {name}", setconf, back, last]


def clear_rate(host: Host, interface: str) -> None:
    """Remove the interface's limit; gone is fine. What was left half-made is mended: a guard leads to the bridge."""
    ngctl.shutdown(host, f"{node(interface)}:")
    guard = netgraph.hooks(host, interface)
    name = netgraph.node(interface)
    # a limit that has no name yet
    for left in (f"{interface}:lower", f"{interface}:upper") if guard is None else (f"{name}:out",):
        if ngctl.kind(host, left) == "car":
            ngctl.shutdown(host, left)
    if guard is not None and "in" in guard and guard.get("out") != (interface, "upper"):
        back = f"msg {name}: setprogram {netgraph.way_back()}"
        ngctl.script(host, (f"connect {name}: {interface}: out upper", back))


def list_rates(host: Host) -> dict[str, bool]:
    """Interfaces with a limit, and whether it is whole."""
    return {
        found.name.removeprefix(ngctl.LIMIT): found.hooks == 2
        for found in ngctl.nodes(host)
        if found.kind == "car" and found.name.startswith(ngctl.LIMIT)
    }
