"""What a virtual machine is to its host: an entry that outlives bhyve, and the one process that runs it.

    DIR/vmm/NAME/lock      held with flock(2) by the bhyve that runs it, for as long as that lives
    DIR/vmm/NAME/dirty     a guest ran and did not come to its end: its processors were never suspended
    DIR/vmm/NAME/loaded    bhyveload put a guest into it that has not run yet
    DIR/vmm/NAME/control   socket of the running bhyve, for bhyvectl

Inside a simulated host, /dev/vmm/NAME shows the same.
"""

import contextlib
import fcntl
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"[^/\0]{1,229}")
NOWHERE = "/run/beastack-sim"


class NoSuchMachine(Exception):
    """There is no such entry."""


def host_folder() -> Path:
    """The simulated host's own folder."""
    return Path(os.environ.get("BEASTACK_SIM") or NOWHERE)


def has_engine() -> bool:
    """Whether this is a whole simulated host, not bhyve alone on a Linux."""
    return (host_folder() / "engine.sock").exists()


def loaded() -> bool:
    """Whether vmm(4) is loaded: the engine shows it as the real one does."""
    return not has_engine() or Path("/dev/vmmctl").exists()


class Machine:
    """One entry."""

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name) or name in (".", ".."):
            raise NoSuchMachine(name)
        self.name = name
        self.folder = host_folder() / "vmm" / name
        self._node = Path("/dev/vmm") / name

    def exists(self) -> bool:
        """Whether it was created and not destroyed since."""
        return self.folder.is_dir()

    def create(self) -> None:
        """Make the entry; FileExistsError when it is there."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700)
        if has_engine():
            self._node.parent.mkdir(mode=0o555, exist_ok=True)
            self._node.touch(0o600)

    def remove(self) -> None:
        """Take the entry away; that it is gone is fine."""
        if has_engine():
            self._node.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others are in it, or it is gone
                self._node.parent.rmdir()
        shutil.rmtree(self.folder, ignore_errors=True)

    def take(self) -> int | None:
        """Become the process that runs it: a descriptor to keep open, or None when another one does."""
        try:
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as error:
            raise NoSuchMachine(self.name) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def runs(self) -> bool:
        """Whether a process runs it."""
        try:
            lock = self.take()
        except NoSuchMachine:
            return False
        if lock is None:
            return True
        os.close(lock)
        return False

    def wait_end(self, seconds: float) -> bool:
        """Wait until no process runs it; False when one still does."""
        deadline = time.monotonic() + seconds
        while self.runs():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)  # flock(2) has no wait with a limit
        return True

    @property
    def dirty(self) -> bool:
        """Whether its guest was cut off."""
        return (self.folder / "dirty").exists()

    def set_dirty(self, dirty: bool) -> None:
        """Remember that a guest runs, or that it came to its end."""
        mark = self.folder / "dirty"
        if dirty:
            mark.write_text(f"{os.getpid()}\n")
        else:
            mark.unlink(missing_ok=True)

    @property
    def loaded(self) -> bool:
        """Whether bhyveload prepared it for its next run."""
        return (self.folder / "loaded").exists()

    def set_loaded(self, loaded: bool) -> None:
        """Remember that a guest was loaded, or that it runs now."""
        mark = self.folder / "loaded"
        if loaded:
            mark.touch()
        else:
            mark.unlink(missing_ok=True)

    def runner(self) -> int | None:
        """The process that runs it, or ran it last and was cut off."""
        try:
            text = (self.folder / "dirty").read_text().strip()
        except FileNotFoundError:
            return None
        return int(text) if text.isdigit() else None

    @contextlib.contextmanager
    def _address(self) -> Iterator[str]:
        """The control socket by a name that is short enough, however deep the folder is."""
        folder = os.open(self.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"/proc/self/fd/{folder}/control"
        finally:
            os.close(folder)

    def listen(self) -> socket.socket:
        """The control socket of the running bhyve."""
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        (self.folder / "control").unlink(missing_ok=True)
        with self._address() as address:
            server.bind(address)
        server.listen(8)
        server.setblocking(False)
        return server

    def ask(self, request: str, seconds: float) -> str | None:
        """Send one word to the running bhyve; its answer, or None when it has none."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(seconds)
            try:
                with self._address() as address:
                    client.connect(address)
                client.sendall(request.encode() + b"\n")
                answer = b""
                while part := client.recv(65536):
                    answer += part
            except OSError:  # it has ended meanwhile, or is stopped
                return None
        return answer.decode()
