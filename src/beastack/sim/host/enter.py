"""Owns how a command of the root namespace runs inside a host: the four namespaces, the PATH, the exit status."""

import os
import signal
import sys
from pathlib import Path

from beastack.sim.host import record
from beastack.sim.linux.namespaces import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, setns

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KINDS = {"net": CLONE_NEWNET, "uts": CLONE_NEWUTS, "pid": CLONE_NEWPID, "mnt": CLONE_NEWNS}
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class NotRunning(Exception):
    """There is no engine in that folder."""


def execute(directory: Path, command: list[str]) -> int:
    """Run one command inside; signals are passed on, the exit status is kept (128 + signal when it was killed)."""
    directory = directory.resolve()
    known = record.read(directory)
    if known is None or not known.alive():
        raise NotRunning(f"no host runs in {directory}")
    cwd = Path.cwd()
    held = {name: os.open(f"/proc/{known.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in _KINDS}
    for name, kind in _KINDS.items():
        setns(held[name], kind)
    child = os.fork()
    if child == 0:
        try:
            os.chdir(cwd)
        except OSError:
            os.chdir("/")
        environment = {**os.environ, "PATH": f"{directory}/bin:{PATH}", "BEASTACK_SIM": str(directory)}
        try:
            os.execvpe(command[0], command, environment)  # noqa: S606
        except OSError as error:
            sys.stderr.write(f"{command[0]}: {error.strerror}\n")
            sys.stderr.flush()
            os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    for number in _FORWARDED:
        signal.signal(number, lambda got, _frame: os.kill(child, got))
    _pid, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
