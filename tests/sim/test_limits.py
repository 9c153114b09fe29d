"""Limits that a flavor asks for: rules of rctl(8) on the guest's process, and no guest without them."""

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from beastack.freebsd import bhyve, bhyve_json
from beastack.nova import wishes
from beastack.privsep import guest_files

from .conftest import LAB, MANAGEMENT, OCTET, Host, until
from .test_bhyve import CODE, VARS
from .test_bhyve import pytestmark as pytestmark

UUID = "5a0f8a4e-0c34-4c55-9d1b-0f7a8d7f2f12"
SPECS = {"quota:cpu_quota": "50000", "quota:disk_read_bytes_sec": "1048576", "quota:disk_write_iops_sec": "200"}
GUEST = f"{shlex.quote(sys.executable)} -I -m beastack.nova.guest.main"


@pytest.fixture
def folder(lab: None) -> Iterator[Path]:
    made = LAB / "limited"
    made.mkdir()
    shutil.copyfile(VARS, made / "vars.fd")
    (made / "root.raw").write_bytes(bytes(1 << 20))
    wish = wishes.read(SimpleNamespace(extra_specs=SPECS, vcpus=2), None)
    machine = bhyve.Machine(
        name=UUID,
        uuid=UUID,
        topology=bhyve.Topology(1, 2, 1),
        memory_mib=128,
        bootrom=bhyve.Bootrom(str(CODE), str(made / "vars.fd")),
        console=bhyve.TcpConsole(7103),
        disks=(bhyve.Disk(str(made / "root.raw")),),
        limits=wish.limits,
    )
    (made / guest_files.MACHINE).write_text(bhyve_json.dump(machine))
    yield made
    shutil.rmtree(made)


def settled(folder: Path) -> guest_files.GuestState:
    """Its state once it runs or has ended."""
    found: list[guest_files.GuestState] = []

    def done() -> bool:
        state = guest_files.read_state(folder)
        found[:] = [state] if state is not None and state.state in ("running", *guest_files.END_STATES) else []
        return bool(found)

    until(done, "the guest to run or to end", 30)
    return found[0]


def test_a_guest_has_the_limits_of_its_flavor_and_they_go_with_it(make_host: Callable[..., Host], folder: Path) -> None:
    host = make_host("fbsd1", f"vtnet0={MANAGEMENT}:100.64.{OCTET}.11/24", tunables=("kern.racct.enable=1",))
    host.ok("kldload -n vmm")
    host.ok(f"{GUEST} run --dir {folder} --detach")
    state = settled(folder)
    assert state.state == "running", state
    rules = host.ok(f"rctl process:{state.bhyve_pid}").split()
    assert sorted(rules) == [
        f"process:{state.bhyve_pid}:pcpu:deny=100",
        f"process:{state.bhyve_pid}:readbps:throttle=1048576",
        f"process:{state.bhyve_pid}:writeiops:throttle=200",
    ]
    assert "pcpu=" in host.ok(f"rctl -u process:{state.bhyve_pid}")
    host.ok(f"{GUEST} stop --dir {folder} --grace 0")
    assert host.ok("rctl") == ""


def test_a_guest_that_was_promised_limits_does_not_run_where_there_are_none(
    make_host: Callable[..., Host], folder: Path
) -> None:
    host = make_host("fbsd1", f"vtnet0={MANAGEMENT}:100.64.{OCTET}.11/24")
    host.ok("kldload -n vmm")
    host.run(f"{GUEST} run --dir {folder} --detach")
    state = settled(folder)
    assert state.state == "failed"
    assert "enable using kern.racct.enable=1" in state.reason
    assert UUID not in host.run("ls /dev/vmm")[0]
