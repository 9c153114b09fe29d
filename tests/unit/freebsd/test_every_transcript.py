"""Every recorded output of a form that we read is read, in whichever transcript it stands."""

import re
from collections.abc import Callable

import pytest
from tests.unit.freebsd.recorded import Recorded, everything

from beastack.freebsd import bhyve_read, bridge, ifnet_read, jail, neighbours, pf_nat, route, zfs_read

# Commands, perhaps in a jail or through a filter that keeps whole lines, and who reads their output.
READERS: list[tuple[str, Callable[[str], object]]] = [
    (r"ifconfig(?: -a| [a-z][\w-]*)?", ifnet_read.parse_interfaces),
    (r"(?:.*; )?ifconfig [\w-]+ addr", bridge.parse_addresses),
    (r"jls --libxo json -n", jail.parse_jails),
    (r"netstat --libxo json -rn(?: -f inet6?)?", route.parse_routes),
    (r"arp --libxo json -an", neighbours.parse_arp),
    (r"pfctl -s ?nat", pf_nat.parse),
    (r"zfs list -Hp -o name,type,used,refer,volsize,origin.*", zfs_read.parse_datasets),
    (r"zfs list -Hp -t snapshot -o name,used,clones.*", zfs_read.parse_snapshots),
    (r"zfs list -Hp -o space \S+", zfs_read.parse_space),
    (r"zpool list -Hp -o name,size,alloc,free,health", zfs_read.parse_pools),
    (r"bhyvectl --vm=\S+ --get-stats(?: \| egrep .*)?", bhyve_read.parse_stats),
]


def reader(step: Recorded) -> Callable[[str], object] | None:
    command = re.sub(r"^jexec [\w-]+ ", "", step.command)
    return next((read for form, read in READERS if re.fullmatch(form, command)), None)


# What the recording scripts say of themselves behind a command's output, and what tcpdump saw meanwhile.
REMARK = re.compile(r"[\w ]+ -> [\w. ()]+: \w+.*|[\w ,()-]+: (?:not seen|SEEN)|\d\d:\d\d:\d\d\.\d+ .*|")


def own(step: Recorded) -> str:
    """The command's own output."""
    return "".join(f"{line}\n" for line in step.output.splitlines() if not REMARK.fullmatch(line))


STEPS = [step for step in everything() if step.rc == 0 and reader(step) is not None and own(step)]


def test_the_forms_are_found() -> None:
    assert len(STEPS) > 30
    found = {reader(step) for step in STEPS}
    assert [read.__name__ for _, read in READERS if read not in found] == []


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_recorded_output_is_read(step: Recorded) -> None:
    read = reader(step)
    assert read is not None
    assert read(own(step))
