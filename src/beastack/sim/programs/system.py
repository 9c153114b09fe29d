"""Owns hostname(1) and uname(1)."""

from beastack.sim.engine.sysctls import RELEASE, VERSION
from beastack.sim.net.errors import Failed, not_simulated
from beastack.sim.programs.base import Reply, Request


def _own_name(request: Request) -> str:
    return request.jail.hostname if request.jail is not None else request.state.hostname


def hostname(request: Request) -> Reply:
    options = [word for word in request.argv if word.startswith("-")]
    words = [word for word in request.argv if not word.startswith("-")]
    if any(option not in ("-s", "-f", "-d") for option in options) or len(words) > 1:
        raise not_simulated("hostname", " ".join(request.argv))
    if words:
        if request.jail is not None and not request.jail.allow["set_hostname"]:
            raise Failed("hostname: sethostname: Operation not permitted")
        request.state.set_hostname(request.jail, words[0])
        return Reply()
    short, _dot, domain = (name := _own_name(request)).partition(".")
    text = short if "-s" in options else domain if "-d" in options else name
    return Reply(f"{text}\n")


def uname(request: Request) -> Reply:
    fields = {
        "s": "FreeBSD",
        "n": _own_name(request),
        "r": RELEASE,
        "v": VERSION,
        "m": "amd64",
        "p": "amd64",
        "i": "GENERIC",
        "U": "1501000",
        "K": "1501000",
        "b": "0000000000000000000000000000000000000000",
    }
    letters = "".join(word[1:] for word in request.argv if word.startswith("-")).replace("o", "s")
    if any(not word.startswith("-") for word in request.argv) or set(letters) - {*fields, "a"}:
        raise Failed("usage: uname [-abiKmnoprsUv]")
    if "a" in letters:
        letters += "snrvm"
    return Reply(" ".join(fields[letter] for letter in fields if letter in (letters or "s")) + "\n")
