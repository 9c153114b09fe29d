"""Owns the programs that are Debian's own under FreeBSD's names: tcpdump(1), nc(1); and jot(1), which Debian lacks."""

import secrets
from pathlib import Path

from beastack.sim.net.errors import Failed, not_simulated
from beastack.sim.programs.base import Reply, Request

_JOT_LIMIT = 1_000_000
# FreeBSD's nc is OpenBSD's; its options that the other netcats have otherwise are refused by them
_WHERE = {"nc": ("/bin/nc.openbsd", "/usr/bin/nc.openbsd"), "tcpdump": ("/usr/bin/tcpdump", "/usr/sbin/tcpdump")}


def become(request: Request) -> Reply:
    """The caller turns into Debian's program."""
    found = next((path for path in _WHERE[request.program] if Path(path).exists()), None)
    if found is None:
        raise Failed(f"{request.program}: {_WHERE[request.program][-1]} is not installed on this machine", 127)
    return Reply(exec=[found, *request.argv])


def jot(request: Request) -> Reply:
    """`jot [-r] COUNT [BEGIN [END]]` in whole numbers."""
    words = [word for word in request.argv if word != "-r"]
    if not 1 <= len(words) <= 3 or not all(word.isdigit() for word in words):
        raise not_simulated("jot", " ".join(request.argv))
    count, low, high = (*map(int, words), *(1, 100)[len(words) - 1 :])[:3]
    if count > _JOT_LIMIT:
        raise not_simulated("jot", f"more than {_JOT_LIMIT} numbers")
    if "-r" in request.argv:
        numbers = [low + secrets.randbelow(high - low + 1) for _ in range(count)]
    elif len(words) < 3:
        numbers = list(range(low, low + count))
    else:
        raise not_simulated("jot", "an end without -r")
    return Reply("".join(f"{number}\n" for number in numbers))
