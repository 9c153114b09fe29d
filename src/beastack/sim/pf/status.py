"""Owns pf's switch, counters and limits, and `pfctl -s info`, `-s memory`."""

from beastack.sim.pf.states import States

_COUNTERS = (
    "match", "bad-offset", "fragment", "short", "normalize", "memory", "bad-timestamp", "congestion", "ip-option",
    "proto-cksum", "state-mismatch", "state-insert", "state-limit", "src-limit", "synproxy", "map-failed", "translate",
)  # fmt: skip
LIMITS = {
    "states": 100000, "src-nodes": 10000, "frags": 5000, "table-entries": 200000, "anchors": 0, "eth-anchors": 0,
}  # fmt: skip


class Status:
    def __init__(self) -> None:
        self.enabled = False
        self.reassemble = False
        self.since: float | None = None
        self.counters = dict.fromkeys(_COUNTERS, 0)
        self.limits = dict(LIMITS)

    def started(self, now: float) -> None:
        """pf counts from the loading of its module; here, from the first question."""
        if self.since is None:
            self.since = now

    def switch(self, on: bool, now: float) -> bool:
        """False when it is already so."""
        if self.enabled == on:
            return False
        self.enabled = on
        self.since = now
        return True

    def drop(self, reason: str) -> bool:
        """Count a reason; always False, the verdict."""
        self.counters[reason] += 1
        return False

    def clear(self, now: float) -> None:
        self.counters = dict.fromkeys(_COUNTERS, 0)
        self.since = now

    def info(self, states: States, now: float) -> str:
        seconds = max(0, int(now - (self.since or now)))
        spent = f"{seconds // 86400} days {seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        line = f"Status: {'Enabled' if self.enabled else 'Disabled'} for {spent}"
        text = f"{line:<44}{'Debug: Urgent':>15}\n\n{'State Table':<27} {'Total':>14} {'Rate':>16}\n"
        text += f"  {'current entries':<25} {len(states):>14} {'':>14}\n"

        def rate(name: str, value: int) -> str:
            per = f"{value / seconds:>14.1f}/s" if seconds else f"{'':>14}"
            return f"  {name:<25} {value:>14} {per}\n"

        for name, value in (("searches", states.searches), ("inserts", states.inserts), ("removals", states.removals)):
            text += rate(name, value)
        return text + "Counters\n" + "".join(rate(name, value) for name, value in self.counters.items())

    def memory(self) -> str:
        return "".join(f"{name:<13} hard limit {value:>8}\n" for name, value in self.limits.items())


def timeouts(values: dict[str, int]) -> str:
    """`pfctl -s timeouts`."""
    return "".join(
        f"{name:<20} {value:>10}{' states' if name.startswith('adaptive') else 's'}\n" for name, value in values.items()
    )
