"""Owns pgrep(1), pkill(1) and sockstat(1): the processes of the host or of one jail, and their sockets."""

import contextlib
import ipaddress
import os
import pwd
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from beastack.sim.engine.jails import processes_in
from beastack.sim.net.errors import Failed, not_simulated
from beastack.sim.programs.base import Reply, Request

_USAGE = "usage: pgrep [-LSafilnoqvx] [-j jail] pattern ..."
_TABLES = {"udp4": "udp", "tcp4": "tcp", "udp6": "udp6", "tcp6": "tcp6"}
_LISTENING = "0A"


@dataclass(frozen=True)
class Process:
    """One process: the name it runs under, and its whole command line."""

    pid: int
    name: str
    line: str


def _read(pid: int) -> Process | None:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        name = Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return None  # ended meanwhile
    return Process(pid, name, raw.replace(b"\0", b" ").decode(errors="replace").strip()) if raw else None


def _seen(request: Request, jail_name: str | None) -> list[Process]:
    """What the caller may see: all of the host, or what is in its own or the named jail."""
    jail = request.jail
    if jail_name is not None:
        jail = request.state.find_jail(jail_name)
        if jail is None or request.jail not in (None, jail):
            raise Failed(f"pgrep: Unknown jail '{jail_name}'", 2)
    if jail is not None:
        pids = sorted(processes_in(jail.uts_inode))
    else:
        pids = sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [one for pid in pids if pid != 1 and (one := _read(pid)) is not None]


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        yield pid
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            return


def _number(text: str) -> int | None:
    """`-HUP`, `-SIGHUP`, `-1`; None when it is an option of another kind."""
    if text[1:].isdigit():
        return int(text[1:])
    name = text[1:] if text.startswith("-SIG") else f"SIG{text[1:]}"
    return int(signal.Signals[name]) if name in signal.Signals.__members__ else None


def grep(request: Request) -> Reply:
    """pgrep and pkill: 0 when something matched, 1 when nothing did."""
    rest, letters, jail, number = list(request.argv), "", None, int(signal.SIGTERM)
    if request.program == "pkill" and rest and (given := _number(rest[0])) is not None:
        number = given
        rest.pop(0)
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        cluster = rest.pop(0)[1:]
        while cluster:
            letter, cluster = cluster[0], cluster[1:]
            if letter == "j":
                jail, cluster = cluster or (rest.pop(0) if rest else ""), ""
            elif letter in "flxqanov":
                letters += letter
            else:
                raise not_simulated(request.program, f"-{letter}")
    if not rest:
        raise Failed(_USAGE, 2)
    pattern = re.compile("|".join(f"(?:{one})" for one in rest))
    excluded = set() if "a" in letters else set(_ancestors(request.pid))
    match = pattern.fullmatch if "x" in letters else pattern.search
    found = [
        one
        for one in _seen(request, jail)
        if one.pid not in excluded and bool(match(one.line if "f" in letters else one.name)) != ("v" in letters)
    ]
    if "n" in letters or "o" in letters:
        found = found[-1:] if "n" in letters else found[:1]
    if request.program == "pkill":
        for one in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, number)
        return Reply(rc=0 if found else 1)
    out = ""
    for one in found if "q" not in letters else ():
        out += f"{one.pid}" + (f" {one.line if 'f' in letters else one.name}" if "l" in letters else "") + "\n"
    return Reply(out, "", 0 if found else 1)


@dataclass(frozen=True)
class _Socket:
    kind: str
    local: str
    remote: str
    user: int
    fd: int


def _address(text: str) -> str:
    """Linux's hexadecimal `ADDRESS:PORT`, words of 32 bits in the machine's order."""
    host, _colon, port = text.partition(":")
    raw = b"".join(bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8))
    address = ipaddress.ip_address(raw)
    shown = "*" if not int(address) else str(address)
    return f"{shown}:{int(port, 16) or '*'}"


def _sockets(pid: int) -> Iterator[_Socket]:
    """The IP sockets of one process, by descriptor; only what listens, of TCP."""
    names: dict[str, int] = {}
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if (found := re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink()))) is not None:
                    names[found[1]] = int(entry.name)
        tables = {kind: Path(f"/proc/{pid}/net/{name}").read_text() for kind, name in _TABLES.items()}
    except (FileNotFoundError, ProcessLookupError):
        return
    found_sockets = []
    for kind, text in tables.items():
        for line in text.splitlines()[1:]:
            fields = line.split()
            if fields[9] not in names or (kind.startswith("tcp") and fields[3] != _LISTENING):
                continue
            remote = "*:*" if kind.startswith("udp") or fields[3] == _LISTENING else _address(fields[2])
            found_sockets.append(_Socket(kind, _address(fields[1]), remote, int(fields[7]), names[fields[9]]))
    yield from sorted(found_sockets, key=lambda one: one.fd)


def _user(number: int, letters: str) -> str:
    """The name, or with `-n` the number."""
    if "n" not in letters:
        with contextlib.suppress(KeyError):
            return pwd.getpwuid(number).pw_name
    return str(number)


def sockstat(request: Request) -> Reply:
    """`sockstat -46ln [-j jail]`: who listens."""
    letters, rest, jail = "", list(request.argv), None
    while rest:
        word = rest.pop(0)
        if word == "-j" and rest:
            jail = rest.pop(0)
        elif word.startswith("-"):
            letters += word[1:]
        else:
            raise not_simulated("sockstat", word)
    if set(letters) - set("46ln") or "l" not in letters:
        raise not_simulated("sockstat", f"-{letters}: -46ln is")
    families = {"4", "6"} & set(letters) or {"4", "6"}
    out = f"{'USER':<4} {'COMMAND':<10} {'PID':>4} {'FD':<2} PROTO {'LOCAL ADDRESS':<21} {'FOREIGN ADDRESS':<21}\n"
    for process in _seen(request, jail):
        for one in _sockets(process.pid):
            if one.kind[-1] in families:
                out += (
                    f"{_user(one.user, letters):<4} {process.name:<10} {process.pid:>4} {one.fd:>2} {one.kind:<5} "
                    f"{one.local:<21} {one.remote:<21}\n"
                )
    return Reply(out)
