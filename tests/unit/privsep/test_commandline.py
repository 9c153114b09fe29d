"""The helper's arguments: one form, and nothing that oslo.config or oslo.log would take besides."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.privsep.checks import Refused
from beastack.privsep.commandline import parse

GOOD = [
    "--config-file",
    "/etc/nova/nova.conf",
    "--privsep_context",
    "beastack.privsep.context.default",
    "--privsep_sock_path",
    "/tmp/tmp0a_b9z/privsep.sock",
]


def test_upstreams_form_is_read() -> None:
    found = parse(["--config-file", "/a", *GOOD])
    assert found.config_files == (Path("/a"), Path("/etc/nova/nova.conf"))
    assert (found.context, found.socket) == (GOOD[3], GOOD[5])
    assert found.config_arguments() == ["--config-file", "/a", "--config-file", "/etc/nova/nova.conf"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        GOOD[2:],
        GOOD[:4],
        [*GOOD, "--log-config-append", "/tmp/evil"],
        [*GOOD, "--privsep_context", "nova.privsep.sys_admin_pctxt"],
        ["--log-file", "/etc/passwd", *GOOD],
        ["--config-dir", "/tmp", *GOOD],
        ["--config-file=/etc/nova/nova.conf", *GOOD[2:]],
        ["--config-file", "nova.conf", *GOOD[2:]],
        ["--config-file", "/etc/../tmp/x", *GOOD[2:]],
        ["--config-file", "/etc/x\n[beastack]", *GOOD[2:]],
        [*GOOD[:3], "os;import evil", *GOOD[4:]],
        [*GOOD[:3], "os", *GOOD[4:]],
        [*GOOD[:5], "/tmp/x/../privsep.sock"],
        [*GOOD[:5], "/var/run/other.sock"],
        [*GOOD[:5], "privsep.sock"],
        [*GOOD[:5], f"/{'x' * 120}/privsep.sock"],
        [*["--config-file", "/x"] * 9, *GOOD],
    ],
)
def test_any_other_is_refused(words: list[str]) -> None:
    with pytest.raises(Refused):
        parse(words)


@given(st.integers(0, len(GOOD)), st.text(max_size=30))
def test_a_word_more_is_refused(at: int, word: str) -> None:
    with pytest.raises(Refused):
        parse([*GOOD[:at], word, *GOOD[at:]])
