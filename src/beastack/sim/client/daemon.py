"""daemon(8): runs a command in the background, keeps its pid file, and with -r starts it again.

Run as `python -ISs` on the caller's side, so that the command lives in the caller's jail.
"""

# pathlib would double the time to start, and becoming a program is the purpose:
# ruff: noqa: PTH108, PTH110, S606

import fcntl
import getopt
import os
import signal
import sys
import time
from typing import NoReturn

USAGE = (
    "usage: daemon [-cfr] [-p child_pidfile] [-P supervisor_pidfile] [-o output_file] [-t title]\n"
    "              [-u user] [-R delay] command arguments ...\n"
)


def fail(text: str, status: int = 1) -> NoReturn:
    sys.stderr.write(f"daemon: {text}\n")
    sys.exit(status)


def open_pidfile(path: str) -> int:
    """Locked while its owner lives, as pidfile(3) does it; a second daemon is refused."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        fail(f"pidfile ``{path}'': {error.strerror}")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fail(f"process already running, pid: {os.read(fd, 32).decode().strip()}", 3)
    os.ftruncate(fd, 0)
    return fd


def write_pid(fd: int, pid: int) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{pid}".encode(), 0)


def become(user: str) -> None:
    import pwd

    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def supervise(
    command: list[str], child_file: int | None, output: int | None, user: str | None, delay: float | None
) -> int:
    """Start the command, pass a SIGTERM on, wait; again after a pause with -r. Ends with the command's status."""
    state = {"child": 0, "ending": False}

    def terminate(number: int, _frame: object) -> None:
        state["ending"] = True
        if state["child"]:
            try:
                os.kill(state["child"], number)
            except ProcessLookupError:
                return

    signal.signal(signal.SIGTERM, terminate)
    while True:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if output is not None:
                os.dup2(output, 1)
                os.dup2(output, 2)
            if user:
                become(user)
            try:
                os.execvp(command[0], command)
            except OSError as error:
                sys.stderr.write(f"daemon: {command[0]}: {error.strerror}\n")
                sys.stderr.flush()
                os._exit(127)
        state["child"] = child
        if child_file is not None:
            write_pid(child_file, child)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        state["child"] = 0
        if delay is None or state["ending"]:
            return status if status >= 0 else 128 - status
        time.sleep(delay)


def main() -> int:
    try:
        pairs, command = getopt.getopt(sys.argv[1:], "cfrp:P:o:t:u:R:")
    except getopt.GetoptError as error:
        sys.stderr.write(f"daemon: {error}\n{USAGE}")
        return 1
    given = dict(pairs)
    if not command:
        sys.stderr.write(USAGE)
        return 1
    child_file = open_pidfile(given["-p"]) if "-p" in given else None
    own_file = open_pidfile(given["-P"]) if "-P" in given else None
    output = None
    if "-o" in given:
        try:
            output = os.open(given["-o"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            fail(f"{given['-o']}: {error.strerror}")
    if os.fork():
        os._exit(0)
    os.setsid()
    if "-c" in given:
        os.chdir("/")
    if "-f" in given:
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
    delay = float(given.get("-R", "1")) if "-r" in given or "-R" in given else None
    if own_file is not None:
        write_pid(own_file, os.getpid())
    status = supervise(command, child_file, output, given.get("-u"), delay)
    for name in ("-p", "-P"):
        if name in given and os.path.exists(given[name]):
            os.unlink(given[name])
    return status


if __name__ == "__main__":
    sys.exit(main())
