"""A FreeBSD host as something that runs one program at a time.

The one door through which everything in ``freebsd`` reaches a system: an argument list, a time limit, and either the
output or a typed error. There is no shell and no string that one could parse. ``LocalHost`` and a jail on it
(``host.jail(name)``, jexec(8)) share the interface, and tests put a recorded host in its place.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from beastack.freebsd.errors import CommandTimedOut, ProgramMissing, failure

# Seconds for a command that only talks to the kernel. Generous: a loaded host is slow, a hung one never answers.
DEFAULT_LIMIT = 20.0


@dataclass(frozen=True)
class Completed:
    """One command's end: its argument list, exit status, standard output and standard error."""

    argv: tuple[str, ...]
    rc: int
    out: str
    err: str


class Host(Protocol):
    """Runs one program; see ``run``."""

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,
        timeout: float = DEFAULT_LIMIT,
        check: bool = True,
    ) -> Completed:
        """Run ``argv`` to its end, at most ``timeout`` seconds, with ``input`` on standard input.

        Raises CommandFailed or one of its kinds when ``check`` and the status is not 0, CommandTimedOut,
        ProgramMissing.
        """
        ...

    def jail(self, name: str) -> "Host":
        """The same, inside the jail called ``name``."""
        ...


class LocalHost:
    """The machine this process runs on."""

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,
        timeout: float = DEFAULT_LIMIT,
        check: bool = True,
    ) -> Completed:
        """See Host.run, also for what it raises. The command gets the C locale and a session of its own, which is
        killed as a whole.
        """
        args = list(argv)
        try:
            child = subprocess.Popen(
                args,
                stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError) as e:
            raise ProgramMissing(args[0]) from e
        with child:
            try:
                out, err = child.communicate(input, timeout)
            except subprocess.TimeoutExpired:
                _kill_session(child)
                raise CommandTimedOut(args, timeout) from None
            except BaseException:
                _kill_session(child)
                raise
        if check and child.returncode:
            raise failure(args, child.returncode, out, err)
        return Completed(tuple(args), child.returncode, out, err)

    def jail(self, name: str) -> "JailHost":
        """A jail of this machine."""
        return JailHost(self, name)


def _kill_session(child: subprocess.Popen[str]) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended on its own in between
    child.communicate()


@dataclass(frozen=True)
class JailHost:
    """A jail: the same programs by jexec(8)."""

    outer: Host
    name: str

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,
        timeout: float = DEFAULT_LIMIT,
        check: bool = True,
    ) -> Completed:
        """See Host.run; raises NoSuchJail when the jail is gone."""
        return self.outer.run(["jexec", self.name, *argv], input=input, timeout=timeout, check=check)

    def jail(self, name: str) -> "JailHost":
        """A jail inside this one."""
        return JailHost(self, name)
