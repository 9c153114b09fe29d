"""The life of one guest.

                     +---------------------- restart (bhyvectl --destroy first) ---------------+
                     v                                                                         |
    (start) --> starting --console bound--> running --exit 0, or reset asked--> rebooting -----+
                  |  |                       |   |                                |
                  |  +--stop---+   +---stop--+   | exit 1, 2: stopped             +--stop--> stopped
                  |            v   v             | exit 3:    crashed
                  |          stopping            | exit 4, signal, other: failed
                  |             | any exit       v
                  |             +----------> stopped | crashed | failed   (the supervisor ends)
                  +--exit as from running-------^

Exit states of bhyve are those of 13-bhyve-run.txt. Stopping is SIGTERM (the ACPI power button; again every 10
s, because a guest before its kernel ignores it), at the deadline `bhyvectl --force-poweroff`, then SIGKILL. A
reset is `bhyvectl --force-reset`, then SIGKILL. Pausing is SIGSTOP and SIGCONT (13: "really pauses a guest"): running
<--> paused; a hold is the same for as long as somebody's connection lasts, and no state of its own. A guest that
reboots at once again and again is restarted ever more slowly and at last declared failed. The process depends on
nobody: it ignores SIGHUP and outlives nova-compute and the privsep helper; SIGTERM (the host shuts down) stops the
guest. Standard library only.
"""

import contextlib
import selectors
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from beastack.freebsd.bhyve import Capabilities, Machine, argv
from beastack.nova.guest.bhyve_child import BhyveChild, bhyvectl, destroy_vm, meaning, run_tool, say
from beastack.nova.guest.console import ConsoleHub
from beastack.nova.guest.control import ControlServer
from beastack.nova.guest.journal import Journal
from beastack.nova.guest.screen import ScreenDoor
from beastack.privsep.guest_files import (
    CONSOLE,
    CONSOLE_LOG,
    CONTROL,
    LIVE_STATES,
    SCREEN,
    STATE,
    GuestState,
    write_whole,
)

TERM_AGAIN = 10.0  # seconds between two presses of the power button
FORCE_SECONDS = 10.0  # bhyve may take this long to obey bhyvectl
HOST_SHUTDOWN_GRACE = 60.0
RUNNING_WITHOUT_CONSOLE = 15.0
QUICK = 5.0  # a run shorter than this counts towards the limit
QUICK_FREE = 3  # so many quick restarts are not delayed
QUICK_LIMIT = 20
MAX_DELAY = 30.0

Handler = Callable[[int, float], None]


