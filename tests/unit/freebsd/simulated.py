"""A host whose pfctl and ngctl are the simulation's: a second reading of FreeBSD to hold ours against."""

import time
from collections.abc import Callable, Sequence

from beastack.freebsd.errors import failure
from beastack.freebsd.host import Completed, JailHost
from beastack.sim.netgraph import Netgraph
from beastack.sim.pf import Pf


class SimulatedHost:
    """pf and netgraph of one host; kldload and sysctl as far as prepare() needs them."""

    def __init__(self, interfaces: Sequence[str] = ()) -> None:
        self.interfaces = list(interfaces)
        self.clock: Callable[[], float] = time.monotonic
        self.pf = Pf()
        self.netgraph = Netgraph(lambda: self.interfaces)
        self.ran: list[list[str]] = []
        self.sysctls = {f"net.link.bridge.pfil_{n}": "0" for n in ("member", "bridge", "onlyip")}

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = 20.0, check: bool = True
    ) -> Completed:
        """See Host.run."""
        self.ran.append(list(argv))
        program, *rest = argv
        match program:
            case "pfctl":
                out, err, rc = self.pf.pfctl(rest, input or "", self.clock())
            case "ngctl":
                out, err, rc = self.netgraph.ngctl(rest, input or "")
            case "kldload":
                out, err, rc = "", "", 0
            case "sysctl":
                out, err, rc = self._sysctl(rest), "", 0
            case _:
                raise AssertionError(f"unforeseen: {argv}")
        if rc and check:
            raise failure(argv, rc, out, err)
        return Completed(tuple(argv), rc, out, err)

    def _sysctl(self, words: list[str]) -> str:
        if words[0] == "-n":
            return self.sysctls[words[1]] + "\n"
        name, _, value = words[0].partition("=")
        self.sysctls[name] = value
        return ""

    def jail(self, name: str) -> JailHost:
        """See Host.jail."""
        return JailHost(self, name)
