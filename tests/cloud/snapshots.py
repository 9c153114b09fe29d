"""A snapshot of a running server, held against what the guest wrote and when."""

import subprocess
from pathlib import Path
from typing import Any

from .conftest import until
from .guest import Guest

EARLY, LATE = 1_000_000, 2_000_000
LIMIT = 180


def taken_amid_writes(api: Any, server: Any, guest: Guest, folder: Path) -> None:
    """Take one while the guest writes numbers to two sectors in turn, each synced before the next: what was synced is
    in the image, and nothing of a later moment without what lies before it. The guest runs on.
    """
    write = "{ echo $i | dd of=/dev/vda bs=512 seek=%d conv=notrunc 2>/dev/null; sync; }"
    loop = f"i=0; while :; do i=$((i+1)); {write % EARLY} && {write % LATE}; done"
    guest.check(f"({loop}) </dev/null & echo $! >/tmp/w")

    def last() -> int:
        read = f"dd if=/dev/vda bs=512 skip={LATE} count=1 2>/dev/null | head -1 | tr -d '\\000'"
        found = guest.check(read)
        return int(found) if found.isdigit() else 0

    until("the guest to write", lambda: last() > 3, 30)
    synced = last() - 1  # what is read may not be on the disk yet; the number before it is
    image = api.compute.create_server_image(server, "taken-amid-writes", wait=True, timeout=LIMIT)
    try:
        assert api.compute.get_server(server).status == "ACTIVE"
        after = last()
        until("the guest to write on", lambda: last() > after, 30)
        guest.ends("/tmp/w")
        file = folder / "snapshot"
        api.image.download_image(image.id, output=str(file))
    finally:
        api.image.delete_image(image.id)
    first, second = (_number(file, sector) for sector in (EARLY, LATE))
    assert synced <= second <= first <= second + 1, (synced, second, first)
    assert first < after, "written on while the snapshot was uploaded"


def _number(qcow2: Path, sector: int) -> int:
    """What the guest wrote to a sector of an image."""
    out = qcow2.with_suffix(f".{sector}")
    argv = ["qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=512", f"skip={sector}", f"count={sector + 1}"]
    subprocess.run([*argv, f"if={qcow2}", f"of={out}"], capture_output=True, timeout=60, check=True)
    return int(out.read_bytes().splitlines()[0])
