"""The life of one guest, from opening its devices to bhyve's exit status.

Exit statuses are those of 13-bhyve-run.txt: 0 reset, 1 power-off, 3 triple fault, 4 error or destroyed. QEMU tells
by an event how its guest ended. It does not tell a guest that halted for ever (2); such a guest runs on here.
"""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
from collections.abc import Callable

from beastack.sim.bhyve import accel, consoles, load, machine, ppt, process, tap, vmm
from beastack.sim.bhyve.config import Config
from beastack.sim.bhyve.errors import ERROR, Ended, device_failed
from beastack.sim.bhyve.qmp import Qmp
from beastack.sim.zfs import contents

RESET, POWER_OFF, HALT, TRIPLE_FAULT = 0, 1, 2, 3
_REASONS = {
    "guest-reset": RESET,
    "host-qmp-system-reset": RESET,
    "guest-shutdown": POWER_OFF,
    "host-qmp-quit": POWER_OFF,
}
_TICKS = os.sysconf("SC_CLK_TCK")

Handler = Callable[[int], None]


def open_machine(config: Config) -> tuple[vmm.Machine, int]:
    """The entry of the machine, made when it is not there, and the lock on it."""
    name = config.get("name") or ""
    has_rom = config.get("bootrom") is not None
    try:
        entry = vmm.Machine(name)
    except vmm.NoSuchMachine as error:
        raise Ended(ERROR, "bhyve: vm_openf: Invalid argument\n") from error
    if not entry.exists():
        if not has_rom:
            raise Ended(ERROR, "bhyve: no bootrom was configured\n")
        if not vmm.loaded():
            raise Ended(ERROR, "bhyve: vm_openf: No such file or directory\n")
        with contextlib.suppress(FileExistsError):  # another one was quicker: decided by the lock
            entry.create()
    lock = entry.take()
    if has_rom:
        # a machine can be initialised again only when its processors came to rest
        if lock is None or entry.dirty:
            raise Ended(ERROR, "bhyve: vm_openf: Device busy\n")
        return entry, lock
    if lock is None:
        # nothing loaded a guest into it but the bhyve that runs: the devices will say so first
        return entry, -1
    return entry, lock


