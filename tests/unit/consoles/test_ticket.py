"""Tickets: what was issued passes, anything else does not."""

import stat
import threading
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.consoles import ticket
from beastack.consoles.ticket import BadTicket, Ticket
from beastack.privsep.guest_files import GuestFileError

KEY, OTHER = b"k" * 32, b"o" * 32
UUIDS = st.uuids().map(str)
KINDS = st.sampled_from(["serial", "vnc"])


@given(KINDS, UUIDS, st.integers(1, 10**11))
def test_what_was_issued_is_read_until_it_expires(kind: ticket.Kind, guest: str, expires: int) -> None:
    made = Ticket(kind, guest, expires)
    path = ticket.issue(KEY, made)
    assert len(path) < 255, "nova's column holds no more (console_auth_tokens.internal_access_path)"
    assert ticket.check(KEY, path, expires - 1) == made
    with pytest.raises(BadTicket, match="expired"):
        ticket.check(KEY, path, expires)
    with pytest.raises(BadTicket, match="not issued"):
        ticket.check(OTHER, path, 0)


@given(UUIDS, UUIDS, st.integers(0, 3))
def test_no_part_may_be_changed(guest: str, other: str, part: int) -> None:
    path = ticket.issue(KEY, Ticket("serial", guest, 1000))
    parts = path.split("/")[1:]
    parts[part] = ["vnc", other, "2000", f"{int(parts[3], 16) ^ 1:064x}"][part]
    with pytest.raises(BadTicket):
        ticket.check(KEY, "/" + "/".join(parts), 0)


@given(st.text(max_size=200))
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadTicket):
        ticket.check(KEY, text, 0)
    with pytest.raises(BadTicket):
        ticket.check(KEY, ticket.issue(KEY, Ticket("vnc", str(uuid.UUID(int=0)), 9)) + text + "x", 0)


def test_many_ask_for_the_key_at_once_and_get_one(tmp_path: Path) -> None:
    found: list[bytes] = []
    start = threading.Barrier(16)

    def ask() -> None:
        start.wait()
        found.append(ticket.host_key(tmp_path / "a" / "key"))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1
    assert len(found[0]) == 32
    assert stat.S_IMODE((tmp_path / "a" / "key").stat().st_mode) == 0o600


def test_a_key_that_others_could_have_read_or_put_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    ticket.host_key(path)
    path.chmod(0o640)
    with pytest.raises(ValueError, match="others"):
        ticket.host_key(path)
    path.chmod(0o600)
    path.write_text("00")
    with pytest.raises(ValueError, match="32 bytes"):
        ticket.host_key(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(GuestFileError, match="symbolic link"):
        ticket.host_key(tmp_path / "link")
