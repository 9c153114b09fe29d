"""LocalHost with real programs: output, failure, time limit, missing program."""

import os
import time

import pytest
from tests.unit.transcripts import FakeHost

from beastack.freebsd.errors import CommandFailed, CommandTimedOut, ProgramMissing
from beastack.freebsd.host import LocalHost


def test_input_and_output() -> None:
    assert LocalHost().run(["cat"], input="rules\n").out == "rules\n"


def test_failure_carries_status_and_words() -> None:
    with pytest.raises(CommandFailed) as caught:
        LocalHost().run(["ls", "/nonexistent"])
    assert caught.value.rc != 0
    assert "/nonexistent" in caught.value.err


def test_unchecked_failure_is_returned() -> None:
    assert LocalHost().run(["false"], check=False).rc == 1


def test_missing_program() -> None:
    with pytest.raises(ProgramMissing, match="no-such-program"):
        LocalHost().run(["no-such-program"])


def test_time_limit_ends_the_whole_family(tmp_path: os.PathLike[str]) -> None:
    """A child that outlives its parent would keep the pipe open: the session is killed as a whole."""
    began = time.monotonic()
    with pytest.raises(CommandTimedOut, match=r"0\.5 s"):
        LocalHost().run(["sh", "-c", "sleep 60 & sleep 60"], timeout=0.5)
    assert time.monotonic() - began < 10


def test_a_jail_is_the_same_by_jexec() -> None:
    host = FakeHost({"jexec qdhcp-1 ifconfig -l": "lo0\n"})
    assert host.jail("qdhcp-1").run(["ifconfig", "-l"]).out == "lo0\n"
