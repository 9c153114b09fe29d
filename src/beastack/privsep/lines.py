"""Entry points for the serial line of a guest that libvirt runs: a process of root's that reads nmdm(4) from the first
moment, keeps the log and serves viewers. On the native path the guest's supervisor does that.
"""

import os
import subprocess
import sys
import threading

from oslo_config import cfg

from beastack.freebsd import bhyve, bhyve_json
from beastack.freebsd.process import is_same, kill_and_wait
from beastack.privsep import checks, guest_conf, guest_consoles, guest_files, guests
from beastack.privsep.context import entry

_START_SECONDS = 20.0
_END_SECONDS = 10.0
_HOLDER = (sys.executable, "-I", "-m", "beastack.nova.guest.main", "line")
_STARTS = threading.Lock()


@entry
def start_line(uuid: str) -> None:
    """Hold the line that the guest's machine.json names, unless it is held. Raises Refused, GuestFileError."""
    folder = guests.folder_of(uuid)
    with _STARTS:
        if guest_files.is_supervised(folder, guest_files.LINE_LOCK):
            return
        raw = guest_files.read_regular(folder / guest_files.MACHINE, bhyve_json.MAX_BYTES)
        try:
            machine = bhyve_json.load(raw.decode(errors="replace"))
        except bhyve.BadMachine as error:
            raise checks.Refused(str(error)) from error
        guest_consoles.check(machine, guest_conf.register(cfg.CONF))
        if not isinstance(machine.console, bhyve.NmdmConsole):
            raise checks.Refused("console: not on nmdm(4)")
        guest_consoles.prepare(machine)
        done = subprocess.run(
            [*_HOLDER, "--dir", str(folder), "--device", machine.console.device],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_START_SECONDS,
            check=False,
        )
    if done.returncode not in (0, 3):  # 3: another caller was quicker
        raise guest_files.GuestFileError(f"beastack-guest line: exit {done.returncode}: {done.stdout.strip()}")


@entry
def stop_line(uuid: str) -> None:
    """Let the line go; the log stays. Not held, or no such guest, is fine."""
    folder = guests.place_of(uuid)
    if not os.path.lexists(folder):
        return
    folder = guests.folder_of(uuid)
    if guest_files.is_supervised(folder, guest_files.LINE_LOCK):
        state = guest_files.read_state(folder, owner=os.geteuid(), name=guest_files.LINE)
        if state is not None and is_same(state.supervisor_pid, state.supervisor_mark):
            kill_and_wait(state.supervisor_pid, state.supervisor_mark, _END_SECONDS)
        if not guest_files.wait_unsupervised(folder, _END_SECONDS, guest_files.LINE_LOCK):
            raise guest_files.GuestFileError(f"{folder}: the holder of the guest's line does not end")
    for name in (guest_files.LINE, guest_files.CONSOLE):
        (folder / name).unlink(missing_ok=True)
