"""What pf(4) and if_bridge(4) need on a host before a port may be opened: modules, sysctls, the main ruleset.

An operator's own rules are never replaced: when there are any, they must call our anchor, and the error says how.
"""

import re

from beastack.freebsd import kld, sysctl
from beastack.freebsd.errors import HostError, UnexpectedOutput
from beastack.freebsd.host import Host
from beastack.freebsd.pf import ANCHOR

MODULES = ("pf", "if_bridge", "if_epair", "if_tuntap", "ng_ether", "ng_bpf", "nmdm")
# Bridged packets are filtered on their member interfaces and nowhere else; what is not IP or ARP is dropped there.
# Toggling net.link.bridge.ipfw resets these (shared/freebsd, README), so they are looked at again and again.
SYSCTLS = (
    ("net.link.bridge.pfil_member", 1),
    ("net.link.bridge.pfil_bridge", 0),
    ("net.link.bridge.pfil_onlyip", 1),
)
LIMITS = {"anchors": 5000, "eth-anchors": 5000, "table-entries": 1_000_000, "states": 500_000}
ANCHOR_LINE = f'anchor "{ANCHOR}/*" all'
# Put together, IPv4 fragments have ports and states; for themselves they match no rule that names a port. IPv6
# fragments are never put together: pf cuts them again by the host's own ip6_output (pf_refragment6 in pf_norm.c), so a
# guest's would leave the bridge and go where the host's routes go. Any scrub rule ends pf's way of doing it unasked.
SCRUB_LINES = (f"scrub on {ANCHOR} inet all fragment reassemble", f"no scrub on {ANCHOR} inet6 all")
# Behind the anchors: an interface of ours whose anchor is missing or empty passes nothing.
CLOSE_LINE = f"block drop quick on {ANCHOR} all"
OUR_RULES = [*SCRUB_LINES, ANCHOR_LINE, CLOSE_LINE]


class NotFiltering(HostError):
    """The host does not filter as it must, and it could not be made to."""


class ForeignRuleset(NotFiltering):
    """The host has filter rules of its own, and they do not call our anchor in time."""


def main_ruleset(limits: list[str]) -> str:
    """Our pf.conf(5) for a host without one."""
    return "".join(
        f"{line}\n"
        for line in (
            *(f"set limit {name} {LIMITS[name]}" for name in limits),
            "set skip on lo",
            "set state-policy if-bound",
            "set ruleset-optimization none",
            *OUR_RULES,
        )
    )


def _limits(host: Host) -> list[str]:
    """Limits that this release knows and that are lower than ours (0 is none); `anchors` came with 15."""
    done = host.run(["pfctl", "-s", "memory"])
    found = []
    for line in done.out.splitlines():
        match = re.fullmatch(r"(\S+)\s+hard limit\s+(\d+)", line.strip())
        if match and match[1] in LIMITS and int(match[2]) < LIMITS[match[1]]:
            found.append(match[1])
    return found


def _check_foreign(rules: list[str], nat: list[str]) -> None:
    """Raises ForeignRuleset unless an operator's rules begin with our scrub rules and call our anchor before any quick
    rule decides."""
    lines = "".join(f"\n    {line}" for line in (*SCRUB_LINES, f'anchor "{ANCHOR}/*"'))
    add = f'add these lines to pf.conf(5), before other "scrub" and "quick" rules, and load it:{lines}'
    if tuple(rules[: len(SCRUB_LINES)]) != SCRUB_LINES:
        raise ForeignRuleset(f"pf holds {len(rules) + len(nat)} rules of this host's own; they are left alone: {add}")
    for rule in rules:
        if rule == ANCHOR_LINE:
            return
        if " quick " in f"{rule} ":
            raise ForeignRuleset(f"pf holds rules of this host's own, and {rule!r} decides before Beastack's: {add}")
    raise ForeignRuleset(f"pf holds {len(rules) + len(nat)} rules of this host's own; they are left alone: {add}")


def _main(host: Host) -> bool:
    """See that the main ruleset calls our anchor; True when it was loaded now."""
    rules = host.run(["pfctl", "-sr"]).out.splitlines()
    nat = host.run(["pfctl", "-s", "nat"]).out.splitlines()
    if rules or nat:
        if rules == OUR_RULES:
            return False
        if rules != OUR_RULES[len(SCRUB_LINES) :]:  # ours of before there were scrub rules
            _check_foreign(rules, nat)
            return False
    host.run(["pfctl", "-q", "-f", "-"], input=main_ruleset(_limits(host)))
    done = host.run(["pfctl", "-sr"])
    if done.out.splitlines() != OUR_RULES:
        raise UnexpectedOutput(done.argv, done.out, " and ".join(OUR_RULES))
    if low := _limits(host):
        raise UnexpectedOutput(["pfctl", "-s", "memory"], ", ".join(low), "the limits that were loaded")
    return True


def enable(host: Host) -> bool:
    """Switch pf on; True when it was off. Raises UnexpectedOutput when it stays off."""
    if _enabled(host):
        return False
    done = host.run(["pfctl", "-e"], check=False)
    if not _enabled(host):
        raise NotFiltering(f"pf is disabled and pfctl -e does not enable it: {(done.out + done.err).strip()}")
    return True


def _enabled(host: Host) -> bool:
    done = host.run(["pfctl", "-s", "info"])
    match = re.match(r"Status: (Enabled|Disabled)\b", done.out)
    if match is None:
        raise UnexpectedOutput(done.argv, done.out, "Status: Enabled or Disabled")
    return match[1] == "Enabled"


def prepare(host: Host) -> list[str]:
    """Make the host ready; returns what had to be changed. Raises ForeignRuleset and other HostErrors."""
    kld.ensure_loaded(host, MODULES)
    changed = [f"{name}={value}" for name, value in SYSCTLS if _ensure(host, name, value)]
    if _main(host):
        changed.append("main ruleset loaded")
    if enable(host):
        changed.append("pf enabled")
    return changed


def _ensure(host: Host, name: str, value: int) -> bool:
    if sysctl.read_int(host, name) == value:
        return False
    try:
        return sysctl.ensure(host, name, value)
    except HostError as e:
        raise NotFiltering(f"{name} is not {value} and cannot be set: {e}") from e
