"""The bhyve process of a guest and bhyvectl(8), as 13-bhyve-run.txt shows them."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence

from beastack.freebsd.process import start_mark

WORDS = 4096
_LOG_PER_RUN = 64 * 1024
_COMMAND_SECONDS = 10.0

EXIT_MEANS = {
    0: "the guest rebooted",
    1: "the guest powered off",
    2: "the guest halted",
    3: "triple fault",
    4: "bhyve ended with an error",
}


def say(text: str) -> None:
    """One line for supervisor.log. That the file system is full must not end the guest."""
    with contextlib.suppress(OSError):
        print(time.strftime("%Y-%m-%dT%H:%M:%S"), text, flush=True)


def run_tool(argv: Sequence[str]) -> tuple[int, str]:
    """Run one short command; its exit status and words. A missing program is status 127, a late one 124."""
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except OSError as error:
        return 127, f"{argv[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return 124, f"{argv[0]}: no end after {_COMMAND_SECONDS:.0f} s"
    return done.returncode, done.stdout.decode(errors="replace").strip()


def bhyvectl(name: str, action: str) -> tuple[int, str]:
    """`bhyvectl --vm=NAME --ACTION`."""
    return run_tool(["bhyvectl", f"--vm={name}", f"--{action}"])


def destroy_vm(name: str) -> None:
    """Remove /dev/vmm/NAME, which stays after every end of bhyve; that it is gone already is fine.

    When it fails in another way the next start of bhyve says so in its own words.
    """
    status, words = bhyvectl(name, "destroy")
    if status and "No such file" not in words:
        say(f"bhyvectl --destroy: exit {status}: {words}")


class BhyveChild:
    """One run of bhyve. Its words go to the supervisor's log, bounded, and the last of them are kept."""

    def __init__(self, argv: Sequence[str]) -> None:
        read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(write_end, True)
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
            )
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self.words_fd = read_end
        self.pid = self._process.pid
        self.mark = start_mark(self.pid) or ""
        self._words = b""
        self._logged = 0

    def read_words(self) -> bool:
        """Take what bhyve said; False when it will say no more."""
        try:
            data = os.read(self.words_fd, 65536)
        except BlockingIOError:
            return True
        self._words = (self._words + data)[-WORDS:]
        if self._logged < _LOG_PER_RUN:
            say(f"bhyve: {data.decode(errors='replace').rstrip()}")
            self._logged += len(data)
        return bool(data)

    @property
    def words(self) -> str:
        """The last of what it said, on one line."""
        return " / ".join(self._words.decode(errors="replace").split("\n")).strip(" /")

    def poll(self) -> int | None:
        """Its exit status (negative: the signal), or None."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it has not ended."""
        self._process.send_signal(number)

    def stand_still(self) -> None:
        """Stop it, and wait until no thread of it runs any more (or it has ended, which `poll` will tell)."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def wait(self) -> None:
        """Wait until it has ended after SIGKILL."""
        self._process.wait(_COMMAND_SECONDS)

    def close(self) -> None:
        """Its last words, then the end. A grandchild may keep the pipe: nobody waits for that."""
        for _ in range(16):
            try:
                data = os.read(self.words_fd, 65536)
            except BlockingIOError:
                break
            if not data:
                break
            self._words = (self._words + data)[-WORDS:]
        os.close(self.words_fd)


def meaning(status: int, words: str) -> tuple[str, str]:
    """What an exit status of bhyve makes of the guest: (state, reason). Status 0 is not an end."""
    said = f": {words}" if words else ""
    if status < 0:
        return "failed", f"bhyve was ended by signal {-status} ({signal.strsignal(-status)}){said}"
    if status in (1, 2):
        return "stopped", EXIT_MEANS[status]
    if status == 3:
        return "crashed", f"{EXIT_MEANS[3]}{said}"
    return "failed", f"{EXIT_MEANS.get(status, f'bhyve ended with status {status}')}{said}"
