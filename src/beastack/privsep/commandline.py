"""The helper's command line: exactly what oslo.privsep's client makes of ``helper_command``, and not a word more.

A rule of sudo(8), doas(1) or mdo(1) can pin the beginning of it at best, because the socket's name is another each
time. oslo.config and oslo.log would take much more here (``--log-config-append FILE`` runs what the file names,
``--log-file`` writes as root, ``--config-dir`` adds files), so everything else is refused before they see it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from beastack.privsep.checks import Refused

_CONTEXT = re.compile(r"[a-z_][a-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*){1,8}")
# tempfile.mkdtemp's name and oslo.privsep's; sun_path holds 104 bytes with the closing NUL
_SOCKET = re.compile(r"(?:/[A-Za-z0-9._-]+){1,16}/privsep\.sock")
_MOST_FILES = 8
USAGE = "--config-file FILE [--config-file FILE …] --privsep_context CONTEXT --privsep_sock_path SOCKET"


@dataclass(frozen=True)
class Invocation:
    """What the helper was started for."""

    config_files: tuple[Path, ...]
    context: str
    socket: str

    def config_arguments(self) -> list[str]:
        """The part that oslo.config is given."""
        return [word for path in self.config_files for word in ("--config-file", str(path))]


def parse(words: Sequence[str]) -> Invocation:
    """Read the arguments after the program's name. Raises Refused for any other form."""
    rest = list(words)
    files: list[Path] = []
    while rest[:1] == ["--config-file"] and len(rest) >= 2:
        files.append(_config_file(rest[1]))
        del rest[:2]
    if not files:
        raise Refused("no --config-file given: set it in helper_command of the context's section")
    if len(files) > _MOST_FILES:
        raise Refused(f"more than {_MOST_FILES} configuration files")
    if len(rest) != 4 or rest[0] != "--privsep_context" or rest[2] != "--privsep_sock_path":
        raise Refused(f"arguments: wanted is {USAGE}")
    return Invocation(tuple(files), context_name(rest[1]), socket_path(rest[3]))


def _config_file(word: str) -> Path:
    path = Path(word)
    if not path.is_absolute() or ".." in path.parts or not word.isprintable():
        raise Refused(f"--config-file {word!r}: an absolute path without '..' is wanted")
    return path


def context_name(word: str) -> str:
    """The dotted name of a context. Raises Refused."""
    if _CONTEXT.fullmatch(word) is None:
        raise Refused(f"--privsep_context {word!r}: not the dotted name of a context")
    return word


def socket_path(word: str) -> str:
    """The client's socket. Raises Refused."""
    if _SOCKET.fullmatch(word) is None or len(word) > 103 or ".." in word.split("/"):
        raise Refused(f"--privsep_sock_path {word!r}: not a socket as oslo.privsep makes it")
    return word