class Guest:
    """One run."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._selector = selectors.DefaultSelector()
        self._qmp = Qmp()
        self._status: int | None = None
        self._destroyed = False
        self._ports: list[consoles.Port] = []
        self._qemu: subprocess.Popen[bytes] | None = None
        self._shadow = 0

    def run(self) -> int:
        """Everything; the exit status."""
        config = self._config
        machine.topology(config)
        machine.memory_bytes(config.get("memory.size") or "")
        machine.check_simulated(config)
        self._entry, lock = open_machine(config)
        contents.put_right(vmm.host_folder())
        if lock >= 0:
            self._control = self._entry.listen()  # what is asked before the guest runs waits for it
        self._catch_signals()
        machine.check_firmware(config)
        self._accelerator = accel.choose(config.get("bootrom") or "")
        try:
            cables = self._open_devices()
            if lock >= 0 and config.get("bootrom") is None and self._entry.loaded:
                config.set("bootrom", load.firmware() or "")
            if lock < 0 or config.get("bootrom") is None:
                raise Ended(ERROR, "bhyve: no bootrom was configured\n")
            self._entry.set_loaded(False)
            return self._live(cables)
        finally:
            for port in self._ports:
                port.close()

    def _open_devices(self) -> machine.Cables:
        """In the order of their places, as bhyve does: the first that fails is the one that is named."""
        cables = machine.Cables()
        for device in machine.devices(self._config):
            machine.check_files(device)
            if device.emulation in ("virtio-net", "e1000"):
                backend = device.text("backend")
                if not backend.startswith(("tap", "vmnet")):
                    raise device_failed("", "Invalid argument")
                machine.mac_address(device, self._config.get("name") or "")
                cables.taps[device.name] = tap.open_tap(backend)
            elif device.emulation == "passthru":
                cables.passed[device.name] = ppt.assign(self._config, device)
            elif device.emulation == "lpc":
                self._open_consoles(cables)
        return cables

    def _open_consoles(self, cables: machine.Cables) -> None:
        for com in machine.COMS:
            where = self._config.get(f"lpc.{com}.path")
            if where:
                port = consoles.make(self._selector, com, where)
                self._ports.append(port)
                cables.coms[com] = port.theirs.fileno()

    # -- the guest runs

    def _live(self, cables: machine.Cables) -> int:
        cables.qmp = self._qmp.theirs.fileno()
        self._clean_screens()
        line = machine.arguments(self._config, cables, self._accelerator)
        self._entry.set_dirty(True)
        try:
            self._qemu = process.start(line, [cables.qmp, *cables.coms.values()])
        except OSError as error:
            raise Ended(ERROR, f"bhyve: {line[0]}: {error.strerror}\n") from error
        self._qmp.theirs.close()
        for port in self._ports:
            port.theirs.close()
        self._shadow = process.shadow(self._qemu.pid)
        name = self._config.get("name") or ""
        process.set_title(f"bhyve: {name}", "bhyve")
        self._selector.register(self._wake, selectors.EVENT_READ, lambda _mask: self._drain())
        self._selector.register(self._control, selectors.EVENT_READ, lambda _mask: self._answer())
        self._selector.register(self._qmp.socket, selectors.EVENT_READ, lambda _mask: self._events())
        while self._status is None and self._qemu.poll() is None:
            for key, mask in self._selector.select():
                handler: Handler = key.data
                handler(mask)
        return self._finish(self._qemu)

    def _clean_screens(self) -> None:
        """A socket file that was left behind does no harm."""
        for device in machine.devices(self._config):
            if device.emulation == "fbuf" and device.text("rfb").startswith("unix:"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(device.text("rfb").removeprefix("unix:"))  # noqa: PTH108

    def _catch_signals(self) -> None:
        """SIGTERM is the power button; the end of a child wakes the loop."""
        self._wake, self._waker = socket.socketpair()
        for end in (self._wake, self._waker):
            end.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._qmp.command("system_powerdown"))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _drain(self) -> None:
        self._wake.recv(4096)

    def _events(self) -> None:
        for name, data in self._qmp.events():
            if name == "SHUTDOWN":
                self._status = _REASONS.get(str(data.get("reason")), ERROR)
            elif name == "VNC_CONNECTED" and machine.waits_for_viewer(self._config):
                self._qmp.command("cont")
        if self._qemu is not None and self._qemu.poll() is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(self._qmp.socket)

    def _finish(self, qemu: "subprocess.Popen[bytes]") -> int:
        if qemu.poll() is None and self._status in (RESET, POWER_OFF) and not self._destroyed:
            with contextlib.suppress(subprocess.TimeoutExpired):
                qemu.wait(2.0)  # it ends by itself; what the guest said last is still on its way
        if qemu.poll() is None:
            qemu.kill()
            qemu.wait()
        self._events_left()
        os.kill(self._shadow, signal.SIGKILL)
        os.waitpid(self._shadow, 0)
        status = ERROR if self._status is None else self._status
        if self._destroyed:
            return ERROR
        self._entry.set_dirty(False)
        if status == POWER_OFF and self._config.flag("destroy_on_poweroff"):
            self._entry.remove()
        return status

    def _events_left(self) -> None:
        """What QEMU said before it ended: how, and the guest's last words."""
        if self._status is None:
            self._events()
        for key, mask in self._selector.select(0):
            if any(key.fileobj is port.guest for port in self._ports):
                key.data(mask)

    # -- bhyvectl

    def _answer(self) -> None:
        try:
            client, _ = self._control.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        with client:
            client.settimeout(2.0)
            try:
                request = client.recv(256).decode(errors="replace").strip()
                client.sendall(self._do(request).encode())
            except OSError:
                return  # it did not wait for the answer

    def _do(self, request: str) -> str:
        if request == "stats":
            return self._statistics()
        status = {"force-reset": RESET, "force-poweroff": POWER_OFF, "destroy": ERROR}.get(request)
        if status is None:
            return "unknown\n"
        self._status = status
        self._destroyed = request == "destroy"
        if self._qemu is not None:
            self._qemu.kill()
        return "done\n"

    def _statistics(self) -> str:
        if self._qemu is None:
            return ""
        pid = self._qemu.pid
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            with open(f"/proc/{pid}/statm") as file:
                resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (FileNotFoundError, ProcessLookupError):
            return ""
        runtime = (int(fields[11]) + int(fields[12])) * 1_000_000_000 // _TICKS
        return f"{resident} {runtime}\n"
