"""What the record of calls shows, and what never."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.privsep import audit
from beastack.privsep.peer import Caller

CALLER = Caller(7, 1001, 1001, "/usr/local/bin/python3.11(nova-compute)")


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    before = list(audit.LOG.handlers)
    yield audit.LOG
    for handler in [h for h in audit.LOG.handlers if h not in before]:
        audit.LOG.removeHandler(handler)
        handler.close()


def test_arguments_are_shown_short() -> None:
    assert audit.shown(["tap1", 3, ["a"] * 5000], {"mtu": 1450}, values=True) == "'tap1', 3, <5000 items>, mtu=1450"
    assert len(audit.shown(["x" * 10_000], {}, values=True)) < 100


def test_secrets_are_never_shown() -> None:
    assert (
        audit.shown([{"chap_password": "p4ss"}], {"secret": "s3"}, values=True) == "{'chap_password': ***}, secret=***"
    )
    assert audit.shown(["iscsiadm", b"p4ss"], {"data": "s3"}, values=False) == "str, bytes, data=str"


@given(st.text(), st.text())
def test_nothing_begins_a_line_of_its_own(argument: str, name: str) -> None:
    line = audit.shown([argument], {name: argument}, values=True)
    assert line.isprintable()
    assert len(line) <= 601


def test_a_record_is_one_line_in_a_file_of_roots(tmp_path: Path, log: logging.Logger) -> None:
    file = tmp_path / "audit.log"
    audit.open_log(str(file))
    audit.record(logging.DEBUG, CALLER, "x\ny", "done\nforged", 0.25)
    assert file.stat().st_mode & 0o777 == 0o600
    lines = file.read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].endswith(
        "pid=7 uid=1001 program=/usr/local/bin/python3.11(nova-compute) called x?y: done?forged after 0.250 s"
    )


def test_no_record_no_start(tmp_path: Path, log: logging.Logger) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for wrong in (tmp_path / "none" / "x", tmp_path / "link"):
        with pytest.raises(OSError, match=r"."):
            audit.open_log(str(wrong))
