"""Owns ng_car nodes: two token buckets a direction, as sys/netgraph/ng_car.c has them, and their messages (ng_car(4)).

What comes in by `lower` is upstream, by `upper` downstream. Three of the four modes are here; shaping, which delays
frames, is refused. Read from the source: no transcript of a real host says how ngctl(8) shows these messages.
"""

from dataclasses import dataclass, field

from beastack.sim import ngmessage

FORWARD, DROP, MARK = 1, 2, 3
SINGLE_RATE, DOUBLE_RATE, RED, SHAPE = 0, 1, 2, 3
COLOR_AWARE, COUNT_PACKETS = 1, 2
COMMANDS = {"getstats": 1, "clrstats": 2, "getclrstats": 3, "getconf": 4, "setconf": 5}
_BYTE = ("greenAction", "yellowAction", "redAction", "mode", "opt")
_WIDE = ("cbs", "ebs", "cir", "pir")
# of packets, in bits and bytes: each counts as 128 bytes
_UNITS = {"cir": 1024, "pir": 1024, "cbs": 128, "ebs": 128}
_MOST = 1_000_000_000
_COUNTERS = ("passed", "dropped", "green", "yellow", "red", "errors")
# getbinuptime(9) moves with the clock's tick, which is 1,000 a second on hardware
_TICKS = 1000


def no_stats() -> dict[str, int]:
    """Counters of a hook that has just been connected."""
    return dict.fromkeys(_COUNTERS, 0)


@dataclass
class Meter:
    """One hook of a car node: what arrives there is measured here. Times are seconds, lengths bytes."""

    conf: dict[str, int] = field(
        default_factory=lambda: {
            "cbs": 8192, "ebs": 8192, "cir": 10240, "pir": 0, "greenAction": FORWARD, "yellowAction": FORWARD,
            "redAction": DROP, "mode": SINGLE_RATE, "opt": 0,
        }
    )  # fmt: skip
    tc: int = 8192
    te: int = 8192
    refilled: float = 0.0
    stats: dict[str, int] = field(default_factory=no_stats)

    def configure(self, conf: dict[str, int]) -> None:
        """setconf fills the buckets, but not RED's second one; the time of the last refill stays."""
        self.conf = conf
        self.tc = conf["cbs"]
        self.te = 0 if conf["mode"] == RED else conf["ebs"]

    def passes(self, length: int, now: float) -> bool:
        """Measure a frame: whether it goes on. A tick is a millisecond."""
        if self.conf["opt"] & COUNT_PACKETS:
            length = 128
        if self.tc < length:
            self._refill(int(now * _TICKS) / _TICKS)
        if self.tc >= length:
            self.tc -= length
            return self._does("green")
        if self.conf["mode"] == RED:
            return self._does(self._red(length))
        if self.te >= length:
            self.te -= length
            return self._does("yellow")
        return self._does("red")

    def _red(self, length: int) -> str:
        """More debt, more likely red: the committed bucket goes below nothing meanwhile."""
        if length - (self.tc - length) <= self.conf["ebs"] and self.te + length - self.tc < self.conf["ebs"]:
            self.te += length - self.tc
            self.tc -= length
            return "yellow"
        self.te = 0
        return "red"

    def _does(self, color: str) -> bool:
        self.stats[color] += 1
        passes = self.conf[f"{color}Action"] in (FORWARD, MARK)
        self.stats["passed" if passes else "dropped"] += 1
        return passes

    def _refill(self, now: float) -> None:
        """Whole bytes only, and what is over is lost: at low rates a flood is held below the rate."""
        delta = int(min(max(now - self.refilled, 0.0), 1000.0) * (1 << 20))
        self.refilled = now
        conf = self.conf
        self.tc += conf["cir"] * delta >> 23
        over = max(self.tc - conf["cbs"], 0)
        self.tc -= over
        if conf["mode"] == DOUBLE_RATE:
            over = conf["pir"] * delta >> 23
        if conf["mode"] != RED:
            self.te = min(self.te + over, conf["ebs"])


class Car:
    """Both directions of one node, made at ``now``."""

    def __init__(self, now: float) -> None:
        self.lower, self.upper = Meter(refilled=now), Meter(refilled=now)

    def meter(self, hook: str) -> Meter:
        """What measures frames that come in by this hook."""
        return self.lower if hook == "lower" else self.upper

    def message(self, command: str, text: str) -> tuple[int, str] | None:
        """A control message: the command's number and the text of its answer. Raises BadMessage for EINVAL."""
        both = {"upstream": self.lower, "downstream": self.upper}
        if command == "setconf":
            self._set(ngmessage.read(text))
            return None
        answer: dict[str, ngmessage.Value] = {}
        for name, meter in both.items():
            shown = _shown(meter.conf) if command == "getconf" else meter.stats
            answer[name] = {field: value for field, value in shown.items() if value}
        if command in ("clrstats", "getclrstats"):
            for meter in both.values():
                meter.stats = no_stats()
        return None if command == "clrstats" else (COMMANDS[command], ngmessage.write(answer))

    def _set(self, argument: ngmessage.Value) -> None:
        if not isinstance(argument, dict) or set(argument) - {"upstream", "downstream"}:
            raise ngmessage.BadMessage("not of upstream and downstream")
        upstream, downstream = (_conf(argument.get(name, {})) for name in ("upstream", "downstream"))
        self.upper.configure(downstream)
        self.lower.configure(upstream)


def _conf(value: ngmessage.Value) -> dict[str, int]:
    """One direction's, in the kernel's units; what is left out is 0."""
    if not isinstance(value, dict) or set(value) - {*_WIDE, *_BYTE}:
        raise ngmessage.BadMessage("unknown field")
    conf = {name: ngmessage.number(value, name) for name in (*_WIDE, *_BYTE)}
    if any(not 0 <= conf[name] < 1 << 64 for name in _WIDE) or any(not 0 <= conf[name] < 256 for name in _BYTE):
        raise ngmessage.BadMessage("a number that is too large")
    if conf["mode"] == SHAPE:
        raise ngmessage.BadMessage("shaping is not simulated")
    if conf["opt"] & COUNT_PACKETS:
        conf |= {name: conf[name] * unit for name, unit in _UNITS.items()}
    if max(conf["cir"], conf["pir"]) > _MOST or not (conf["cbs"] or conf["ebs"]):
        raise ngmessage.BadMessage("a rate or a burst that ng_car does not take")
    return conf


def _shown(conf: dict[str, int]) -> dict[str, int]:
    """As getconf gives it back: packets are packets again."""
    if not conf["opt"] & COUNT_PACKETS:
        return conf
    return {**conf, **{name: conf[name] // unit for name, unit in _UNITS.items()}}
