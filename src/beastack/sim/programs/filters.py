"""Owns how pfctl(8) and ngctl(8) reach pf and netgraph of the caller's network stack."""

import time
from typing import Any

from beastack.sim.net.errors import Failed
from beastack.sim.programs.base import Reply, Request


def _file_to_stdin(request: Request) -> tuple[list[str], str]:
    """The client read the file of `-f FILE`; behind the interface there is standard input only."""
    argv, stdin = list(request.argv), request.stdin
    for name, text in request.files.items():
        stdin = text
        argv = [
            "-" if word == name and position and _ends_in_f(argv[position - 1]) else word
            for position, word in enumerate(argv)
        ]
        argv = [
            f"{word[: -len(name)]}-"
            if word != name and word.endswith(name) and _ends_in_f(word[: -len(name)])
            else word
            for word in argv
        ]
    return argv, stdin


def _ends_in_f(word: str) -> bool:
    return word.startswith("-") and word.endswith("f")


def _reply(result: Any) -> Reply:
    return Reply(result.out, result.err, result.rc)


def pfctl(request: Request) -> Reply:
    if "pf" not in request.state.sysctls.modules:
        raise Failed("pfctl: /dev/pf: No such file or directory")
    argv, stdin = _file_to_stdin(request)
    return _reply(request.state.filters.pf(request.vnet).pfctl(argv, stdin, time.monotonic()))


def ngctl(request: Request) -> Reply:
    argv, stdin = _file_to_stdin(request)
    return _reply(request.state.filters.netgraph(request.vnet).ngctl(argv, stdin))
