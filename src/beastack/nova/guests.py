"""One guest of the host as the driver sees it: its folder, its state, starting and stopping it.

What can be read or asked without rights is (state.json, the lock, control.sock); what needs root goes through
`beastack.privsep.guests`.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from nova.compute import power_state
from oslo_log import log as logging

from beastack.freebsd import bhyve, bhyve_json
from beastack.privsep import guest_files
from beastack.privsep import guests as privileged
from nova import exception

LOG = logging.getLogger(__name__)
_ANSWER_SECONDS = 30.0
_CONSOLE_BYTES = 100 * 1024
_LOG_BYTES = 2 << 20

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


class Guest:
    """A guest by its UUID, whether it is there or not."""

    def __init__(self, instances: Path, uuid: str) -> None:
        self.uuid = uuid
        self.folder = instances / uuid

    def is_defined(self) -> bool:
        """Whether the host knows it: it has a machine.json."""
        return (self.folder / guest_files.MACHINE).is_file()

    def state(self) -> guest_files.GuestState | None:
        """What the supervisor says; None before the first start."""
        return guest_files.current_state(self.folder)

    def power(self) -> int:
        """Nova's power state."""
        if not self.is_defined():
            raise exception.InstanceNotFound(instance_id=self.uuid)
        state = self.state()
        return power_state.SHUTDOWN if state is None else POWER[state.state]

    def machine(self) -> bhyve.Machine:
        """What machine.json says. Raises InstanceNotFound, BadMachine."""
        try:
            text = guest_files.read_regular(self.folder / guest_files.MACHINE, bhyve_json.MAX_BYTES)
        except FileNotFoundError:
            raise exception.InstanceNotFound(instance_id=self.uuid) from None
        return bhyve_json.load(text.decode(errors="replace"))

    def is_as(self, machine: bhyve.Machine) -> bool:
        """Whether machine.json says the same."""
        try:
            return self.machine() == machine
        except (exception.InstanceNotFound, bhyve.BadMachine, guest_files.GuestFileError):
            return False

    def define(self, machine: bhyve.Machine) -> bool:
        """Write machine.json; True when it says something new."""
        path, text = self.folder / guest_files.MACHINE, bhyve_json.dump(machine).encode()
        if path.is_file() and guest_files.read_regular(path, bhyve_json.MAX_BYTES) == text:
            return False
        guest_files.write_whole(path, text, 0o600)
        return True

    def start(self) -> None:
        """Start it, unless it runs; bhyve's words when it does not."""
        answer = privileged.start_guest(self.uuid)
        if answer.get("state") != "running":
            raise exception.InstancePowerOnFailure(reason=_words(answer))

    def stop(self, grace: int) -> None:
        """Power button, after `grace` seconds by force. Waiting is done here, not in a thread of the
        privsep helper.
        """
        if grace > 0 and guest_files.is_supervised(self.folder):
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
        """Press the reset button; False when that did not make it run."""
        return bool(privileged.reset_guest(self.uuid).get("state") == "running")

    def pause(self) -> None:
        """Stop its processors."""
        self._switch(privileged.pause_guest, "paused")

    def unpause(self) -> None:
        """Let it run on."""
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
        """The guest stands still within; it runs on at the end, whoever ends. One that does not run stays so."""
        if not guest_files.is_supervised(self.folder):
            yield
            return
        with closing(guest_files.ask(self.folder, {"do": "hold"}, _ANSWER_SECONDS)) as asked:
            next(asked, None)
            yield

    def console_output(self) -> bytes:
        """The end of what it wrote on its serial console."""
        data = b""
        for name in (f"{guest_files.CONSOLE_LOG}.1", guest_files.CONSOLE_LOG):
            try:
                data += guest_files.read_regular(self.folder / name, _LOG_BYTES)
            except FileNotFoundError:
                continue  # not that much was written yet
        return data[-_CONSOLE_BYTES:]


def _words(answer: dict[str, object]) -> str:
    return f"{answer.get('state', 'unknown')}: {answer.get('reason', '')}"
