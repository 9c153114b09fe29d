"""Which values of an image's hardware properties a guest can be given, and why no others: docs/compute.md shows it.

    python -m beastack.nova.image_properties        prints the table

A property that nobody set asks for nothing. Those that are not here are the scheduler's, the guest's own, or hints.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nova import exception

_TPM = "guests have no TPM"
_CRYPT = "disks and memory of guests are not encrypted"
_QEMU = "it is a part of QEMU's machines"
_CONSOLE = "a guest has one serial console"


@dataclass(frozen=True, slots=True)
class Property:
    """One of nova's image properties (nova/objects/image_meta.py): the values that are served, and why no other is."""

    name: str
    served: tuple[Any, ...]
    why: str


PROPERTIES: Sequence[Property] = (
    Property("hw_disk_bus", ("virtio", "sata"), "bhyve emulates no such disk"),
    Property("hw_rescue_bus", ("virtio", "sata"), "bhyve emulates no such disk"),
    Property("hw_rescue_device", ("disk",), "the rescue image is a disk"),
    Property("hw_cdrom_bus", ("sata",), "bhyve's CD drives are AHCI ones"),
    Property("hw_floppy_bus", (), "bhyve has no floppy drive"),
    Property("hw_scsi_model", (), "disks are not SCSI ones"),
    Property("hw_vif_model", ("virtio", "e1000"), "bhyve emulates no such card"),
    Property("hw_vif_multiqueue_enabled", (False,), "bhyve's cards have one queue"),
    Property("hw_firmware_type", ("uefi",), "guests start by UEFI"),
    Property("hw_firmware_stateless", (False,), "a guest keeps its UEFI variables"),
    Property("hw_boot_menu", (False,), "the firmware has no menu of nova's"),
    Property("hw_ipxe_boot", (False,), "guests do not start from the network"),
    Property("hw_machine_type", (), _QEMU),
    Property("hw_architecture", ("x86_64",), "bhyve's guests have the host's processor"),
    Property("hw_emulation_architecture", ("x86_64",), "bhyve's guests have the host's processor"),
    Property("hw_vm_mode", ("hvm",), "bhyve's guests are fully virtual"),
    Property("hw_pmu", (False,), "bhyve gives guests no performance counters"),
    Property("hw_numa_nodes", (1,), "a guest has one NUMA node"),
    Property("hw_mem_page_size", ("any", "small"), "the size of pages is FreeBSD's choice"),
    Property("hw_mem_encryption", (False,), _CRYPT),
    Property("hw_mem_encryption_model", (), _CRYPT),
    Property("hw_ephemeral_encryption", (False,), _CRYPT),
    Property("hw_tpm_version", (), _TPM),
    Property("hw_tpm_model", (), _TPM),
    Property("hw_viommu_model", (), "guests have no IOMMU"),
    Property("hw_virtio_packed_ring", (False,), "bhyve has no packed rings"),
    Property("hw_maxphysaddr_mode", (), _QEMU),
    Property("hw_rng_model", ("virtio",), "bhyve's is virtio-rnd"),
    Property("hw_watchdog_action", ("disabled",), "bhyve has no watchdog"),
    Property("hw_serial_port_count", (0, 1), _CONSOLE),
    Property("hw_video_model", ("vga", "gop", "none"), "bhyve's screen is a plain frame buffer"),
    Property("hw_input_bus", ("usb",), "a screen has a USB tablet"),
    Property("hw_pointer_model", ("usbtablet",), "a screen has a USB tablet"),
    Property("hw_sound_model", (), "guests have no sound card"),
    Property("hw_usb_model", ("qemu-xhci",), "bhyve's USB is XHCI"),
    Property("hw_redirected_usb_ports", (0,), "no USB devices are handed on to guests"),
    Property("img_hide_hypervisor_id", (False,), "bhyve names itself to its guests"),
    Property("os_require_quiesce", (False,), "guests have no agent that could freeze their file systems"),
    Property("os_secure_boot", ("disabled", "optional"), "the firmware has no keys of Secure Boot"),
    Property("os_command_line", (), "kernels come from the guest's disk"),
)


def value(image: Any, name: str) -> Any:
    """What the image sets; None when nothing."""
    return image.properties.get(name) if image is not None else None


def check(image: Any) -> None:
    """Raises UnsupportedHardware, with the property, its value and the reason."""
    for known in PROPERTIES:
        found = value(image, known.name)
        if found is not None and found not in known.served:
            raise exception.UnsupportedHardware(model=f"{known.name}={found} ({known.why})", virt="bhyve")


def table() -> str:
    """The properties as Markdown."""
    lines = ["| image property | served | any other is refused |", "| --- | --- | --- |"]
    lines += [
        f"| `{each.name}` | {', '.join(f'`{one}`' for one in each.served) or 'none'} | {each.why} |"
        for each in PROPERTIES
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
