"""Guests through libvirt's `bhyve:///system`: the second way, when `[beastack] hypervisor = libvirt`."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from oslo_log import log as logging

from beastack.freebsd import bhyve
from beastack.nova import config_drive, vifs
from beastack.nova.console_places import ConsolePlaces
from beastack.nova.libvirt import domain, limits
from beastack.nova.libvirt.connection import Connection, LibvirtRefused, NoSuchDomain
from beastack.nova.libvirt.guest import LibvirtGuest
from beastack.nova.libvirt.link import Link, Unreachable
from beastack.nova.seam import Ended, Unusable
from beastack.nova.wishes import Wishes
from beastack.privsep import guest_conf, guest_files, held_taps
from beastack.privsep import guests as privileged
from nova import exception

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 2.0
SETTLE = 0.5  # seconds in which a tap that has its name is in its bridge
_LINES_EVERY = 15  # looks


class LibvirtRunner:
    """See beastack.nova.seam.Runner."""

    taps_first = False
    cannot = limits.CANNOT

    def __init__(
        self,
        instances: Path,
        consoles: ConsolePlaces,
        ended: Ended,
        connect: Callable[[], Connection] = Connection,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._instances, self._consoles, self._ended = instances, consoles, ended
        self._link = Link(connect)
        self._look_seconds = look_seconds
        self._lock = threading.Lock()
        self._running: set[str] = set()
        self._asked: set[str] = set()  # ended on request since the last look began
        self._looks = 0
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def prepare(self) -> None:
        """vmm(4), the bridge that holds taps apart, a libvirt that is new enough. Raises Unusable."""
        privileged.prepare_host()
        held_taps.ensure_holding_bridge()
        try:
            version = self._link.ask(lambda libvirt: libvirt.version())
        except LibvirtRefused as error:
            raise Unusable(f"libvirt: {error}") from error
        if version < limits.OLDEST:
            oldest = limits.words(limits.OLDEST)
            raise Unusable(f"libvirt {limits.words(version)} is too old: {oldest} or later is needed")
        self._keep_looking()

    def guest(self, uuid: str) -> LibvirtGuest:
        return LibvirtGuest(self._instances, uuid, self._link, self._unwatch)

    def _domains(self) -> dict[str, bool]:
        """Domains with our mark: UUID, and whether it runs. Raises Unreachable, LibvirtRefused."""

        def look(libvirt: Connection) -> dict[str, bool]:
            found = {}
            for name in libvirt.names():
                try:
                    if domain.is_ours(libvirt.xml(name), name):
                        found[name] = libvirt.active(name)
                except NoSuchDomain:
                    continue  # removed meanwhile
            return found

        return self._link.ask(look)

    def strays(self) -> list[str]:
        try:
            found = self._domains()
        except (Unreachable, LibvirtRefused) as error:
            LOG.warning("libvirt's domains are not known: %s", error)
            return []
        return sorted(uuid for uuid in found if not (self._instances / uuid / guest_files.MACHINE).is_file())

    def mend(self, uuid: str) -> bool:
        guest = self.guest(uuid)
        try:
            try:
                return guest.mend()
            except held_taps.NotHeld:  # libvirt may be making it just now
                time.sleep(SETTLE)
                return guest.mend()
        except held_taps.NotHeld as error:
            LOG.error("Guest %s is ended, since its frames could pass unfiltered: %s", uuid, error)
            try:
                guest.stop(0)
                self._ended(uuid)
            except exception.InstancePowerOffFailure:  # the next look tries again, as below
                LOG.exception("Guest %s was not ended", uuid)
        except Exception:
            LOG.exception("Guest %s is not as it should be", uuid)
        return False

    # -- looking: libvirt's driver sends no event when a guest ends or reboots by itself (src/bhyve/bhyve_monitor.c)

    def watch(self, uuid: str) -> None:
        with self._lock:
            self._running.add(uuid)
        self._keep_looking()

    def _keep_looking(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="beastack-libvirt", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _unwatch(self, uuid: str) -> None:
        with self._lock:
            self._running.discard(uuid)
            self._asked.add(uuid)

    def _loop(self) -> None:
        while not self._closed.wait(self._look_seconds):
            try:
                self.look()
            except Unusable as error:  # unknown: nobody has ended. The host's health says it to operators
                LOG.debug("libvirt's guests are not known: %s", error)
            except Exception:
                LOG.exception("Looking at libvirt's guests failed")

    def look(self) -> None:
        """Tell of guests that have ended since the last look, and mark taps of those that started anew."""
        with self._lock:
            before = set(self._running)
            self._asked.clear()
        domains = self._domains()
        gone = {uuid for uuid in before if not domains.get(uuid)}
        with self._lock:
            gone &= self._running  # not those that were ended on request meanwhile
            self._running -= gone
            self._running |= {uuid for uuid, runs in domains.items() if runs} - self._asked
        for uuid in sorted(gone):
            LOG.info("Guest %s ended", uuid)
            self._ended(uuid)
        self._looks += 1
        # a guest that reboots by itself gets new taps of libvirt: held, without our mark
        held = set(held_taps.list_held_taps())
        for uuid in sorted(uuid for uuid, runs in domains.items() if runs):
            guest = self.guest(uuid)
            if held & set(guest.taps()) or (self._looks % _LINES_EVERY == 0 and not guest.line_is_held()):
                self.mend(uuid)

    # -- machines and ports

    def refused(self, wish: Wishes) -> list[str]:
        return limits.wishes_refused(wish)

    def fit(self, machine: bhyve.Machine, image: Any) -> bhyve.Machine:
        """The serial line on nmdm(4), no screen, the config drive as a CD: libvirt's driver has no read-only disk."""
        drive = str(self._instances / machine.uuid / config_drive.FILE)
        cd = next((bhyve.Cd(disk.path) for disk in machine.disks if disk.path == drive), machine.cd)
        device = guest_conf.nmdm_device(self._consoles.number(machine.uuid))
        fitted = replace(
            machine,
            console=bhyve.NmdmConsole(device),
            frame_buffer=None,
            disks=tuple(disk for disk in machine.disks if disk.path != drive),
            cd=cd,
        )
        try:
            refused = limits.refused(fitted, self._link.ask(lambda libvirt: libvirt.version()))
        except (Unreachable, LibvirtRefused) as error:
            raise exception.HypervisorUnavailable(str(error)) from error
        if refused:
            reason = f"libvirt's bhyve driver cannot give {'; '.join(refused)}"
            raise exception.BuildAbortException(instance_uuid=machine.uuid, reason=reason)
        return fitted

    def plug(self, instance: Any, network_info: Any) -> None:
        """libvirt makes the taps when the guest starts."""
        vifs.check(instance, network_info or ())

    def unplug(self, taps: list[str]) -> None:
        """libvirt destroys them when the guest ends; what it left behind goes."""
        for tap in taps:
            held_taps.drop_held_tap(tap)
