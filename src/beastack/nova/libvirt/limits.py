"""What libvirt's bhyve driver has no form for: refused in words. docs/compute.md shows both lists.

Sources: libvirt's docs/drvbhyve.rst (`since` versions), src/bhyve/bhyve_command.c, and its table of calls in
src/bhyve/bhyve_driver.c (as of 12.4). What was found in none of them counts as missing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from beastack.freebsd.bhyve import DiskKind, FrameBuffer, Machine, SocketFrameBuffer, TcpConsole
from beastack.nova.wishes import Wishes

FIRST_SCREEN_PORT = 5900


def words(version: int) -> str:
    """A version as people write it: 11004000 is 11.4.0."""
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"


# A part of a machine -> why it cannot be.
NEVER: Mapping[str, str] = {
    "a screen on a unix socket": "its graphics listen on TCP only",
    "a screen below port 5900": "it takes VNC ports from 5900 on",
    "a screen that the guest waits for": "not rendered: wait= is of libvirt 11.10, whose schema is not at hand",
    "a read-only disk": "it hands `ro` to no disk, so the guest could write",
    "an NVMe disk": "not rendered: bus='nvme' is of libvirt 11.9, whose schema is not at hand",
    "a virtio-console channel": "not rendered: newer than its documentation",
    "a limit by rctl(8)": "not rendered: newer than its documentation",
}
# A part of a machine -> libvirt's version that brought it, or where the documentation names none, its own.
SINCE: Mapping[str, int] = {
    "virtio-rnd": 11_003_000,
    "UEFI variables": 11_004_000,
    "a console on TCP": 11_006_000,
    "a passed through device": 11_010_000,
    "pinned processors": 12_001_000,
    "a further console": 12_001_000,
}
# Every machine of the driver has UEFI variables and virtio-rnd.
OLDEST = SINCE["UEFI variables"]
# Methods of nova's driver -> why not through libvirt, beside what the native path refuses, too.
CANNOT: Mapping[str, str] = {
    "pause": "libvirt's bhyve driver has no domainSuspend",
    "unpause": "libvirt's bhyve driver has no domainResume",
    "get_vnc_console": "a screen would be on a TCP port of 127.0.0.1, open to every account of the host: its password "
    "would stand on bhyve's command line",
}
CANNOT_HOLD = (
    "libvirt's bhyve driver cannot hold a running guest still, and only then are disks in plain files read as they are "
    "at one moment: stop the server first, or keep disks in ZFS volumes ([beastack] zfs_root)"
)
# Features (beastack.nova.features) -> what is less than on the native path.
LESS: Mapping[str, str] = {
    "create, delete": "no NVMe disks, no limits by rctl(8), the config drive as a CD only",
    "soft and hard reboot": "hard is an end and a start, no reset",
    "guest powers off or reboots by itself": "seen within 2 s: the driver sends no event",
    "snapshot to an image": "of a running server from ZFS volumes only",
    "serial console": "on nmdm(4) in every release",
    "UEFI with a guest's own variables": f"from libvirt {words(SINCE['UEFI variables'])} on",
    "pinned processors (hw:cpu_policy)": f"from libvirt {words(SINCE['pinned processors'])} on",
}
# What nova's users ask for -> which call libvirt's bhyve driver does not have.
NO_CALL: Mapping[str, str] = {
    "pause, unpause": "no domainSuspend, no domainResume",
    "hard reboot in place": "no domainReset; the domain is ended and started",
    "attach to a running guest": "no domainAttachDevice",
    "save, migrate": "no domainSave, no domainMigrate; bhyve cannot either",
}
# Kept on the native path, lost on this one, and of no harm to what was promised.
LEFT_OUT: Mapping[str, str] = {
    "mtu= of a card": "the guest learns it by DHCP",
    "bootindex=": "the firmware chooses the disk; older drivers have no word for it",
}


@dataclass(frozen=True, slots=True)
class _Use:
    part: str
    used: bool


def _uses(machine: Machine) -> Iterator[_Use]:
    screen = machine.frame_buffer
    yield _Use("a screen on a unix socket", isinstance(screen, SocketFrameBuffer))
    yield _Use("a screen below port 5900", isinstance(screen, FrameBuffer) and screen.port < FIRST_SCREEN_PORT)
    yield _Use("a screen that the guest waits for", screen is not None and screen.wait)
    yield _Use("a read-only disk", any(disk.read_only for disk in machine.disks))
    yield _Use("an NVMe disk", any(disk.kind is DiskKind.NVME for disk in machine.disks))
    yield _Use("a virtio-console channel", bool(machine.channels))
    yield _Use("a limit by rctl(8)", bool(machine.limits))
    yield _Use("virtio-rnd", machine.random)
    yield _Use("UEFI variables", machine.bootrom.variables is not None)
    yield _Use("a console on TCP", any(isinstance(each, TcpConsole) for each in machine.consoles()))
    yield _Use("a further console", bool(machine.more_consoles))
    yield _Use("a passed through device", bool(machine.passthrough))
    yield _Use("pinned processors", bool(machine.pins))


def refused(machine: Machine, version: int) -> list[str]:
    """What the machine asks for and a libvirt of this version cannot give, with the reason; empty when it can run."""
    found = []
    for use in _uses(machine):
        if not use.used:
            continue
        if use.part in NEVER:
            found.append(f"{use.part} ({NEVER[use.part]})")
        elif version < SINCE[use.part]:
            found.append(f"{use.part} (it came with libvirt {words(SINCE[use.part])}, this is {words(version)})")
    return found


def wishes_refused(wish: Wishes) -> list[str]:
    """What flavor and image ask for and no libvirt can give, with the reason."""
    asked = {"an NVMe disk": wish.disk_kind is DiskKind.NVME, "a limit by rctl(8)": bool(wish.limits)}
    return [f"{part} ({NEVER[part]})" for part, wanted in asked.items() if wanted]


def table() -> str:
    """Both lists as Markdown, for docs/compute.md."""
    lines = ["| asked for | through libvirt |", "| --- | --- |"]
    lines += [f"| {part} | refused: {why} |" for part, why in NEVER.items()]
    lines += [f"| {part} | from libvirt {words(version)} on; refused before |" for part, version in SINCE.items()]
    lines += [f"| {what} | refused: {call} |" for what, call in NO_CALL.items()]
    lines += [f"| {what} | left out: {why} |" for what, why in LEFT_OUT.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
