"""The files of one guest's folder, and how its supervisor is asked: what nova, privsep and the supervisor
share.

    machine.json    what the guest is (nova writes; privsep checks it and hands the text to the supervisor)
    state.json      what the supervisor says (written whole, renamed into place; owned by who runs the
    supervisor) lock            held with flock(2) by the one supervisor of the guest for as long as it lives
    control.sock    JSON lines: one request, then answers (0600) console.sock    raw bytes of the serial
    console for any number of viewers (0600) console.log     what the guest wrote, bounded (console.log.1 is
    the part before) supervisor.log  words of the supervisor and of bhyve

Standard library only: the supervisor, one per guest, must stay small.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import stat
import tempfile
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from beastack.freebsd.process import is_same, kill_and_wait

MACHINE, STATE, LOCK = "machine.json", "state.json", "lock"
CONTROL, CONSOLE, SCREEN = "control.sock", "console.sock", "screen.sock"
CONSOLE_LOG, SUPERVISOR_LOG = "console.log", "supervisor.log"
# Of who holds the serial line of a guest that libvirt runs.
LINE, LINE_LOCK = "line.json", "line.lock"
RUNTIME_FILES = (STATE, CONTROL, CONSOLE, SCREEN)

LIVE_STATES = ("starting", "running", "paused", "rebooting", "stopping")
END_STATES = ("stopped", "crashed", "failed")
_MAX_SOCKET_PATH = 100  # sun_path holds 104 bytes on FreeBSD
_MAX_STATE = 64 * 1024
_REPLACED = 16


class GuestFileError(Exception):
    """A file of a guest is not what it must be; the text says which and why."""


class NoSupervisor(GuestFileError):
    """Nobody answers for this guest."""


@dataclass(slots=True)
class GuestState:
    """What state.json says."""

    state: str = "starting"
    supervisor_pid: int = 0
    supervisor_mark: str = ""
    bhyve_pid: int = 0
    bhyve_mark: str = ""
    exit_status: int | None = None
    reason: str = ""
    since: float = 0.0
    restarts: int = 0
    asked: bool = False  # the end was asked for, the guest did not come to it by itself

    def to_json(self) -> str:
        """As one line of text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "GuestState":
        """Read what `to_json` wrote; anything else is an error."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise GuestFileError(f"state: not JSON: {error}") from error
        if not isinstance(values, dict) or set(values) != {each.name for each in fields(cls)}:
            raise GuestFileError("state: other keys than expected")
        state = cls(**values)
        whole = (state.supervisor_pid, state.bhyve_pid, state.restarts)
        texts = (state.state, state.supervisor_mark, state.bhyve_mark, state.reason)
        if not all(type(value) is int for value in whole) or not all(type(value) is str for value in texts):
            raise GuestFileError("state: a value of another type than expected")
        if state.state not in LIVE_STATES + END_STATES:
            raise GuestFileError(f"state: {state.state!r} is not known")
        return state


def open_own(name: Path | str, flags: int, mode: int) -> int:
    """Open a file for writing in a folder that another user may change: never through a link, and never one that
    has a second name somewhere else (on FreeBSD anybody may give one to a file of root's). Made when it is not there.
    """
    descriptor = os.open(name, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(descriptor)
        raise GuestFileError(f"{name}: not a regular file with one name")
    return descriptor


def enter(folder: Path) -> None:
    """Make ``folder`` the working directory, when no part of it is a symbolic link (OSError otherwise)."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    current = os.open("/", flags)
    try:
        for part in folder.absolute().parts[1:]:
            below = os.open(part, flags, dir_fd=current)
            os.close(current)
            current = below
        os.fchdir(current)
    finally:
        os.close(current)


def read_regular(path: Path, limit: int, *, owner: int | None = None) -> bytes:
    """Read a regular file that is no symlink, has one name, is not larger than `limit` (and belongs to
    `owner`). One that is replaced by another (`write_whole`) while it is opened is opened again.
    """
    for _ in range(_REPLACED):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK):  # EMLINK is FreeBSD's answer, open(2)
                raise GuestFileError(f"{path}: a symbolic link") from error
            raise
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                continue
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise GuestFileError(f"{path}: not a regular file with one name")
            if owner is not None and found.st_uid != owner:
                raise GuestFileError(f"{path}: belongs to uid {found.st_uid}, not {owner}")
            data = file.read(limit + 1)
        if len(data) > limit:
            raise GuestFileError(f"{path}: larger than {limit} bytes")
        return data
    raise GuestFileError(f"{path}: replaced again and again while it was read")


