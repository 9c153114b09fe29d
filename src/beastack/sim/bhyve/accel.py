"""Whether KVM really works here: on some machines it can be opened and then fails at the guest's first steps."""

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
import time
from pathlib import Path

from beastack.sim.bhyve import vmm

_SECONDS = 10.0
TCG = "tcg,tb-size=128"
_PROBE = (
    *("qemu-system-x86_64", "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "128M", "-nodefaults"),
    *("-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"),
)


def choose(bootrom: str) -> str:
    """`kvm` or TCG, from an earlier look on this machine or a new one; BEASTACK_SIM_ACCEL decides, if set."""
    wish = os.environ.get("BEASTACK_SIM_ACCEL")
    if wish in ("kvm", "tcg"):
        return TCG if wish == "tcg" else "kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return TCG
    key = f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {bootrom}"
    known = vmm.host_folder() / "accel.json"
    try:
        found = json.loads(known.read_text())
    except (FileNotFoundError, ValueError):
        found = {}
    if found.get("key") != key:
        found = {"key": key, "kvm": _works(bootrom)}
        known.parent.mkdir(parents=True, exist_ok=True)
        new = known.with_name(f".accel.{os.getpid()}")
        new.write_text(json.dumps(found))
        new.replace(known)
    return "kvm" if found["kvm"] else TCG


def _works(bootrom: str) -> bool:
    """Let the firmware run under KVM until it talks on its serial port."""
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            [*_PROBE, "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={bootrom.replace(',', ',,')}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=words,
        )
        try:
            return _talks(process, words.fileno())
        finally:
            process.kill()
            process.wait()


def _talks(process: "subprocess.Popen[bytes]", words: int) -> bool:
    deadline = time.monotonic() + _SECONDS
    said = process.stdout
    if said is None:
        return False
    with selectors.DefaultSelector() as selector:
        selector.register(said, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            if b"KVM internal error" in os.pread(words, 4096, 0):
                return False
            if selector.select(0.05):
                with contextlib.suppress(OSError):
                    # the first byte is the screen being cleared, long after the processor's first modes
                    return bool(os.read(said.fileno(), 1))
    return False
