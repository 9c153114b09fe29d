"""The seam between nova's verbs and what runs a guest on this host.

Above it: disks, machines, images, volumes, moving, all of nova's contract. Below it: the native way, a supervisor of
our own for each guest (`native.py`), and the second way, libvirt (`libvirt/runner.py`). What a guest is stands in its
folder (machine.json) in both; a runner says whether it runs, and makes it so.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from beastack.freebsd import bhyve
from beastack.nova.wishes import Wishes

# Told with a guest's UUID when it has ended and nobody asked for it.
Ended = Callable[[str], None]


class Unusable(Exception):
    """The runner cannot run guests now; the text is the reason that operators read in `service list`."""


@dataclass(frozen=True, slots=True)
class Life:
    """A guest that was started: the state in the runner's own words, since when (seconds of time(); None: not known),
    and how often it has started anew since.
    """

    state: str
    since: float | None = None
    restarts: int = 0


class Guest(Protocol):
    """One guest, whether it is there or not. Every change may be repeated."""

    uuid: str
    folder: Path

    def is_defined(self) -> bool:
        """Whether the host knows it."""
        ...

    def machine(self) -> bhyve.Machine:
        """What it is at its next start. Raises InstanceNotFound, BadMachine."""
        ...

    def is_as(self, machine: bhyve.Machine) -> bool:
        """Whether that is the same."""
        ...

    def define(self, machine: bhyve.Machine, ports: Mapping[str, str] | None = None) -> bool:
        """What it is to be at its next start; ``ports``: tap to port UUID, None: as before. True: it is another one."""
        ...

    def taps(self) -> list[str]:
        """Taps that its last machine had."""
        ...

    def runs(self) -> bool:
        """Whether it runs, paused or not. Raises HypervisorUnavailable when that cannot be known."""
        ...

    def power(self) -> int:
        """Nova's power state; NOSTATE when it cannot be known. Raises InstanceNotFound."""
        ...

    def life(self) -> Life | None:
        """None before its first start."""
        ...

    def start(self) -> None:
        """Start it, unless it runs. Raises InstancePowerOnFailure."""
        ...

    def stop(self, grace: int) -> None:
        """Power button, after ``grace`` seconds by force. Raises InstancePowerOffFailure."""
        ...

    def reset(self) -> bool:
        """Press the reset button; False when that did not make it run: stop and start it."""
        ...

    def pause(self) -> None:
        """Stop its processors. Raises InstanceFaultRollback."""
        ...

    def unpause(self) -> None:
        """Let it run on. Raises InstanceFaultRollback."""
        ...

    def held(self) -> AbstractContextManager[None]:
        """The guest stands still within. Raises InstanceQuiesceNotSupported when it runs and cannot."""
        ...

    def console_output(self) -> bytes:
        """The end of what it wrote on its serial console."""
        ...

    def forget(self) -> None:
        """End it, however, and remove what the runner has of it; its folder stays."""
        ...


class Runner(Protocol):
    """All guests of this host."""

    # Whether taps are made, and wired, before a guest starts; otherwise starting it makes them.
    taps_first: bool
    # Methods of nova's driver that this way cannot do, and why.
    cannot: Mapping[str, str]

    def prepare(self) -> None:
        """Make ready what guests need. Raises Unusable and what the privileged side raises."""
        ...

    def guest(self, uuid: str) -> Guest:
        """One guest."""
        ...

    def strays(self) -> list[str]:
        """Guests of ours that run without a folder. Empty when it cannot be known."""
        ...

    def mend(self, uuid: str) -> bool:
        """At the start: put right what a crash left, and end no guest that is well. Whether it runs."""
        ...

    def watch(self, uuid: str) -> None:
        """Tell when it ends, from now on."""
        ...

    def refused(self, wish: Wishes) -> list[str]:
        """What flavor and image ask for and this way cannot give, with the reason; before anything is made."""
        ...

    def fit(self, machine: bhyve.Machine, image: Any) -> bhyve.Machine:
        """The machine as this runner can run it, with its console and screen. Raises BuildAbortException."""
        ...

    def plug(self, instance: Any, network_info: Any) -> None:
        """What the ports need before the guest starts. Raises VirtualInterfacePlugException."""
        ...

    def unplug(self, taps: list[str]) -> None:
        """The ports are gone; no guest that runs holds one of these taps."""
        ...
