"""service(8) for Open vSwitch's two daemons, as the port net/openvswitch has them in rc.d.

There is no rc.conf here: the words with `one` are simulated. Words and statuses are rc.subr(8)'s; not the port's is
that each writes a log, and that ovsdb-server's pid file lies beside its socket, as `/var/run` is not the host's alone.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from beastack.sim.openvswitch import package

RUN = Path("/var/run/openvswitch")
SOCKET = RUN / "db.sock"
DATABASE = Path("/var/db/openvswitch/conf.db")
_LIMIT = 30.0
_NAMES = {"ovsdb-server": "ovsdb_server", "ovs-vswitchd": "ovs_vswitchd"}


class Refused(Exception):
    """The service is not as it would have to be; the text and the status are service(8)'s."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


@dataclass(frozen=True)
class Service:
    """One daemon of rc.d: its file's name."""

    name: str

    @property
    def title(self) -> str:
        return _NAMES[self.name]

    @property
    def pidfile(self) -> Path:
        return RUN / f"{self.name}.pid"

    def pid(self) -> int | None:
        """The process that runs; a pid file that was left over is none."""
        try:
            pid = int(self.pidfile.read_text())
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid if self.name.encode() in line.split(b"\0")[0] else None

    def words(self, log: Path) -> list[str]:
        """Its command line."""
        common = ["--detach", f"--pidfile={self.pidfile}", f"--log-file={log}", "-vsyslog:off"]
        if self.name == "ovs-vswitchd":
            return [self.name, *common]
        return [
            self.name,
            *common,
            f"--remote=punix:{SOCKET}",
            "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
            "--private-key=db:Open_vSwitch,SSL,private_key",
            "--certificate=db:Open_vSwitch,SSL,certificate",
            "--bootstrap-ca-cert=db:Open_vSwitch,SSL,ca_cert",
            str(DATABASE),
        ]


def _start(service: Service) -> str:
    running = service.pid()
    if running is not None:
        raise Refused(f"{service.title} already running? (pid={running}).\n")
    base = package.root()
    if base is None:
        raise Refused(f"{service.name}: its programs are not here (beastack-sim packages openvswitch)\n", 127)
    log = Path(os.environ["BEASTACK_SIM"]) / "openvswitch" / f"{service.name}.log"
    if service.name == "ovsdb-server" and not DATABASE.exists():
        _run(["ovsdb-tool", "create", str(DATABASE), str(base / package.SCHEMA)])
    _run(service.words(log))
    return f"Starting {service.title}.\n"


def _stop(service: Service) -> str:
    pid = service.pid()
    if pid is None:
        raise Refused(f"{service.title} not running? (check {service.pidfile}).\n")
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        if not poller.poll(_LIMIT * 1000):
            raise Refused(f"{service.title} (pid {pid}) did not end in {_LIMIT:.0f} s\n")
    finally:
        os.close(pidfd)
    return f"Stopping {service.title}.\nWaiting for PIDS: {pid}.\n"


def _restart(service: Service) -> str:
    return (_stop(service) if service.pid() is not None else "") + _start(service)


def _status(service: Service) -> str:
    pid = service.pid()
    if pid is None:
        raise Refused(f"{service.title} is not running.\n")
    return f"{service.title} is running as pid {pid}.\n"


_ACTIONS: dict[str, Callable[[Service], str]] = {
    "onestart": _start,
    "onestop": _stop,
    "onerestart": _restart,
    "onestatus": _status,
}


def _run(argv: list[str]) -> None:
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=_LIMIT, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise Refused(f"{argv[0]} did not answer in {_LIMIT:.0f} s\n") from error
    if done.returncode:
        raise Refused(done.stdout + done.stderr, done.returncode)


def run(argv: list[str]) -> str:
    """`service NAME ACTION`: output; Refused with words and status."""
    if len(argv) != 2:
        raise Refused("usage: service [-j <jail>] <rc.d script> start|stop|onestart|onestop|...\n")
    name, action = argv
    if name not in _NAMES:
        raise Refused(
            f"{name} does not exist in /etc/rc.d or the local startup\n"
            "directories (/usr/local/etc/rc.d), or is not executable\n"
        )
    service = Service(name)
    if action in ("start", "stop", "restart", "status"):
        raise Refused(
            f"Cannot '{action}' {service.title}. Set {service.title}_enable to YES in /etc/rc.conf "
            f"or use 'one{action}' instead of '{action}'.\n"
        )
    if action not in _ACTIONS:
        raise Refused(f"/usr/local/etc/rc.d/{name}: not simulated: {action}\n")
    return _ACTIONS[action](service)


def main() -> int:
    if "BEASTACK_SIM" not in os.environ:
        sys.stderr.write("service: BEASTACK_SIM is not set: run inside a simulated host\n")
        return 71
    try:
        sys.stdout.write(run(sys.argv[1:]))
    except Refused as refused:
        sys.stderr.write(refused.text)
        return refused.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
