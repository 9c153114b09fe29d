"""Options of `[beastack]` about guests. nova-compute and the privileged side read them, each from its own files."""

from pathlib import Path
from typing import Any

from oslo_config import cfg

GROUP = "beastack"

OPTIONS = [
    cfg.StrOpt(
        "instances_path", help="Folder of the instances that the privileged side accepts: nova's instances_path."
    ),
    cfg.StrOpt(
        "hypervisor",
        default="bhyve",
        choices=["bhyve", "libvirt"],
        help="How guests are run: bhyve by supervisors of Beastack's own; or by libvirt, the second way "
        "(docs/compute.md).",
    ),
    cfg.StrOpt(
        "guests_path",
        default="",
        help="Folder of root's on the file system of instances_path, where running guests' files have a name that "
        "nova-compute cannot change; needed when nova-compute is not root.",
    ),
    cfg.StrOpt(
        "zfs_root",
        default="",
        help="A ZFS file system for images and guests' disks as volumes, such as tank/beastack; its pool exists, the "
        "rest is made. Empty: disks are files below instances_path.",
    ),
    cfg.StrOpt(
        "snapshot_format",
        default="qcow2",
        choices=["raw", "qcow2"],
        help="What a server's snapshot is uploaded as.",
    ),
    cfg.PortOpt(
        "handover_port",
        default=7788,
        help="Where this host offers the disks of a server that moves to another one (TLS, on my_ip).",
    ),
    cfg.ListOpt(
        "passthrough",
        default=[],
        help="PCI devices, BUS/SLOT/FUNCTION, that guests may get; each is held by ppt(4) (pptdevs in loader.conf).",
    ),
    cfg.StrOpt(
        "bootrom",
        default="/usr/local/share/uefi-firmware/BHYVE_UEFI_CODE.fd",
        help="UEFI code that every guest starts with.",
    ),
    cfg.StrOpt(
        "bootrom_vars",
        default="/usr/local/share/uefi-firmware/BHYVE_UEFI_VARS.fd",
        help="Template of a guest's UEFI variables; each guest gets a copy.",
    ),
    cfg.StrOpt(
        "console_ports",
        default="7000-7999",
        regex=r"\d{4,5}-\d{4,5}",
        help="TCP ports on 127.0.0.1 for serial consoles, both ends included. Keep them below the host's ephemeral "
        "ports (net.inet.ip.portrange.first, 10000).",
    ),
    cfg.StrOpt(
        "screens_path",
        default="/var/run/beastack/screens",
        help="Folder of root's for the sockets of frame buffers; short, as sun_path holds 104 bytes (unix(4)).",
    ),
]


def register(conf: Any) -> Any:
    """The group, with each of these options that nobody has registered before."""
    conf.register_group(cfg.OptGroup(GROUP, title="Beastack"))
    group = getattr(conf, GROUP)
    for option in OPTIONS:
        if option.dest not in group:
            conf.register_opt(option, group=GROUP)
    return group


def console_ports(group: Any) -> range:
    """The configured range."""
    first, _, last = str(group.console_ports).partition("-")
    return range(int(first), int(last) + 1)


def passthrough(group: Any) -> frozenset[str]:
    """The configured devices."""
    return frozenset(str(each).strip() for each in group.passthrough)


def nmdm_device(number: int) -> str:
    """bhyve's side of the null-modem pair of this number (nmdm(4)); the supervisor has the other, B."""
    return f"/dev/nmdm{number}A"


def screen_socket(group: Any, uuid: str) -> Path:
    """Where bhyve makes the socket of a guest's frame buffer."""
    return Path(group.screens_path) / f"{uuid}.sock"
