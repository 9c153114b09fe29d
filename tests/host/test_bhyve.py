"""Command lines that the driver can produce, checked by bhyve(8) itself: `-o config.dump=1` (transcript 10)."""

from dataclasses import replace

import pytest

from beastack.cloud import doctor_freebsd
from beastack.freebsd import bhyve
from beastack.freebsd.host import Completed, Host
from beastack.freebsd.release import Release

UUID = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
# the status of a dump, and of a command line that bhyve does not understand
DUMPED, REFUSED = 1, 4


@pytest.fixture
def machine(host: Host, folder: str) -> bhyve.Machine:
    """A small one, its files in place."""
    names = [f"{folder}/{name}" for name in ("code.fd", "vars.fd", "disk.raw", "data.raw", "config.iso")]
    host.run(["truncate", "-s", "1m", *names])
    return bhyve.Machine(
        name=UUID,
        uuid=UUID,
        topology=bhyve.Topology(1, 2, 1),
        memory_mib=512,
        bootrom=bhyve.Bootrom(names[0], names[1]),
        console=bhyve.NmdmConsole("/dev/nmdm7A"),
        disks=(bhyve.Disk(names[2]), bhyve.Disk(names[3], bhyve.DiskKind.NVME)),
        nics=(bhyve.Nic("tap01234567-89", "fa:16:3e:11:22:33", 1450),),
    )


def dump(host: Host, line: list[str]) -> Completed:
    assert line[0] == "bhyve"
    return host.run(["bhyve", "-o", "config.dump=1", *line[1:]], check=False)


def settings(host: Host, machine: bhyve.Machine, running: Release) -> dict[str, str]:
    """What bhyve understood."""
    can = bhyve.Capabilities.of_release(running.major, running.minor)
    if missing := bhyve.needs(machine, can):
        pytest.skip(f"FreeBSD {running} lacks {', '.join(missing)}")
    done = dump(host, bhyve.argv(machine, can))
    assert done.rc == DUMPED, done
    return dict(line.split("=", 1) for line in done.out.splitlines() if "=" in line)


def test_processors_memory_and_identity(host: Host, machine: bhyve.Machine, running: Release) -> None:
    found = settings(host, machine, running)
    expected = {"cpus": "2", "sockets": "1", "cores": "2", "threads": "1", "memory.size": "512M", "uuid": UUID}
    assert expected.items() <= found.items()
    assert found["name"] == UUID
    assert found["pci.enable_bars"] == "true"
    # `-u`: the guest's clock is UTC
    assert found["rtc.use_localtime"] == "false"


def test_disks_nics_and_console(host: Host, machine: bhyve.Machine, running: Release) -> None:
    found = settings(host, machine, running)
    assert found["pci.0.0.0.device"] == "hostbridge"
    assert found["pci.0.3.0.device"] == "virtio-blk"
    assert found["pci.0.3.0.path"] == machine.disks[0].path
    assert found["pci.0.4.0.device"] == "nvme"
    assert found["pci.0.14.0.device"] == "virtio-net"
    assert found["pci.0.14.0.backend"] == "tap01234567-89"
    assert found["pci.0.14.0.mac"] == "fa:16:3e:11:22:33"
    assert found["pci.0.14.0.mtu"] == "1450"
    assert found["lpc.com1.path"] == "/dev/nmdm7A"


def test_a_cd_a_screen_and_wired_memory(host: Host, machine: bhyve.Machine, running: Release, folder: str) -> None:
    machine = replace(
        machine, cd=bhyve.Cd(f"{folder}/config.iso"), frame_buffer=bhyve.FrameBuffer(5907), wired=True
    )  # fmt: skip
    found = settings(host, machine, running)
    assert found["pci.0.13.0.port.0.type"] == "cd"
    assert found["pci.0.13.0.port.0.ro"] == "true"
    assert found["pci.0.29.0.device"] == "fbuf"
    assert found["pci.0.29.0.w"] == "1024"
    assert found["memory.wired"] == "true"


def test_a_card_of_another_kind(host: Host, machine: bhyve.Machine, running: Release) -> None:
    card = bhyve.Nic("tap01234567-89", "fa:16:3e:11:22:33", 1450, bhyve.NicKind.E1000)
    found = settings(host, replace(machine, nics=(card,)), running)
    assert found["pci.0.14.0.device"] == "e1000"
    assert (found["pci.0.14.0.backend"], found["pci.0.14.0.mac"]) == (card.tap, card.mac)


def test_a_console_on_tcp(host: Host, machine: bhyve.Machine, running: Release) -> None:
    found = settings(host, replace(machine, console=bhyve.TcpConsole(7007)), running)
    assert found["lpc.com1.path"] == "tcp=127.0.0.1:7007"


@pytest.mark.parametrize(
    ("words", "status"),
    [(["-s", "0,nosuchdevice"], REFUSED), (["-l", "com9,stdio"], 64)],
    ids=["an unknown device", "an unknown port"],
)
def test_what_bhyve_does_not_know_is_refused(host: Host, words: list[str], status: int) -> None:
    done = dump(host, ["bhyve", *words, "bsc-none"])
    assert done.rc == status
    assert done.err + done.out


def test_a_dump_makes_no_machine(host: Host, machine: bhyve.Machine, running: Release) -> None:
    settings(host, machine, running)
    assert UUID not in host.run(["ls", "/dev/vmm"], check=False).out


def test_doctor_lets_bhyve_read_what_we_would_write(host: Host) -> None:
    found = doctor_freebsd.check_bhyve(host)
    assert found.level == "ok", found.detail
    assert doctor_freebsd.check_release(host).level == "ok"
