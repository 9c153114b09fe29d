"""One guest of the host through libvirt.

A domain is there from a guest's start to its stop: what a guest that is stopped will be stands in its folder alone, as
on the native path. Domains carry our mark and nova's UUID; one without the mark is somebody else's, and is left alone
also when it has the UUID.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nova.compute import power_state
from oslo_log import log as logging

from beastack.freebsd import bhyve
from beastack.nova.guests import GuestFolder
from beastack.nova.libvirt import domain, limits
from beastack.nova.libvirt.connection import Connection, LibvirtRefused, NoSuchDomain
from beastack.nova.libvirt.link import Link, Unreachable
from beastack.nova.seam import Life
from beastack.privsep import guest_files, held_taps, lines
from beastack.privsep import guests as privileged
from nova import exception

LOG = logging.getLogger(__name__)
PORTS = "ports.json"
_MOST = 64 * 1024
PRESS_AGAIN = 10.0  # seconds: a guest before its kernel ignores the power button
_LOOK = 0.5
_LIVE = (power_state.RUNNING, power_state.PAUSED)


class LibvirtGuest(GuestFolder):
    """See beastack.nova.seam.Guest. ``asked`` is told before a guest is ended on request."""

    def __init__(self, instances: Path, uuid: str, link: Link, asked: Callable[[str], None]) -> None:
        super().__init__(instances, uuid)
        self._link, self._asked = link, asked

    # -- what it is

    def define(self, machine: bhyve.Machine, ports: Mapping[str, str] | None = None) -> bool:
        if ports is not None:
            guest_files.write_whole(self.folder / PORTS, json.dumps(dict(ports), sort_keys=True).encode(), 0o600)
        return super().define(machine)

    def ports(self) -> dict[str, str]:
        """Tap to port UUID. Raises GuestFileError."""
        try:
            found = json.loads(guest_files.read_regular(self.folder / PORTS, _MOST))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise guest_files.GuestFileError(f"{self.folder / PORTS}: {error}") from error
        return {str(tap): str(port) for tap, port in found.items()}

    # -- whether it runs

    def is_defined(self) -> bool:
        return super().is_defined() or self._stray()

    def _stray(self) -> bool:
        """A domain of ours without a folder: unknown is not absent."""
        try:
            return self._state() is not None
        except Unreachable:
            return False

    def _state(self) -> int | None:
        """Nova's power state of its domain, None when there is none. Raises Unreachable, LibvirtRefused."""
        try:
            return self._link.ask(lambda libvirt: _require_ours(libvirt, self.uuid).state(self.uuid))
        except NoSuchDomain:
            return None

    def runs(self) -> bool:
        """Also when a supervisor of the native path still runs it."""
        if guest_files.is_supervised(self.folder):
            return True
        try:
            return self._state() in _LIVE
        except (Unreachable, LibvirtRefused) as error:
            raise exception.HypervisorUnavailable(str(error)) from error

    def power(self) -> int:
        if guest_files.is_supervised(self.folder):
            return power_state.RUNNING
        try:
            state = self._state()
        except (Unreachable, LibvirtRefused) as error:
            if not super().is_defined():
                raise exception.HypervisorUnavailable(str(error)) from error
            LOG.warning("The state of guest %s is not known: %s", self.uuid, error)
            return power_state.NOSTATE
        if state is None and not super().is_defined():
            raise exception.InstanceNotFound(instance_id=self.uuid)
        return power_state.SHUTDOWN if state is None else state

    def life(self) -> Life | None:
        state = self.power()
        return Life(str(power_state.STATE_MAP[state]))

    # -- changes

    def start(self) -> None:
        """The domain, its line, its taps. When one of them fails none is left."""
        if guest_files.is_supervised(self.folder):
            raise exception.InstancePowerOnFailure(
                reason="a supervisor of the native path runs it: stop the server first"
            )
        if self.runs():
            self._adopt()
            return
        try:
            held_taps.ensure_holding_bridge()
            for tap in self.taps():
                held_taps.drop_held_tap(tap)  # libvirt gives no tap a name that is taken
            lines.start_line(self.uuid)
            version = self._link.ask(lambda libvirt: libvirt.version())
            machine = self.machine()
            xml = domain.render(machine, {nic.tap: held_taps.HOLDING for nic in machine.nics}, version)
            self._link.ask(lambda libvirt: _replace(libvirt, self.uuid, xml))
            self._link.ask(lambda libvirt: libvirt.create(self.uuid))
            self._adopt()
        except Exception as error:
            LOG.exception("Guest %s was not started", self.uuid)
            try:
                self._end()
            except (Unreachable, LibvirtRefused) as worse:
                LOG.error("Guest %s: what is left of the try is ended later: %s", self.uuid, worse)
            raise exception.InstancePowerOnFailure(reason=str(error)) from error

    def _adopt(self) -> None:
        """Mark the taps that libvirt made for it, so that the L2 agent wires them. Raises what the privileged side
        raises: a tap that is not held apart must not stay.
        """
        ports = self.ports()
        for tap in self.taps():
            if tap not in ports:
                raise guest_files.GuestFileError(f"{self.folder / PORTS}: does not say which port {tap} is")
            held_taps.adopt_tap(tap, f"beastack:port:{ports[tap]}")

    def stop(self, grace: int) -> None:
        self._asked(self.uuid)
        try:
            if grace > 0:
                self._press(grace)
            self._end()
        except (Unreachable, LibvirtRefused) as error:
            raise exception.InstancePowerOffFailure(reason=str(error)) from error

    def _press(self, grace: int) -> None:
        """The power button, again every 10 s, until it has ended or the time is over."""
        deadline, again = time.monotonic() + grace, 0.0
        while self._state() in _LIVE and time.monotonic() < deadline:
            if time.monotonic() >= again:
                self._link.ask(lambda libvirt: libvirt.shutdown(self.uuid))
                again = time.monotonic() + PRESS_AGAIN
            # no event tells of it (runner.py)
            time.sleep(min(_LOOK, max(0.0, deadline - time.monotonic())))

    def _end(self) -> None:
        """Its domain goes, if it has one of ours, and its taps with it; and what the native path has of it."""

        def end(libvirt: Connection) -> None:
            _require_ours(libvirt, self.uuid)
            libvirt.destroy(self.uuid)
            libvirt.undefine(self.uuid)

        try:
            self._link.ask(end)
        except NoSuchDomain:
            LOG.debug("Guest %s has no domain", self.uuid)
        if guest_files.is_supervised(self.folder):
            privileged.stop_guest(self.uuid, 0)
        for tap in self.taps():
            held_taps.drop_held_tap(tap)

    def reset(self) -> bool:
        """libvirt's driver has no reset that a guest cannot refuse."""
        return False

    def pause(self) -> None:
        raise exception.InstanceFaultRollback(exception.NovaException(limits.CANNOT["pause"]))

    def unpause(self) -> None:
        raise exception.InstanceFaultRollback(exception.NovaException(limits.CANNOT["unpause"]))

    @contextmanager
    def held(self) -> Iterator[None]:
        if self.runs():
            raise exception.InstanceQuiesceNotSupported(limits.CANNOT_HOLD)
        yield

    def forget(self) -> None:
        self._asked(self.uuid)
        try:
            self._end()
        except (Unreachable, LibvirtRefused) as error:
            raise exception.InstancePowerOffFailure(reason=str(error)) from error
        lines.stop_line(self.uuid)
        privileged.forget_guest(self.uuid)  # what an earlier life on the native path left
        (self.folder / PORTS).unlink(missing_ok=True)

    def line_is_held(self) -> bool:
        """Whether somebody reads its serial line."""
        return guest_files.is_supervised(self.folder, guest_files.LINE_LOCK)

    def mend(self) -> bool:
        """After a crash, of nova-compute or of the start of a guest. Whether it runs."""
        state = self._state()
        if state in _LIVE:
            lines.start_line(self.uuid)
            self._adopt()
        return state in _LIVE


def _require_ours(libvirt: Connection, uuid: str) -> Connection:
    """Raises LibvirtRefused for somebody else's domain, NoSuchDomain."""
    if not domain.is_ours(libvirt.xml(uuid), uuid):
        raise LibvirtRefused(f"the domain {uuid} does not carry Beastack's mark: left alone")
    return libvirt


def _replace(libvirt: Connection, uuid: str, xml: str) -> None:
    """Define it, or define it anew; never over somebody else's."""
    try:
        _require_ours(libvirt, uuid)
    except NoSuchDomain:
        LOG.debug("Guest %s has no domain yet", uuid)
    libvirt.define(xml)
