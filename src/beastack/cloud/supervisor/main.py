"""The supervisor daemon: ``python -m beastack.cloud.supervisor.main RUN_DIR``.

One thread, one loop: requests on ``run/supervisor.sock`` (0600), the ends of children, and the times at which what
died is started again. A service that dies is started again after 0.5 s, then 1, 2, … up to 30 s; one that has run
for 60 s starts from 0.5 s again. Everything it does is a line in ``log/supervisor.log``.

    {"do": "start", "name": N}   reads run/services/N.json and starts it; {"pid": …}
    {"do": "stop", "name": N}    SIGTERM, after its grace SIGKILL, waits for its end
    {"do": "status"}             {"services": {N: {pid, state, restarts, since}}}
    {"do": "shutdown"}           stops all, in the reverse order of their start, and ends
"""

import contextlib
import ctypes
import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from beastack.cloud.supervisor import child, families
from beastack.cloud.supervisor.spec import ServiceSpec

LOG = logging.getLogger("supervisor")
_PR_SET_CHILD_SUBREAPER = 36
FIRST_DELAY, LONGEST_DELAY, SETTLED = 0.5, 30.0, 60.0


@dataclass
class Running:
    """One service as it is now; times are monotonic seconds."""

    spec: ServiceSpec
    pid: int | None = None
    began: float = 0.0
    restarts: int = 0
    delay: float = FIRST_DELAY
    due: float | None = None
    last_exit: int | None = None
    kill_at: float | None = None
    stopping: bool = False
    waiters: list[socket.socket] = field(default_factory=list)

    def state(self) -> str:
        """running, restarting, stopping or stopped."""
        if self.stopping:
            return "stopping" if self.pid else "stopped"
        return "running" if self.pid else "restarting"


