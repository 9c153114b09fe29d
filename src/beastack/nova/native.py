"""The native way: a supervisor of our own for each guest (beastack.nova.guest)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from nova.compute import power_state
from oslo_log import log as logging

from beastack.freebsd import bhyve
from beastack.nova import vifs
from beastack.nova.console_places import ConsolePlaces
from beastack.nova.guests import GuestFolder
from beastack.nova.seam import Ended, Life
from beastack.nova.watch import GuestWatch
from beastack.nova.wishes import Wishes
from beastack.privsep import guest_files, interfaces
from beastack.privsep import guests as privileged
from nova import exception

LOG = logging.getLogger(__name__)
_ANSWER_SECONDS = 30.0
# Than what bhyve itself cannot do (refusals.py).
_NOTHING_MORE: Mapping[str, str] = {}

POWER = {
    "starting": power_state.RUNNING,
    "running": power_state.RUNNING,
    "paused": power_state.PAUSED,
    "rebooting": power_state.RUNNING,
    "stopping": power_state.RUNNING,
    "stopped": power_state.SHUTDOWN,
    "crashed": power_state.CRASHED,
    "failed": power_state.SHUTDOWN,
}


class NativeGuest(GuestFolder):
    """See beastack.nova.seam.Guest. What can be read or asked without rights is (state.json, the lock, control.sock);
    what needs root goes through `beastack.privsep.guests`.
    """

    def runs(self) -> bool:
        return guest_files.is_supervised(self.folder)

    def power(self) -> int:
        if not self.is_defined():
            raise exception.InstanceNotFound(instance_id=self.uuid)
        life = self.life()
        return power_state.SHUTDOWN if life is None else POWER[life.state]

    def life(self) -> Life | None:
        state = guest_files.current_state(self.folder)
        return None if state is None else Life(state.state, state.since, state.restarts)

    def start(self) -> None:
        answer = privileged.start_guest(self.uuid)
        if answer.get("state") != "running":
            raise exception.InstancePowerOnFailure(reason=_words(answer))

    def stop(self, grace: int) -> None:
        """Waiting is done here, not in a thread of the privsep helper."""
        if grace > 0 and self.runs():
            request: dict[str, object] = {"do": "stop", "grace": grace}
            try:
                for state in guest_files.ask(self.folder, request, grace + _ANSWER_SECONDS):
                    LOG.debug("Guest %s: %s", self.uuid, state.state)
                guest_files.wait_unsupervised(self.folder, _ANSWER_SECONDS)
            except (guest_files.GuestFileError, OSError) as error:  # the privileged side ends it, however
                LOG.warning("Guest %s does not stop in order: %s", self.uuid, error)
        answer = privileged.stop_guest(self.uuid, 0)
        if answer and answer.get("state") in guest_files.LIVE_STATES:
            raise exception.InstancePowerOffFailure(reason=_words(answer))

    def reset(self) -> bool:
        return bool(privileged.reset_guest(self.uuid).get("state") == "running")

    def pause(self) -> None:
        self._switch(privileged.pause_guest, "paused")

    def unpause(self) -> None:
        self._switch(privileged.resume_guest, "running")

    def _switch(self, change: Callable[[str], dict[str, object]], wanted: str) -> None:
        try:
            answer = change(self.uuid)
        except Exception as error:
            raise exception.InstanceFaultRollback(exception.NovaException(str(error))) from error
        if answer.get("state") != wanted:
            raise exception.InstanceFaultRollback(exception.NovaException(_words(answer)))

    @contextmanager
    def held(self) -> Iterator[None]:
        """It runs on at the end, whoever ends. One that does not run stays so."""
        if not self.runs():
            yield
            return
        with closing(guest_files.ask(self.folder, {"do": "hold"}, _ANSWER_SECONDS)) as asked:
            next(asked, None)
            yield

    def forget(self) -> None:
        privileged.forget_guest(self.uuid)


class NativeRunner:
    """See beastack.nova.seam.Runner."""

    taps_first = True
    cannot = _NOTHING_MORE

    def __init__(self, instances: Path, consoles: ConsolePlaces, ended: Ended) -> None:
        self._instances, self._consoles = instances, consoles
        self._watch = GuestWatch(instances, lambda uuid, _state: ended(uuid))

    def prepare(self) -> None:
        privileged.prepare_host()

    def guest(self, uuid: str) -> NativeGuest:
        return NativeGuest(self._instances, uuid)

    def strays(self) -> list[str]:
        """A supervisor lives in a folder."""
        return []

    def mend(self, uuid: str) -> bool:
        return privileged.mend_guest(uuid).get("state") in guest_files.LIVE_STATES

    def watch(self, uuid: str) -> None:
        self._watch.add(uuid)

    def refused(self, wish: Wishes) -> list[str]:
        return []

    def fit(self, machine: bhyve.Machine, image: Any) -> bhyve.Machine:
        return self._consoles.onto(machine, image)

    def plug(self, instance: Any, network_info: Any) -> None:
        vifs.plug(instance, network_info)

    def unplug(self, taps: list[str]) -> None:
        """bhyve must have ended (`ifconfig tap destroy` does not return before)."""
        for tap in taps:
            interfaces.destroy_interface(tap)


def _words(answer: Mapping[str, object]) -> str:
    return f"{answer.get('state', 'unknown')}: {answer.get('reason', '')}"
