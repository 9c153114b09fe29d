"""What one operation of the host layer costs: commands that it runs, and time, on a simulated or a real host.

    .venv/bin/python -m bench.hostlayer [--host sim:|local:|ssh://root@HOST:PORT?identity=FILE] [--rounds 10]

Every command is counted as it passes; time is the median of the rounds. What is made is removed again. Root.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.host import snapshot
from tests.host.lab import Lab, clear_filters, sweep
from tests.host.restore import restore
from tests.host.targets import open_target

from beastack.freebsd import ifnet, netgraph, pf, pf_host
from beastack.freebsd.bpf_guard import guard
from beastack.freebsd.host import DEFAULT_LIMIT, Completed, Host, JailHost
from beastack.freebsd.pf_rules import TCP, Rule

from .machine import described, table

MAC, ADDRESS = "fa:16:3e:00:00:01", "10.5.0.1"


@dataclass
class Counting:
    """A host that counts what it is asked to run."""

    host: Host
    ran: int = 0

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = DEFAULT_LIMIT, check: bool = True
    ) -> Completed:
        self.ran += 1
        return self.host.run(argv, input=input, timeout=timeout, check=check)

    def jail(self, name: str) -> JailHost:
        return JailHost(self, name)


@dataclass
class Costs:
    """Operation -> seconds of every round, and commands of the last."""

    host: Counting
    seconds: dict[str, list[float]] = field(default_factory=dict)
    commands: dict[str, int] = field(default_factory=dict)

    def time(self, name: str, action: Callable[[], object]) -> None:
        self.host.ran = 0
        began = time.perf_counter()
        action()
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
        self.commands[name] = self.host.ran

    def rows(self) -> list[list[str]]:
        return [
            [name, str(self.commands[name]), f"{statistics.median(taken) * 1000:.0f}", f"{max(taken) * 1000:.0f}"]
            for name, taken in self.seconds.items()
        ]


def rules(count: int) -> list[Rule]:
    return [Rule("pass", f"r{n}", "out", 4, TCP, f"10.{n}.0.0/16", stateful=True) for n in range(count)]


def one_round(costs: Costs, number: int) -> None:
    """A port's life, step by step, as agent, DHCP driver and firewall take it."""
    host, members = costs.host, [f"10.9.{n // 250}.{n % 250}" for n in range(1000)]
    lab = Lab(host, "/tmp")  # noqa: S108 - nothing is put there
    try:
        bridge, inside = lab.bridge(), lab.jail("bench")
        lab.later(lambda: clear_filters(host))
        lab.later(lambda: ifnet.destroy(host, "bsctap1"))
        costs.time("nothing: one `true`", lambda: host.run(["true"]))
        costs.time("create a guest's port (tap)", lambda: ifnet.ensure_tap(host, "bsctap1", "beastack:port:x", 1500))
        costs.time("the same again: nothing to do", lambda: ifnet.ensure_tap(host, "bsctap1", "beastack:port:x", 1500))
        costs.time("put it into its bridge", lambda: ifnet.attach_member(host, bridge, "bsctap1"))
        found: list[str | None] = []
        lab.later(lambda: ifnet.destroy(host, "bscep1"))
        costs.time(
            "create a jail's port (epair)", lambda: found.append(ifnet.ensure_epair(host, "bscep1", "beastack:port:y"))
        )
        nic = found[0]
        assert nic is not None
        costs.time("move it into a jail", lambda: ifnet.move_to_jail(host, nic, inside.name))
        costs.time("address it there", lambda: ifnet.add_address(inside, nic, f"{ADDRESS}/24"))
        for count in (10, 100):
            costs.time(f"load an anchor of {count} rules", lambda c=count: pf.load_rules(host, "bsctap1", rules(c)))  # type: ignore[misc]
        costs.time("the same 100 again", lambda: pf.load_rules(host, "bsctap1", rules(100)))
        costs.time("1,000 members in a table", lambda: pf.replace_table(host, "bsc_many", members))
        costs.time("one member less", lambda: pf.replace_table(host, "bsc_many", members[1:]))
        costs.time("set a guard", lambda: netgraph.set_guard(host, "bsctap1", guard([(MAC, ADDRESS)])))
        costs.time("replace it", lambda: netgraph.set_guard(host, "bsctap1", guard([(MAC, f"10.5.0.{number + 2}")])))
        costs.time("remove the guard", lambda: netgraph.clear_guard(host, "bsctap1"))
        costs.time("remove the anchor", lambda: pf.unload(host, "bsctap1"))
        costs.time("destroy the port", lambda: ifnet.destroy(host, "bsctap1"))
    finally:
        lab.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="sim:")
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    with open_target(given.host) as target:
        sweep(target.host)
        before = snapshot.take(target.host)
        try:
            costs = Costs(Counting(target.host))
            costs.host.run(["kldload", "-n", *pf_host.MODULES])
            costs.time("prepare the host, once", lambda: pf_host.prepare(costs.host))
            costs.time("see that it is prepared", lambda: pf_host.prepare(costs.host))
            for number in range(given.rounds):
                one_round(costs, number)
        finally:
            restore(target.host, before)
        if left := snapshot.differences(before, snapshot.take(target.host)):
            raise SystemExit("the host is not as it was found:\n" + "\n".join(left))
    print(f"{described()}, --host {given.host.partition('?')[0]}\n")
    print(table(["operation", "commands", "median, ms", "slowest, ms"], costs.rows()))


if __name__ == "__main__":
    main()