class Supervisor:
    """The loop; see the module."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.services: dict[str, Running] = {}
        self.families: dict[str, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        self.ending = False
        self.end_waiters: list[socket.socket] = []

    # -- children ---------------------------------------------------------------------------------------------

    def _family(self, name: str) -> socket.socket:
        if name not in self.families:
            ours, theirs = socket.socketpair()
            if os.fork() == 0:
                ours.close()
                self.selector.close()
                with contextlib.suppress(BaseException):
                    families.serve(name, theirs)
                os._exit(1)
            theirs.close()
            ours.settimeout(60)
            self.families[name] = ours
            if json.loads(ours.makefile("rb", buffering=0).readline() or b"{}") != {"ready": True}:
                del self.families[name]
                raise RuntimeError(f"the preloaded process {name!r} did not come up")
        return self.families[name]

    def spawn(self, service: Running) -> None:
        """Start the service's process."""
        spec = service.spec
        if spec.kind == "program":
            pid = os.fork()
            if pid == 0:
                self.selector.close()
                child.run(spec)
        else:
            channel = self._family(spec.family or "base")
            try:
                channel.sendall(json.dumps(spec.__dict__).encode() + b"\n")
                pid = int(json.loads(channel.makefile("rb", buffering=0).readline())["pid"])
            except (OSError, ValueError):
                # it died: the next attempt makes a new one
                self.families.pop(spec.family or "base").close()
                raise
        service.pid, service.began, service.due, service.kill_at = pid, time.monotonic(), None, None
        (self.run_dir / "run" / "services" / f"{spec.name}.pid").write_text(f"{pid}\n")
        LOG.info("%s: started, pid %d", spec.name, pid)

    def reap(self) -> None:
        """See which children ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for service in self.services.values():
                if service.pid == pid:
                    self._ended(service, os.waitstatus_to_exitcode(status))

    def _ended(self, service: Running, code: int) -> None:
        now = time.monotonic()
        ran = now - service.began
        # what it started goes with it: a wrapper script that is killed leaves its server behind
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if service.pid:
                os.killpg(service.pid, signal.SIGKILL)
        service.pid, service.last_exit, service.kill_at = None, code, None
        (self.run_dir / "run" / "services" / f"{service.spec.name}.pid").unlink(missing_ok=True)
        if service.stopping:
            LOG.info("%s: stopped", service.spec.name)
            for waiter in service.waiters:
                self._answer(waiter, {"stopped": True})
            service.waiters.clear()
            return
        service.delay = FIRST_DELAY if ran >= SETTLED else min(service.delay * 2, LONGEST_DELAY)
        service.due = now + service.delay
        service.restarts += 1
        LOG.warning(
            "%s: died with status %d after %.1f s; started again in %.1f s; its log: %s",
            service.spec.name,
            code,
            ran,
            service.delay,
            service.spec.log,
        )

    # -- requests ---------------------------------------------------------------------------------------------

    def _answer(self, channel: socket.socket, answer: dict[str, object]) -> None:
        try:
            channel.sendall(json.dumps(answer).encode() + b"\n")
        except OSError as e:
            LOG.warning("nobody waits for the answer any more: %s", e)
        channel.close()

    def request(self, channel: socket.socket) -> None:
        """Serve one request."""
        channel.settimeout(5)
        try:
            with channel.makefile("rb") as lines:
                request = json.loads(lines.readline())
            name = str(request.get("name", ""))
            match request["do"]:
                case "start":
                    spec = ServiceSpec.read(self.run_dir / "run" / "services" / f"{name}.json")
                    service = self.services.get(name)
                    if service is None or not service.pid:
                        self.services.pop(name, None)
                        service = self.services[name] = Running(spec)
                        self.spawn(service)
                    self._answer(channel, {"pid": service.pid})
                case "stop":
                    service = self.services.get(name)
                    if service is None or (service.stopping and not service.pid):
                        self._answer(channel, {"stopped": True})
                    else:
                        service.waiters.append(channel)
                        self.stop(service)
                case "status":
                    self._answer(channel, {"services": {n: self._status(s) for n, s in self.services.items()}})
                case "shutdown":
                    self.ending = True
                    self.end_waiters.append(channel)
                case other:
                    self._answer(channel, {"error": f"unknown request {other!r}"})
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as e:
            LOG.exception("request failed")
            self._answer(channel, {"error": f"{type(e).__name__}: {e}"})

    def _status(self, service: Running) -> dict[str, object]:
        return {
            "pid": service.pid,
            "state": service.state(),
            "restarts": service.restarts,
            "seconds": time.monotonic() - service.began if service.pid else 0.0,
            "last_exit": service.last_exit,
            "log": service.spec.log,
            "host": service.spec.host,
        }

    def stop(self, service: Running) -> None:
        """Ask it to end; ``tick`` kills what does not."""
        service.stopping, service.due = True, None
        if service.pid is None:
            for waiter in service.waiters:
                self._answer(waiter, {"stopped": True})
            service.waiters.clear()
            return
        if service.kill_at is None:
            service.kill_at = time.monotonic() + service.spec.grace
            with contextlib.suppress(ProcessLookupError):
                os.kill(service.pid, signal.SIGTERM)

    # -- the loop ---------------------------------------------------------------------------------------------

    def tick(self) -> float:
        """Do what is due; seconds until the next thing is."""
        now = time.monotonic()
        for service in self.services.values():
            if service.pid and service.kill_at and service.kill_at <= now:
                LOG.warning("%s: did not end within %.0f s: killed", service.spec.name, service.spec.grace)
                service.kill_at = now + 5
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(service.pid, signal.SIGKILL)
            if service.due and service.due <= now and not service.stopping:
                try:
                    self.spawn(service)
                except (OSError, ValueError, RuntimeError):
                    LOG.exception("%s: cannot be started", service.spec.name)
                    service.delay = min(service.delay * 2, LONGEST_DELAY)
                    service.due = now + service.delay
        if self.ending:
            self._end()
        times = [t for s in self.services.values() for t in (s.due, s.kill_at) if t]
        return max(0.0, min([t - now for t in times], default=10.0))

    def _end(self) -> None:
        # programs (database, broker) go last: the others want them while they end
        last = [s for s in self.services.values() if s.spec.kind == "program"]
        first = [s for s in self.services.values() if s.spec.kind != "program"]
        waves = [w for w in (first, last) if any(s.pid for s in w)]
        if waves:
            for service in waves[0]:
                if not service.stopping:
                    self.stop(service)
            return
        for channel in self.end_waiters:
            self._answer(channel, {"ended": True})
        LOG.info("ended")
        raise SystemExit(0)

    def loop(self) -> None:
        """Run until told to shut down."""
        path = self.run_dir / "run" / "supervisor.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            os.umask(0o077)
            listener.bind(str(path))
            os.umask(0o022)
            listener.listen(32)
            wake_read, wake_write = os.pipe()
            os.set_blocking(wake_read, False)
            os.set_blocking(wake_write, False)
            signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
            signal.signal(signal.SIGCHLD, lambda *_: None)
            signal.signal(signal.SIGTERM, lambda *_: setattr(self, "ending", True))
            self.selector.register(listener, selectors.EVENT_READ, "request")
            self.selector.register(wake_read, selectors.EVENT_READ, "signal")
            wait = 10.0
            while True:
                for key, _ in self.selector.select(wait):
                    if key.data == "request":
                        self.request(listener.accept()[0])
                    else:
                        with contextlib.suppress(BlockingIOError):
                            os.read(wake_read, 4096)
                self.reap()
                wait = self.tick()


def main() -> None:
    """Become the daemon of one run folder; the caller has started us in the background."""
    run_dir = Path(sys.argv[1])
    os.setsid() if os.getpid() != os.getsid(0) else None
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    (run_dir / "run" / "services").mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=run_dir / "log" / "supervisor.log", level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    child.redirect(str(run_dir / "log" / "supervisor.log"))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    families.load_base()
    # imports have touched the root logger: ours stays
    LOG.propagate = True
    LOG.info("ready, pid %d", os.getpid())
    Supervisor(run_dir).loop()


if __name__ == "__main__":
    main()