class Supervisor:
    """Runs in the guest's folder, holding its lock, until the guest has ended."""

    def __init__(self, machine: Machine, can: Capabilities, state: GuestState, owner: int | None) -> None:
        self._machine, self._can, self._state, self._owner = machine, can, state, owner
        self._selector = selectors.DefaultSelector()
        journal = Journal(CONSOLE_LOG, owner=owner)
        self._console = ConsoleHub(self._selector, journal, machine.console, self._console_bound)
        self._control = ControlServer(self._selector, lambda: self._state, self)
        screen = machine.frame_buffer
        self._screen = ScreenDoor(self._selector, screen) if screen is not None else None
        self._child: BhyveChild | None = None
        self._started = 0.0
        self._quick = 0
        self._resetting = False
        self._shutting_down = False
        self._holds = 0
        # what is due when (monotonic seconds): see _due
        self._timers: dict[str, float] = {}

    # -- requests (control.Actions)

    def stop(self, grace: float) -> None:
        """Press the power button; by force after `grace` seconds. A second request may only hasten the
        first.
        """
        now = time.monotonic()
        self._state.asked = True
        self._resetting = False
        self._timers.pop("kill-reset", None)
        if self._child is None:
            self._end("stopped", "stopped between two runs")
            return
        deadline = now + grace
        self._child.signal(signal.SIGCONT)  # a process that is stopped hears nothing
        if self._state.state != "stopping":
            self._timers["term"] = now
            self._timers["force"] = deadline
            self._enter("stopping")
        elif "force" in self._timers:
            self._timers["force"] = min(deadline, self._timers["force"])
        if grace == 0:
            self._timers.pop("term", None)
        self._tick(now)

    def reset(self) -> None:
        """Press the reset button."""
        if self._state.state == "stopping" or self._child is None:
            return  # it ends, or starts anew anyway
        self._quick = 0
        self._resetting = True
        self._timers["kill-reset"] = time.monotonic() + FORCE_SECONDS
        self._enter("rebooting")
        self._child.signal(signal.SIGCONT)
        status, words = bhyvectl(self._machine.name, "force-reset")
        if status:
            say(f"bhyvectl --force-reset: exit {status}: {words}")
            self._timers["kill-reset"] = time.monotonic()

    def pause(self) -> None:
        """Stop bhyve's process, and so the guest's processors and devices."""
        if self._state.state == "paused":
            return
        self._still()
        self._enter("paused")

    def resume(self) -> None:
        """Let it run on, unless somebody holds it."""
        if self._state.state == "running":
            return
        if self._child is None or self._state.state != "paused":
            raise ValueError(f"the guest is {self._state.state}, not paused")
        if not self._holds:
            self._child.signal(signal.SIGCONT)
        self._enter("running")

    def hold(self) -> None:
        """The same as a pause, for as long as the connection that asks lasts."""
        if self._state.state != "paused":
            self._still()
        self._holds += 1

    def release(self) -> None:
        """The last one lets it run on."""
        self._holds -= 1
        if not self._holds and self._child is not None and self._state.state != "paused":
            self._child.signal(signal.SIGCONT)

    def _still(self) -> None:
        if self._child is None or self._state.state != "running":
            raise ValueError(f"the guest is {self._state.state}, not running")
        self._child.stand_still()

    # -- the loop

    def listen(self) -> None:
        """Open the sockets in the working directory."""
        self._console.listen(CONSOLE, self._owner)
        self._control.listen(CONTROL, self._owner)
        if self._screen is not None:
            self._screen.listen(SCREEN, self._owner)

    def run(self) -> str:
        """Supervise until the end; the name of the state it ended in."""
        wake, waker = socket.socketpair()
        for end in (wake, waker):
            end.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._host_shuts_down)
        self._selector.register(wake, selectors.EVENT_READ, lambda _m, _n: self._woken(wake))
        try:
            self._start()
            while self._live():
                self._turn()
        except BaseException:
            if self._child is not None:  # better no guest than one that nobody knows
                self._child.signal(signal.SIGKILL)
            raise
        self._console.close()
        self._control.close()
        if self._screen is not None:
            self._screen.close()
        return self._state.state

    def _turn(self) -> None:
        for key, mask in self._selector.select(self._patience()):
            if self._live():
                handler: Handler = key.data
                handler(mask, time.monotonic())
        if self._live() and self._shutting_down:
            self._shutting_down = False
            self.stop(HOST_SHUTDOWN_GRACE)
        self._check_child()
        self._tick(time.monotonic())

    def _host_shuts_down(self, _number: int, _frame: object) -> None:
        self._shutting_down = True

    def _live(self) -> bool:
        return self._state.state in LIVE_STATES

    @staticmethod
    def _woken(wake: socket.socket) -> None:
        wake.recv(4096)

    def _patience(self) -> float | None:
        due = list(self._timers.values())
        attempt = self._console.next_try()
        if attempt is not None:
            due.append(attempt)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _tick(self, now: float) -> None:
        self._console.try_connect(now)
        for name in [name for name, when in self._timers.items() if when <= now]:
            if self._live() and name in self._timers:
                del self._timers[name]
                self._due(name, now)

    def _due(self, name: str, now: float) -> None:
        child = self._child
        if name == "restart":
            self._start()
        elif name == "write":
            self._write_state()
        elif child is None:
            return
        elif name == "term":
            child.signal(signal.SIGTERM)
            self._timers["term"] = now + TERM_AGAIN
        elif name == "force":
            self._timers.pop("term", None)
            self._timers["kill"] = now + FORCE_SECONDS
            status, words = bhyvectl(self._machine.name, "force-poweroff")
            if status:
                say(f"bhyvectl --force-poweroff: exit {status}: {words}")
                self._timers["kill"] = now
        elif name in ("kill", "kill-reset"):
            child.signal(signal.SIGKILL)
        elif name == "running":
            say("the console's port is not bound: running without it")
            self._became_running()

    # -- bhyve

    def _start(self) -> None:
        destroy_vm(self._machine.name)
        self._raise_taps()
        now = time.monotonic()
        try:
            self._child = BhyveChild(argv(self._machine, self._can))
        except OSError as error:
            self._end("failed", f"bhyve could not be started: {error.strerror}")
            return
        refused = self._limit(self._child.pid)
        if refused:  # a guest that was promised with limits does not run without them
            self._child.signal(signal.SIGKILL)
            self._child.wait()
            self._child.close()
            self._child = None
            self._end("failed", refused)
            return
        self._started = now
        self._resetting = False
        self._selector.register(self._child.words_fd, selectors.EVENT_READ, self._words)
        self._console.expect(now)
        self._timers["running"] = now + RUNNING_WITHOUT_CONSOLE
        self._state.bhyve_pid, self._state.bhyve_mark = self._child.pid, self._child.mark
        self._enter("starting")

    def _limit(self, pid: int) -> str:
        """Set the limits of rctl(8); why that failed. They go with the process."""
        for limit in self._machine.limits:
            status, words = run_tool(["rctl", "-a", limit.rule(pid)])
            if status:
                return f"rctl -a {limit.rule(pid)}: exit {status}: {words}"
        return ""

    def _raise_taps(self) -> None:
        """A tap goes down when bhyve ends and stays down when it is opened (13-bhyve-run.txt)."""
        for nic in self._machine.nics:
            status, words = run_tool(["ifconfig", nic.tap, "up"])
            if status:  # bhyve will say what is wrong with it
                say(f"ifconfig {nic.tap} up: exit {status}: {words}")

    def _console_bound(self) -> None:
        self._became_running()

    def _became_running(self) -> None:
        self._timers.pop("running", None)
        if self._state.state == "starting":
            self._raise_taps()
            self._enter("running")

    def _words(self, _mask: int, _now: float) -> None:
        child = self._child
        if child is not None and not child.read_words():
            self._selector.unregister(child.words_fd)

    def _check_child(self) -> None:
        child = self._child
        status = None if child is None else child.poll()
        if child is None or status is None:
            return
        self._child = None
        if child.words_fd in self._selector.get_map():
            self._selector.unregister(child.words_fd)
        child.close()
        self._console.bhyve_ended()
        for name in ("term", "force", "kill", "kill-reset", "running"):
            self._timers.pop(name, None)
        self._state.bhyve_pid, self._state.bhyve_mark, self._state.exit_status = 0, "", status
        say(f"bhyve ended: {status}")
        if self._state.state == "stopping":
            self._end("stopped", "stopped on request")
        elif self._resetting or status == 0:
            self._plan_restart("reset on request" if self._resetting else "the guest rebooted")
        else:
            self._end(*meaning(status, child.words))

    def _plan_restart(self, reason: str) -> None:
        now = time.monotonic()
        self._quick = self._quick + 1 if now - self._started < QUICK else 0
        if self._quick > QUICK_LIMIT:
            self._end("failed", f"{self._quick} restarts within seconds of each other")
            return
        late = self._quick - QUICK_FREE
        self._timers["restart"] = now + (0.0 if late <= 0 else min(MAX_DELAY, 2.0 ** (late - 1)))
        self._state.restarts += 1
        self._console.note(reason)
        self._enter("rebooting", reason)

    # -- the state

    def _enter(self, state: str, reason: str = "") -> None:
        self._state.state, self._state.reason, self._state.since = state, reason, time.time()
        say(f"{state} {reason}".rstrip())
        self._write_state()
        self._control.publish()

    def _write_state(self) -> None:
        try:
            write_whole(STATE, self._state.to_json().encode(), 0o644)
        except OSError as error:  # a full file system must not end the guest
            say(f"{STATE}: {error.strerror}")
            self._timers["write"] = time.monotonic() + 5

    def _end(self, state: str, reason: str) -> None:
        """The last word: /dev/vmm is cleaned before it is said, so whoever hears it may start anew."""
        self._timers.clear()
        destroy_vm(self._machine.name)
        for name in (CONSOLE, CONTROL, SCREEN):
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
        self._console.note(reason)
        self._enter(state, reason)
