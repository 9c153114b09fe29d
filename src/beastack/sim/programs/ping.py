"""Owns ping(8): FreeBSD's options for Linux's program, which the client then becomes."""

from beastack.sim.net.errors import Failed, not_simulated
from beastack.sim.programs.base import Reply, Request

# FreeBSD's option with a value -> Linux's
_VALUED = {"c": "-c", "S": "-I", "t": "-w", "s": "-s", "i": "-i", "m": "-t", "l": "-l", "p": "-p"}
_PLAIN = {"n": "-n", "q": "-q", "4": "-4", "6": "-6", "f": "-f", "a": "-a", "D": "-Mdo", "A": "-a"}


def run(request: Request) -> Reply:
    out, rest = ["/usr/bin/ping", "-n"], list(request.argv)
    if request.program == "ping6":
        out.append("-6")
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        letters = rest.pop(0)[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in _PLAIN:
                out.append(_PLAIN[letter])
            elif letter in _VALUED or letter == "W":
                value, letters = letters or (rest.pop(0) if rest else ""), ""
                if not value:
                    raise Failed(f"ping: option requires an argument -- {letter}")
                # FreeBSD waits in milliseconds, Linux in seconds
                out += ["-W", f"{int(value) / 1000:.3f}"] if letter == "W" else [_VALUED[letter], value]
            else:
                raise not_simulated("ping", f"-{letter}")
    if len(rest) != 1:
        raise Failed("ping: one host is wanted", 64)
    return Reply(exec=[*out, rest[0]])
