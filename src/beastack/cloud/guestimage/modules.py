"""Which kernel modules a guest needs, in the order in which they are to be loaded."""

import re
from pathlib import Path

from beastack.cloud.guestimage.errors import BuildFailed

# The button and its event device are the ACPI power button.
WANTED = ("virtio_pci", "virtio_net", "virtio_blk", "virtio_rng", "virtio_console", "button", "evdev")


def _name(path: Path) -> str:
    return path.name.partition(".")[0].replace("-", "_")


def _info(data: bytes, key: bytes) -> str:
    found = re.search(rb"\0" + key + rb"=([^\0]*)\0", data)
    return found[1].decode() if found else ""


def ordered(tree: Path, wanted: tuple[str, ...] = WANTED) -> list[Path]:
    """Files of the wanted modules and of all that they depend on, each after what it needs.

    A module that the kernel has built in is left out.
    """
    files = {_name(path): path for path in sorted(tree.rglob("*.ko"))}
    builtin = {_name(Path(line)) for path in tree.rglob("modules.builtin") for line in path.read_text().split()}
    order: list[Path] = []

    def add(name: str, needed_by: str) -> None:
        if name in builtin:
            return
        if name not in files:
            raise BuildFailed(f"the kernel has no module {name} ({needed_by})")
        path = files[name]
        if path in order:
            return
        for needed in filter(None, _info(path.read_bytes(), b"depends").split(",")):
            add(needed.replace("-", "_"), name)
        order.append(path)

    for name in wanted:
        add(name, "wanted")
    return order
