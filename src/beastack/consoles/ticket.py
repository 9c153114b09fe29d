"""Tickets: which guest's console a connection from nova's proxy may open, and until when.

nova-compute writes one into the connection's path (`internal_access_path`, which nova's proxies send in a CONNECT
request before anything else: nova/console/websocketproxy.py), and the service believes nothing but it:

    /serial/UUID/EXPIRES/MAC    EXPIRES in seconds since 1970, MAC = HMAC-SHA256 over the rest, in hex

The key is a file that only the services' user reads; it never leaves the host. Standard library only.
"""

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from beastack.privsep.guest_files import open_own, read_regular, write_whole

Kind = Literal["serial", "vnc"]
_FORM = re.compile(
    r"/(?P<kind>serial|vnc)/(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/(?P<expires>[0-9]{1,12})"
    r"/(?P<mac>[0-9a-f]{64})",
    re.ASCII,
)
_KEY_BYTES = 32


class BadTicket(Exception):
    """The path is no ticket of ours, or one that has expired; the text says which."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a valid path allows."""

    kind: Kind
    uuid: str
    expires: int


def _mac(key: bytes, ticket: Ticket) -> str:
    text = f"beastack-console-1 {ticket.kind} {ticket.uuid} {ticket.expires}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def issue(key: bytes, ticket: Ticket) -> str:
    """The path for this ticket."""
    return f"/{ticket.kind}/{ticket.uuid}/{ticket.expires}/{_mac(key, ticket)}"


def check(key: bytes, path: str, now: float) -> Ticket:
    """What ``path`` allows at ``now`` (seconds since 1970). Raises BadTicket."""
    found = _FORM.fullmatch(path)
    if found is None:
        raise BadTicket("not the form of a ticket")
    kind: Kind = "serial" if found["kind"] == "serial" else "vnc"
    ticket = Ticket(kind, found["uuid"], int(found["expires"]))
    if not hmac.compare_digest(_mac(key, ticket), found["mac"]):
        raise BadTicket(f"{kind} {ticket.uuid}: not issued here")
    if now >= ticket.expires:
        raise BadTicket(f"{kind} {ticket.uuid}: expired")
    return ticket


def host_key(path: Path) -> bytes:
    """The host's key; made by whoever asks first. ValueError or GuestFileError when the file is not one, OSError."""
    with suppress(FileNotFoundError):
        return _read(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = open_own(path.with_name(f"{path.name}.lock"), os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # held for the time of one small write
        if not path.exists():
            write_whole(path, secrets.token_hex(_KEY_BYTES).encode(), 0o600)
    finally:
        os.close(lock)
    return _read(path)


def _read(path: Path) -> bytes:
    data = read_regular(path, 4096)
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path}: others than its owner may read or write it")
    key = bytes.fromhex(data.decode("ascii"))
    if len(key) != _KEY_BYTES:
        raise ValueError(f"{path}: not a key of {_KEY_BYTES} bytes")
    return key
