"""What flavor and image ask of the machine, read into one place; what bhyve cannot give is refused, never left out.

Extra specs of our own stand below ``beastack:``; of nova's own those that mean something here are known, those that
would be promised and not kept are refused. The rest (traits, resources, aggregates) is the scheduler's.
"""

from dataclasses import dataclass
from typing import Any

from oslo_utils import strutils

from beastack.freebsd import bhyve
from beastack.nova import image_properties
from nova import exception

_CARDS = {"virtio": bhyve.NicKind.VIRTIO, "e1000": bhyve.NicKind.E1000}
_KINDS = {"virtio": bhyve.DiskKind.VIRTIO, "nvme": bhyve.DiskKind.NVME, "sata": bhyve.DiskKind.AHCI}
OURS = ("beastack:wired_memory", "beastack:disk_bus")
# Disk limits of rctl(8) by nova's names.
_RATES = {
    "quota:disk_read_bytes_sec": "readbps",
    "quota:disk_write_bytes_sec": "writebps",
    "quota:disk_read_iops_sec": "readiops",
    "quota:disk_write_iops_sec": "writeiops",
}
_PERIOD = 100_000  # microseconds, as in libvirt's documentation of cpu_period
_REFUSED = (
    "hw:mem_encryption", "hw:tpm_version", "hw:tpm_model", "hw:cpu_realtime", "hw:emulator_threads_policy",
    "hw:watchdog_action", "hw:pmem", "hw:virtio_packed_ring", "hw:viommu_model", "hw:maxphysaddr_mode",
    "hw:vif_multiqueue_enabled", "hw:mem_encryption_model", "hw:ephemeral_encryption", "hw:boot_menu", "hw:pmu",
    "hw:hide_hypervisor_id", "hw:sound_model", "hw:redirected_usb_ports", "hw:tpm_secret_security",
)  # fmt: skip
# Values that ask for nothing.
_NOTHING = ("false", "no", "off", "0", "disabled", "none")
_ONE = ("hw:numa_nodes", "hw:serial_port_count")
_PAGE_SIZES = ("any", "small")


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the machine is to be."""

    disk_kind: bhyve.DiskKind = bhyve.DiskKind.VIRTIO
    nic_kind: bhyve.NicKind = bhyve.NicKind.VIRTIO
    wired: bool = False
    random: bool = True
    cd: bool = False
    limits: tuple[bhyve.Limit, ...] = ()


def _refuse(what: str) -> None:
    raise exception.UnsupportedHardware(model=what, virt="bhyve")


def _flag(name: str, text: str) -> bool:
    try:
        return bool(strutils.bool_from_string(text, strict=True))
    except ValueError:
        raise exception.InvalidInput(reason=f"extra spec {name}={text}: neither true nor false") from None


def _number(specs: dict[str, str], name: str, default: int = 0) -> int:
    text = str(specs.get(name, default))
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise exception.InvalidInput(reason=f"extra spec {name}={text}: not a whole number")
    return int(text)


def read(flavor: Any, image: Any) -> Wishes:
    """The wishes; UnsupportedHardware or InvalidInput for what cannot be had."""
    image_properties.check(image)
    specs = {str(k): str(v) for k, v in (flavor.extra_specs or {}).items()}
    for name, text in specs.items():
        if (
            (name in _REFUSED and text.lower() not in _NOTHING)
            or (name.startswith("beastack:") and name not in OURS)
            or (name == "hw:mem_page_size" and text not in _PAGE_SIZES)
            or (name in _ONE and text not in ("0", "1"))
            or (name == "os:secure_boot" and text == "required")
        ):
            _refuse(f"extra spec {name}={text}")
    bus = image_properties.value(image, "hw_disk_bus") or specs.get("beastack:disk_bus", "virtio")
    if bus not in _KINDS:
        _refuse(f"extra spec beastack:disk_bus={bus}")
    wired = any(_flag(n, specs[n]) for n in ("beastack:wired_memory", "hw:locked_memory") if n in specs)
    return Wishes(
        disk_kind=_KINDS[bus],
        nic_kind=_CARDS[image_properties.value(image, "hw_vif_model") or "virtio"],
        wired=wired or bool(image_properties.value(image, "hw_locked_memory")),
        random=_flag("hw_rng:allowed", specs.get("hw_rng:allowed", "true")),
        cd=image_properties.value(image, "hw_cdrom_bus") == "sata",
        limits=limits(specs, int(flavor.vcpus)),
    )


def limits(specs: dict[str, str], vcpus: int) -> tuple[bhyve.Limit, ...]:
    """Limits of rctl(8). ``cpu_quota`` is of one virtual processor (microseconds in ``cpu_period``), as in libvirt."""
    found = []
    for name, text in specs.items():
        known = name in _RATES or name in ("quota:cpu_quota", "quota:cpu_period")
        if name.startswith("quota:") and not known:
            _refuse(f"extra spec {name}={text}")
    quota = _number(specs, "quota:cpu_quota")
    if quota:
        period = _number(specs, "quota:cpu_period", _PERIOD) or _PERIOD
        found.append(bhyve.Limit("pcpu", max(1, 100 * quota * vcpus // period)))
    for name, resource in _RATES.items():
        amount = _number(specs, name)
        if amount:
            found.append(bhyve.Limit(resource, amount))
    return tuple(found)
