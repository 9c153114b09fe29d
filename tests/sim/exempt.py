"""What of the recorded cases is not compared, each with its reason; shared by all replays. Keep it short."""

import re
from dataclasses import dataclass

LINUX = "Linux's own program answers, its words are not FreeBSD's"
TIMING = "how long a command took is the machine's affair"


@dataclass(frozen=True)
class Exempt:
    """Lines that match are not compared. In a `.cmds` case the pattern is held against the command."""

    pattern: re.Pattern[str]
    reason: str


def _all(*pairs: tuple[str, str]) -> list[Exempt]:
    return [Exempt(re.compile(pattern), reason) for pattern, reason in pairs]


EXEMPT: dict[str, list[Exempt]] = {
    "01-interfaces": _all((r"^ls ", LINUX)),
    "03-jails": _all((r"^ls |pgrep|ps -ax|mount -t", LINUX)),
    "09-privilege": _all(
        (r"touch|master\.passwd|mount|ping|tcpdump|kill|su -m|mknod|mdconfig|^yes  nc|/dev/|date|reboot", LINUX),
        (r"^security\.jail\.param|jail parameters", "names of parameters; which ones are taken, 03 shows"),
        (r"security\.mac\.do|mdo|^uid=|mac_do", "the kernel's credentials; on the simulated host Linux decides"),
    ),
    "10-bhyve": _all(
        (r"^kldload vmm|hw\.vmm|^ls -ld /dev/vmm", "the recorded machine's processor had no virtualisation; 13's has"),
        (r"^ls /usr/local/share/uefi-firmware", "the machine's own folder, shared with the host"),
        (r"nmdm7", "a pair is made by bhyve alone: Linux has no device that comes to be by being opened"),
    ),
    "13-bhyve-run": _all((r"^Unhandled ps2 mouse command", "bhyve's word on its own mouse; the mouse is QEMU's here")),
    "11-zfs": _all((r"^cp --help", LINUX)),
    "08-router": _all((r"/dev/pf$", LINUX)),
}

# Recorded, but not run: a transcript that no machine could repeat as it stands
WHOLE = {
    "12-dhcp": "needs dhclient(8) and rtsol(8), whose like of Debian's we do not install; tests/cloud has leases",
    "15-bhyve-uefi": "abridged by hand, its commands cut; what it shows is checked by test_bhyve and test_bhyve_run",
}
