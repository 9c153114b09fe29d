"""Starting, stopping and forgetting guests with the rights of root.

bhyve(8), bhyvectl(8) and taps need root; nova-compute need not have it. So a caller names a guest by its UUID
and nothing else. The folder comes from this side's own configuration, and `machine.json`, which the caller
wrote, is a wish that is checked value by value: its own files in its own folder, the configured firmware, a
console on the loop-back interface. The checked text is handed to the supervisor, which never reads the file
again.
"""

import contextlib
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from oslo_config import cfg

from beastack.freebsd import bhyve, bhyve_json, bhyve_read, pci
from beastack.freebsd.errors import NoSuchMachine
from beastack.freebsd.host import LocalHost
from beastack.freebsd.process import is_same, kill_and_wait
from beastack.privsep import checks, guest_conf, guest_consoles, guest_files, guest_pins, iscsi, volumes
from beastack.privsep.context import entry, query
from beastack.privsep.guest_files import GuestFileError, GuestState

_START_SECONDS = 40.0
_ANSWER_SECONDS = 30.0  # on top of what was granted to the guest: force-poweroff, kill and the tools between them
_MAX_GRACE = 3600
# One start of a guest at a time: the second finds it supervised.
_STARTS = tuple(threading.Lock() for _ in range(16))
_SUPERVISOR = (sys.executable, "-I", "-m", "beastack.nova.guest.main")


def _refuse(text: str) -> None:
    raise checks.Refused(text)


def _instances() -> Path:
    configured = guest_conf.register(cfg.CONF).instances_path
    if not configured or not Path(configured).is_absolute():
        _refuse(f"[beastack] instances_path = {configured}: not an absolute path")
    return Path(configured)


def place_of(uuid: str) -> Path:
    """Where the guest's folder is or would be: directly below the configured place, never that place itself."""
    if len(checks.uuid(uuid)) != 36:
        _refuse(f"UUID: {uuid!r} is not one in canonical form")
    return _instances() / uuid


def folder_of(uuid: str) -> Path:
    """The guest's folder: a real one."""
    folder = place_of(uuid)
    try:
        found = folder.lstat()
    except FileNotFoundError:
        raise checks.Refused(f"{folder}: there is no such guest") from None
    if not stat.S_ISDIR(found.st_mode):
        _refuse(f"{folder}: not a folder")
    return folder


def check_machine(text: str, uuid: str, folder: Path) -> bhyve.Machine:
    """The machine that the text describes, or Refused."""
    try:
        machine = bhyve_json.load(text)
    except bhyve.BadMachine as error:
        raise checks.Refused(str(error)) from error
    if (machine.uuid, machine.name) != (uuid, uuid):
        _refuse(f"the machine is {machine.name!r} ({machine.uuid}), not {uuid}")
    if machine.bootrom.code != cfg.CONF.beastack.bootrom:
        _refuse(f"bootrom: {machine.bootrom.code!r} is not the configured one")
    guest_consoles.check(machine, cfg.CONF.beastack)
    for device in machine.passthrough:
        _check_passed_through(device)
    for nic in machine.nics:
        checks.tap_name(nic.tap)
    for name in machine.file_paths():
        if not volumes.is_guest_volume(name, uuid) and not iscsi.is_guest_disk(name, uuid):
            _check_own_file(Path(name), folder)
    return machine


def _check_passed_through(device: bhyve.PciDevice) -> None:
    """A device that the configuration gives to guests, and that ppt(4) holds."""
    address = f"{device.bus}/{device.slot}/{device.function}"
    if address not in guest_conf.passthrough(cfg.CONF.beastack):
        _refuse(f"passthrough: {address} is not in [beastack] passthrough")
    if pci.find(LocalHost(), device.bus, device.slot, device.function).driver != "ppt":
        _refuse(f"passthrough: {address} is not held by ppt(4) (pptdevs in loader.conf)")


def _check_own_file(path: Path, folder: Path) -> None:
    """A regular file directly in the guest's folder, under one name only."""
    if path.parent != folder:
        _refuse(f"{path}: not in {folder}")
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise checks.Refused(f"{path}: there is no such file") from None
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        _refuse(f"{path}: not a regular file with one name")


@entry
def prepare_host() -> None:
    """Load vmm(4); loading it again does nothing (`-n`)."""
    LocalHost().run(["kldload", "-n", "vmm"])


def _answer(state: GuestState | None) -> dict[str, object]:
    return {} if state is None else asdict(state)


@entry
def start_guest(uuid: str) -> dict[str, object]:
    """Start the guest as its machine.json says, unless it runs; wait until it runs or has failed."""
    folder = folder_of(uuid)
    with _STARTS[hash(uuid) % len(_STARTS)]:
        _start(uuid, folder)
    return _follow(folder, "watch")


def _start(uuid: str, folder: Path) -> None:
    if not guest_files.is_supervised(folder):
        raw = guest_files.read_regular(folder / guest_files.MACHINE, bhyve_json.MAX_BYTES)
        base = guest_conf.register(cfg.CONF).guests_path
        guest_pins.unpin(base, uuid)
        machine = check_machine(raw.decode(errors="replace"), uuid, folder)
        guest_consoles.prepare(machine)
        if guest_pins.needed(folder):
            machine = guest_pins.pin(machine, folder, base, uuid)
        done = subprocess.run(
            [*_SUPERVISOR, "run", "--dir", str(folder), "--machine", "-", "--detach"],
            input=bhyve_json.dump(machine),
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_START_SECONDS,
            check=False,
        )
        if done.returncode not in (0, 3):  # 3: another caller was quicker
            raise GuestFileError(f"beastack-guest: exit {done.returncode}: {done.stdout.strip()}")