def read_state(folder: Path, *, owner: int | None = None, name: str = STATE) -> GuestState | None:
    """What the supervisor wrote last; None when there is nothing. `owner` for readers that act on its
    pids.
    """
    try:
        return GuestState.from_json(read_regular(folder / name, _MAX_STATE, owner=owner))
    except FileNotFoundError:
        return None


def write_whole(path: Path | str, data: bytes, mode: int) -> None:
    """Write a file so that a reader sees the old or the new one, never a part."""
    new = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        Path(new).unlink()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    Path(new).rename(path)


def is_supervised(folder: Path, lock: str = LOCK) -> bool:
    """Whether a supervisor of this guest lives: it holds the lock, whatever state.json says."""
    try:
        descriptor = os.open(folder / lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def current_state(folder: Path) -> GuestState | None:
    """The state, corrected by the lock: a live state without its supervisor means the supervisor was lost."""
    supervised = is_supervised(folder)  # before reading: one that ends in between has written its last word
    state = read_state(folder)
    if state is not None and not supervised and state.state in LIVE_STATES:
        state.state, state.reason = "failed", "the supervisor of the guest is gone"
    return state


def take_lock(folder: Path, seconds: float, lock: str = LOCK) -> int | None:
    """Become the one owner of the guest: the descriptor that holds the lock, or None when another has it.

    It waits a little, because `is_supervised` holds the lock for a moment, too.
    """
    descriptor = open_own(folder / lock, os.O_RDWR, 0o644)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                return None
            time.sleep(0.02)


def kill_stray(folder: Path) -> bool:
    """End the bhyve that a lost supervisor left behind; only who holds the lock may ask. True when there was
    one.

    The pid is believed only from a file that the asking user wrote itself, and only with the time of its
    start.
    """
    state = read_state(folder, owner=os.geteuid())
    if state is None or not is_same(state.bhyve_pid, state.bhyve_mark):
        return False
    if not kill_and_wait(state.bhyve_pid, state.bhyve_mark, 10.0):
        raise GuestFileError(f"{folder}: bhyve (pid {state.bhyve_pid}) does not end")
    return True


def wait_unsupervised(folder: Path, seconds: float, lock: str = LOCK) -> bool:
    """Wait until no supervisor holds the lock; False when one still does."""
    deadline = time.monotonic() + seconds
    while is_supervised(folder, lock):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)  # flock(2) has no wait with a limit that is safe in threads
    return True


@contextlib.contextmanager
def connected(folder: Path, name: str, seconds: float) -> Iterator[socket.socket]:
    """A connection to one of the guest's sockets; long folders are reached by a short symbolic link."""
    with contextlib.ExitStack() as stack:
        target = str(folder / name)
        if len(os.fsencode(target)) > _MAX_SOCKET_PATH:
            short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bs-", dir="/tmp"))) / "d"
            short.symlink_to(folder)
            target = str(short / name)
        client = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        client.settimeout(seconds)
        try:
            client.connect(target)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NoSupervisor(f"{folder / name}: {error.strerror}") from error
        yield client


def ask(folder: Path, request: dict[str, object], seconds: float) -> Generator[GuestState, None, None]:
    """Send one request and yield every state that the supervisor answers until it closes the connection.

    Raises TimeoutError when nothing arrives for `seconds`.
    """
    with connected(folder, CONTROL, seconds) as client:
        client.sendall(json.dumps(request).encode() + b"\n")
        with client.makefile("rb") as lines:
            while line := lines.readline(_MAX_STATE):
                answer = json.loads(line)
                if not isinstance(answer, dict) or "error" in answer:
                    raise GuestFileError(f"{folder}: {answer!r}")
                yield GuestState.from_json(json.dumps(answer["state"]))
