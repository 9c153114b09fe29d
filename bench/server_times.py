"""What the logs of nova-compute say about the time of a new server, and tables of it. Pure. Seconds."""

import datetime
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PHASES = ("image", "disk", "network", "start")
COLUMNS = ("scheduling", *PHASES, "hypervisor", "outside", "dhcp")


@dataclass(frozen=True)
class Logged:
    """``claim``: when the host took the server, ``moments``: of its driver, if it tells any (all since the epoch)."""

    claim: float | None
    phases: dict[str, float]
    moments: dict[str, float]


def logged(lines: Iterable[str], uuid: str) -> Logged:
    """What nova-compute's log has about one server: the first claim, and the last spawn if it was tried again."""
    claim: float | None = None
    phases: dict[str, float] = {}
    moments: dict[str, float] = {}
    for line in lines:
        if uuid not in line:
            continue
        if claim is None and ("Attempting claim on node" in line or "Claim successful" in line):
            stamp = datetime.datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=datetime.UTC)
            claim = stamp.timestamp()
        if "Spawned: " in line:
            found = re.findall(r"(\w+) ([0-9.]+) s", line.partition("Spawned: ")[2])
            phases = {name: float(seconds) for name, seconds in found}
        if "Moments: " in line:
            found = re.findall(r"(\w+) ([0-9.]+)", line.partition("Moments: ")[2])
            moments = {name: float(when) for name, when in found}
    return Logged(claim, phases, moments)


def privileged(lines: Iterable[str], tap: str) -> float:
    """How long our privileged side worked on one port, by its own log (privsep/audit.py): what names the tap.

    Nearly all of it are programs of the host. Tables of security groups name no tap and are not in it.
    """
    calls = (line for line in lines if "beastack.privsep.audit" in line and tap in line)
    return sum(float(found[1]) for line in calls if (found := re.search(r": done after ([0-9.]+) s", line)))


def row(since: float, said: Logged, hypervisor: float, dhcp: float) -> dict[str, float]:
    """One server. ``since``: the API call, ``hypervisor``: its process's start, ``dhcp``: the guest's first packet.

    ``outside`` is the time in which no hypervisor worked and no guest ran. bhyve runs the guest from its start on:
    there it is the same as ``hypervisor``. libvirt starts QEMU with the guest stopped and lets it run when neutron has
    wired the port: there it is the time until the guest runs, without that between QEMU's start and its being ready.

    Raises ValueError with the names of what the log lacks.
    """
    missing = [name for name in PHASES if name not in said.phases]
    if said.claim is None or missing:
        raise ValueError(f"the log has no {', '.join([*missing, *(['claim'] if said.claim is None else [])])}")
    outside = hypervisor - since
    if said.moments:
        outside = said.moments["running"] - since - max(0.0, said.moments["launched"] - hypervisor)
    return {
        **{name: said.phases[name] for name in PHASES},
        "scheduling": said.claim - since,
        "hypervisor": hypervisor - since,
        "outside": outside,
        "dhcp": dhcp - since,
    }


def medians(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Column by column."""
    return {name: statistics.median(each[name] for each in rows) for name in COLUMNS}


def cells(what: str, rows: Sequence[dict[str, float]]) -> list[str]:
    """A line of the table."""
    found = medians(rows)
    return [what, *(f"{found[name]:.2f}" for name in COLUMNS)]


def ratios(what: str, theirs: Sequence[dict[str, float]], ours: Sequence[dict[str, float]]) -> list[str]:
    """A line with how many times longer the others took; nothing where ours took none that can be measured."""
    a, b = medians(theirs), medians(ours)
    return [what, *(f"{a[name] / b[name]:.1f}×" if b[name] >= 0.005 else "" for name in COLUMNS)]


def first_and_next(first: dict[str, float], rows: Sequence[dict[str, float]]) -> tuple[float, float]:
    """Image and disk work of the first server of an image, and of the next ones (median)."""
    return first["image"] + first["disk"], statistics.median(each["image"] + each["disk"] for each in rows)
