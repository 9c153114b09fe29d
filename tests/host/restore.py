"""Bringing a host back to what it was: pf, sysctls and modules, after the lab itself is gone."""

import re

from beastack.freebsd.host import Host

from . import lab, snapshot
from .snapshot import Snapshot


def restore(host: Host, before: Snapshot) -> None:
    """Undo what the suite, or the code under test, changed beyond its own objects."""
    lab.sweep(host)
    after = snapshot.take(host)
    if after.pf is not None:
        _pf(host, before, after)
    for name, value in before.sysctls.items():
        if value is not None and after.sysctls[name] != value:
            host.run(["sysctl", f"{name}={value}"])
    # the ones that depend on others go first; two rounds settle the rest
    for _ in range(2):
        for module in sorted(snapshot.modules(host) - before.modules, key=lambda name: not name.startswith("ng_")):
            host.run(["kldunload", module], check=False)


def _pf(host: Host, before: Snapshot, after: Snapshot) -> None:
    if snapshot.has_module(host, "ng_ether"):
        lab.clear_guards(host)
    lab.clear_pf(host)
    old, new = before.pf, after.pf
    if (old is None or not old.enabled) and new is not None and new.enabled:
        host.run(["pfctl", "-d"], check=False)
    if old is not None and old.rules:
        return  # an operator's own rules were there all the time; the suite does not touch them
    limits = [match.groups() for line in (old.limits if old else ()) if (match := _LIMIT.fullmatch(line))]
    host.run(["pfctl", "-q", "-f", "-"], input="".join(f"set limit {name} {value}\n" for name, value in limits))
    host.run(["pfctl", "-q", "-F", "all"], check=False)
    if old is not None and old.enabled and new is not None and not new.enabled:
        host.run(["pfctl", "-e"], check=False)


_LIMIT = re.compile(r"(\S+)\s+hard limit\s+([1-9]\d*)")