@entry
def pause_guest(uuid: str) -> dict[str, object]:
    """Stop the guest's processors; what it is in afterwards."""
    return _ask_once(folder_of(uuid), "pause")


@entry
def resume_guest(uuid: str) -> dict[str, object]:
    """Let a paused guest run; what it is in afterwards."""
    return _ask_once(folder_of(uuid), "resume")


def _ask_once(folder: Path, do: str) -> dict[str, object]:
    for state in guest_files.ask(folder, {"do": do}, _ANSWER_SECONDS):
        return _answer(state)
    return _answer(guest_files.current_state(folder))


@query
def guest_counters(uuid: str) -> dict[str, int]:
    """The counters of bhyve(8) for a guest that runs (bhyvectl --get-stats); empty when it does not."""
    checks.uuid(uuid)
    with contextlib.suppress(NoSuchMachine):
        return bhyve_read.read_stats(LocalHost(), uuid)
    return {}


def _follow(folder: Path, do: str) -> dict[str, object]:
    """Send a request and wait until the guest runs, or has ended."""
    try:
        for state in guest_files.ask(folder, {"do": do}, _START_SECONDS):
            if state.state in ("running", "paused", *guest_files.END_STATES):
                return _answer(state)
    except (guest_files.NoSupervisor, ConnectionError):
        guest_files.wait_unsupervised(folder, 2.0)  # it ended, or is about to: its last word stands in the file
    return _answer(guest_files.current_state(folder))


@entry
def stop_guest(uuid: str, graceful_seconds: int) -> dict[str, object]:
    """Press the power button, by force after `graceful_seconds`; wait for the end. Nothing to do is fine."""
    checks.number(graceful_seconds, 0, _MAX_GRACE, "graceful_seconds")
    return _answer(_stop(uuid, folder_of(uuid), graceful_seconds))


def _stop(uuid: str, folder: Path, grace: int) -> GuestState | None:
    if guest_files.is_supervised(folder):
        try:
            for _state in guest_files.ask(folder, {"do": "stop", "grace": grace}, grace + _ANSWER_SECONDS):
                continue  # until it closes the connection
            ended = guest_files.wait_unsupervised(folder, _ANSWER_SECONDS)
        except (guest_files.NoSupervisor, ConnectionError):
            ended = guest_files.wait_unsupervised(folder, 2.0)  # it was about to end
        except TimeoutError:
            ended = False
        if not ended:
            _end_supervisor(folder)
    _mend(uuid, folder)
    return guest_files.current_state(folder)


def _end_supervisor(folder: Path) -> None:
    """End a supervisor that does not answer; what it leaves is mended afterwards."""
    state = guest_files.read_state(folder, owner=os.geteuid())
    if state is not None and is_same(state.supervisor_pid, state.supervisor_mark):
        kill_and_wait(state.supervisor_pid, state.supervisor_mark, 10.0)
    if not guest_files.wait_unsupervised(folder, 2.0):
        raise GuestFileError(f"{folder}: the supervisor of the guest neither answers nor ends")


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    lock = guest_files.take_lock(folder, 5.0)
    if lock is None:
        raise GuestFileError(f"{folder}: the guest was started meanwhile")
    try:
        yield
    finally:
        os.close(lock)


def _mend(uuid: str, folder: Path) -> None:
    """End what a lost supervisor left behind: its bhyve, its /dev/vmm entry, its live state."""
    with _owned(folder):
        try:
            state = guest_files.read_state(folder, owner=os.geteuid())
        except GuestFileError:  # not what a supervisor wrote: nothing in it is believed
            (folder / guest_files.STATE).unlink()
            _destroy_vm(uuid)
            return
        if state is None or state.state in guest_files.END_STATES:
            return
        guest_files.kill_stray(folder)
        _destroy_vm(uuid)
        state.state, state.reason = "failed", "the supervisor of the guest was lost"
        state.bhyve_pid, state.bhyve_mark = 0, ""
        guest_files.write_whole(folder / guest_files.STATE, state.to_json().encode(), 0o644)


def _destroy_vm(uuid: str) -> None:
    """Ends a bhyve of this name, too (13-bhyve-run.txt, "destroyed while running"); not there is fine."""
    LocalHost().run(["bhyvectl", f"--vm={uuid}", "--destroy"], check=False)


@entry
def mend_guest(uuid: str) -> dict[str, object]:
    """After a crash of the supervisor: leave no bhyve that nobody knows. A guest that is well is left
    alone.
    """
    folder = folder_of(uuid)
    if not guest_files.is_supervised(folder):
        _mend(uuid, folder)
    return _answer(guest_files.current_state(folder))


@entry
def reset_guest(uuid: str) -> dict[str, object]:
    """Press the reset button; wait until the guest runs again (or ended)."""
    folder = folder_of(uuid)
    return _follow(folder, "reset")


@entry
def forget_guest(uuid: str) -> None:
    """End the guest, however, and remove what its supervisor left, so that its owner can remove the
    folder.
    """
    folder = place_of(uuid)
    if not os.path.lexists(folder):
        guest_pins.unpin(guest_conf.register(cfg.CONF).guests_path, uuid)
        return
    _stop(uuid, folder_of(uuid), 0)
    for name in guest_files.RUNTIME_FILES:
        (folder / name).unlink(missing_ok=True)
    guest_pins.unpin(guest_conf.register(cfg.CONF).guests_path, uuid)


@entry
def guest_state(uuid: str) -> dict[str, object]:
    """What the supervisor says, corrected when it is gone; empty when the guest was never started."""
    return _answer(guest_files.current_state(folder_of(uuid)))
