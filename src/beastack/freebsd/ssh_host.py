"""A FreeBSD host reached by ssh(1): the same door as host.py, for a machine that has nothing of ours installed.

One connection carries every command (ControlMaster). The remote end is a shell by ssh's nature, so the argument list is
quoted for it, word by word, and never built by hand. A command that outlives its limit is ended on the host by
timeout(1), which is in FreeBSD's base system; the limit here is only for a host that stops answering.
"""

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from beastack.freebsd.errors import CommandTimedOut, HostUnreachable, ProgramMissing, failure
from beastack.freebsd.host import DEFAULT_LIMIT, Completed, JailHost, LocalHost

PATH = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
# Seconds: to connect; and between a command's own limit and giving the connection up.
CONNECT_LIMIT = 15
GRACE = 10.0
_TIMED_OUT, _MISSING, _SSH_FAILED = 124, 127, 255


@dataclass(frozen=True)
class Address:
    """Where the host is: ``ssh://USER@HOST:PORT?identity=FILE``; user root, port 22 and ssh's own key by default."""

    host: str
    user: str = "root"
    port: int = 22
    identity: str | None = None

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Raises ValueError, naming what is wrong."""
        parts = urlsplit(url)
        query = parse_qs(parts.query, strict_parsing=bool(parts.query))
        if parts.scheme != "ssh" or not parts.hostname or parts.path.strip("/") or parts.password:
            raise ValueError(f"{url}: ssh://USER@HOST:PORT?identity=FILE is wanted")
        if unknown := query.keys() - {"identity"}:
            raise ValueError(f"{url}: unknown option {sorted(unknown)[0]}")
        # a host or user that begins with "-" would be an option of ssh's
        if parts.hostname.startswith("-") or (parts.username or "").startswith("-"):
            raise ValueError(f"{url}: no host or user may begin with a hyphen")
        identity = query["identity"][-1] if "identity" in query else None
        if identity is not None and not Path(identity).is_file():
            raise ValueError(f"{url}: there is no file {identity}")
        return cls(parts.hostname, parts.username or "root", parts.port or 22, identity)


class SshHost:
    """See Host; to be closed after use, also as a context manager."""

    def __init__(self, address: Address) -> None:
        self.address = address
        # short: a socket's name has room for 104 bytes (unix(4))
        self._folder = Path(tempfile.mkdtemp(prefix="bsssh", dir="/tmp"))

    def _options(self) -> list[str]:
        own = self.address
        options = [
            "BatchMode=yes",
            f"ConnectTimeout={CONNECT_LIMIT}",
            "ServerAliveInterval=5",
            "ServerAliveCountMax=4",
            "ControlMaster=auto",
            f"ControlPath={self._folder}/s",
            "ControlPersist=60",
            "StrictHostKeyChecking=accept-new",
        ]
        argv = ["ssh", "-T", "-p", str(own.port), "-l", own.user]
        for option in options:
            argv += ["-o", option]
        if own.identity is not None:
            argv += ["-i", own.identity, "-o", "IdentitiesOnly=yes"]
        return argv

    def command(self, argv: Sequence[str], timeout: float) -> list[str]:
        """The whole local argument list for a remote one. Raises ValueError for a word that no shell could carry."""
        for word in argv:
            # csh, root's shell before FreeBSD 14, cannot quote a new line
            if "\n" in word or "\0" in word:
                raise ValueError(f"{argv[0]}: an argument with a new line or NUL: {word!r}")
        # --foreground: timeout(1) would else wait for daemons that the command leaves behind
        remote = ["env", "LC_ALL=C", f"PATH={PATH}", "timeout", "--foreground", "-k", "2", f"{timeout:g}", *argv]
        return [*self._options(), self.address.host, shlex.join(remote)]

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,
        timeout: float = DEFAULT_LIMIT,
        check: bool = True,
    ) -> Completed:
        """See Host.run; raises HostUnreachable too, when ssh itself fails."""
        args = list(argv)
        done = LocalHost().run(self.command(args, timeout), input=input, timeout=timeout + GRACE, check=False)
        if done.rc == _SSH_FAILED:
            raise HostUnreachable(self.address.host, done.err.strip())
        if done.rc == _TIMED_OUT:
            raise CommandTimedOut(args, timeout)
        if done.rc == _MISSING and "No such file or directory" in done.err:
            raise ProgramMissing(args[0])
        if check and done.rc:
            raise failure(args, done.rc, done.out, done.err)
        return Completed(tuple(args), done.rc, done.out, done.err)

    def jail(self, name: str) -> JailHost:
        """A jail of that machine."""
        return JailHost(self, name)

    def close(self) -> None:
        """End the shared connection."""
        argv = [*self._options(), "-O", "exit", self.address.host]
        # it may never have been made, or have ended: either way it is not there afterwards
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=GRACE, check=False)
        # the connection's own process removes its socket at the same moment
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "SshHost":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
