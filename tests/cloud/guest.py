"""A guest's serial console as a script reads it: a command goes in, its output and status come out."""

import os
import re
import secrets
import select
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Answer:
    rc: int
    out: str


class Guest:
    """The root shell on the serial console of the project's guest image."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = list(argv)
        self._seen = ""
        self._number = 0
        # the console shows a newcomer what was last said, also to an earlier shell
        self._session = secrets.token_hex(3)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        # what is typed before the shell reads is lost, so it is typed again
        for limit in (5, 10, 20, 40):
            try:
                self.run("stty -echo; dmesg -n 1", limit)
            except AssertionError:
                if limit == 40:
                    raise
            else:
                break
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=10)

    def run(self, command: str, limit: float = 60) -> Answer:
        """Run a line of shell; fails the test when the shell does not come back within ``limit`` seconds."""
        self._number += 1
        mark = f"mark{self._session}n{self._number}"
        assert self._process.stdin
        # the quotes keep the echo of the line from looking like its answer
        self._process.stdin.write(f'{command}\necho {mark}"="$?"="\n'.encode())
        self._process.stdin.flush()
        found = self._read_until(re.compile(rf"{mark}=(\d+)="), limit, command)
        out = re.sub(r"guest# ?", "", found.string[: found.start()]).replace("\r", "")
        return Answer(
            int(found[1]), "\n".join(line for line in out.splitlines() if "beastack-guest:" not in line).strip()
        )

    def check(self, command: str, limit: float = 60) -> str:
        """Like ``run`` for a command that must succeed; its output."""
        answer = self.run(command, limit)
        assert answer.rc == 0, f"{command}: {answer}"
        return answer.out

    def ends(self, file: str, others: str = "") -> None:
        """End the shell's child whose pid is in ``file``, and programs by name.

        It is waited for: a shell that hears of it while it reads the next line was once seen to end itself.
        """
        self.run(f"p=$(cat {file}); kill $p; {f'killall {others};' if others else ''} wait $p")

    def _read_until(self, pattern: re.Pattern[str], limit: float, what: str) -> re.Match[str]:
        assert self._process.stdout
        deadline = time.monotonic() + limit
        while True:
            found = pattern.search(self._seen)
            if found:
                self._seen = self._seen[found.end() :]
                return found
            left = deadline - time.monotonic()
            assert left > 0, f"the guest did not answer {what!r} within {limit:.0f} s; it said: {self._seen[-500:]!r}"
            if select.select([self._process.stdout], [], [], min(left, 1.0))[0]:
                data = os.read(self._process.stdout.fileno(), 65536)
                assert data, f"the console ended during {what!r}; it said: {self._seen[-500:]!r}"
                self._seen += data.decode(errors="replace")
