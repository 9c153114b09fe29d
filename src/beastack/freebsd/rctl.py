"""Limits on what a jail may use (rctl(8)).

Needs kern.racct.enable=1 in loader.conf(5): without it every command fails (NotSupported). The forms are those of the
program's source (usr.bin/rctl/rctl.c): rules are ``jail:NAME:RESOURCE:deny=AMOUNT``; no transcript shows them.
"""

import re
from collections.abc import Mapping
from contextlib import suppress

from beastack.freebsd.errors import HostError, NoSuchRule, UnexpectedOutput
from beastack.freebsd.host import Host
from beastack.freebsd.jail import check_name

# Resources of rctl(8) that can be denied or throttled; amounts in bytes, percent of one CPU (pcpu) or pieces. Not
# cputime and wallclock: they can only be answered by a signal.
RESOURCES = (
    "datasize", "stacksize", "coredumpsize", "memoryuse", "memorylocked", "maxproc", "openfiles", "vmemoryuse",
    "pseudoterminals", "swapuse", "nthr", "shmsize", "pcpu", "readbps", "writebps", "readiops", "writeiops",
)  # fmt: skip
# These cannot be denied, only slowed down.
_THROTTLED = ("readbps", "writebps", "readiops", "writeiops")
_RULE = re.compile(r"jail:([^:]+):([a-z]+):(deny|throttle)=(\d{1,20})")
_USAGE = re.compile(r"([a-z]+)=(\d{1,20})")


class LimitsDiffer(HostError):
    """The kernel holds other limits than were set."""


def _action(resource: str) -> str:
    if resource not in RESOURCES:
        raise ValueError(f"{resource!r} is no resource of rctl(8)")
    return "throttle" if resource in _THROTTLED else "deny"


def parse_rules(text: str, argv: tuple[str, ...] = ("rctl",)) -> dict[str, dict[str, int]]:
    """Limits by jail and resource, from ``rctl jail:``. Raises UnexpectedOutput, also for one that is there twice."""
    found: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        match = _RULE.fullmatch(line)
        if match is None:
            raise UnexpectedOutput(argv, line, "jail:NAME:RESOURCE:ACTION=AMOUNT")
        limits = found.setdefault(match[1], {})
        if match[2] in limits:
            raise UnexpectedOutput(argv, line, f"one limit of {match[2]} for jail {match[1]}")
        limits[match[2]] = int(match[4])
    return found


def parse_usage(text: str, argv: tuple[str, ...] = ("rctl",)) -> dict[str, int]:
    """``rctl -u jail:NAME``: what is used now, by resource. Raises UnexpectedOutput."""
    found = {}
    for line in text.splitlines():
        match = _USAGE.fullmatch(line)
        if match is None:
            raise UnexpectedOutput(argv, line, "RESOURCE=AMOUNT")
        found[match[1]] = int(match[2])
    return found


def read_limits(host: Host, jail: str) -> dict[str, int]:
    """A jail's limits by resource. Raises NotSupported."""
    done = host.run(["rctl", f"jail:{check_name(jail)}"])
    return parse_rules(done.out, done.argv).get(jail, {})


def read_usage(host: Host, jail: str) -> dict[str, int]:
    """What a running jail uses now, by resource. Raises NotSupported, NoSuchRule when there is no such jail."""
    done = host.run(["rctl", "-u", f"jail:{check_name(jail)}"])
    return parse_usage(done.out, done.argv)


def set_limits(host: Host, jail: str, limits: Mapping[str, int]) -> None:
    """Make ``limits`` the jail's, with none besides; read back. They outlive the jail: see ``remove``.

    Raises NotSupported, LimitsDiffer (the jail has no limits then), ValueError for what is no limit.
    """
    rules = {name: f"jail:{check_name(jail)}:{name}:{_action(name)}" for name in limits}
    for name, amount in limits.items():
        if not 0 <= amount < 1 << 63:
            raise ValueError(f"limit of {name}: {amount}")
    now = read_limits(host, jail)
    try:
        for name in sorted(now.keys() | limits.keys()):
            if now.get(name) == limits.get(name):
                continue
            if name in now:
                host.run(["rctl", "-r", f"jail:{jail}:{name}"])
            if name in limits:
                host.run(["rctl", "-a", f"{rules[name]}={limits[name]}"])
        found = read_limits(host, jail)
        if found != dict(limits):
            raise LimitsDiffer(f"jail {jail}: limits {found} instead of {dict(limits)}")
    except HostError:
        with suppress(HostError):  # the first error is the one to tell
            remove(host, jail)
        raise


def remove(host: Host, jail: str) -> None:
    """Remove every limit of a jail; none is fine."""
    with suppress(NoSuchRule):
        host.run(["rctl", "-r", f"jail:{check_name(jail)}"])
