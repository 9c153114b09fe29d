"""ssh as a door: quoting, time limits and failures, with a program in ssh's place that hands the line to sh."""

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.freebsd.errors import CommandFailed, CommandTimedOut, HostUnreachable, NoSuchJail, ProgramMissing
from beastack.freebsd.ssh_host import Address, SshHost

# the last word is the remote line, as sshd hands it to the user's shell
FAKE = """#!/bin/sh
for word; do :; done
case "$*" in
*"-O exit"*) exit 0 ;;
*lost*) echo 'ssh: connect to host lost port 22: No route to host' >&2; exit 255 ;;
esac
exec sh -c "$word"
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshHost]:
    (tmp_path / "ssh").write_text(FAKE)
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with SshHost(Address("there")) as made:
        yield made


def test_words_arrive_as_they_were(host: SshHost) -> None:
    words = ["a b", "'", '"', "$HOME", "`id`", "*", "\\", ";reboot", "", "-n", '{ thisHook="in" }', "é"]
    assert host.run(["printf", "%s|", *words]).out == "|".join(words) + "|"


@given(st.lists(st.text(st.characters(blacklist_characters="\n\0", blacklist_categories=("Cs",))), min_size=1))
def test_the_remote_line_is_one_word_and_reads_back(words: list[str]) -> None:
    with SshHost(Address("there", identity=None)) as host:
        line = host.command(["ngctl", *words], 3)
    assert shlex.split(line[-1])[-len(words) :] == words
    assert line[-2] == "there"


@pytest.mark.parametrize("word", ["a\nb", "a\0b"])
def test_what_no_shell_carries_is_refused(host: SshHost, word: str) -> None:
    with pytest.raises(ValueError, match="new line or NUL"):
        host.run(["printf", word])


def test_input_status_and_both_outputs(host: SshHost) -> None:
    done = host.run(["sh", "-c", "cat; echo no >&2; exit 3"], input="said", check=False)
    assert (done.rc, done.out, done.err) == (3, "said", "no\n")
    with pytest.raises(CommandFailed) as caught:
        host.run(["false"])
    assert caught.value.argv == ["false"]


def test_a_typed_error_is_the_same_as_here(host: SshHost) -> None:
    with pytest.raises(NoSuchJail):
        host.run(["sh", "-c", "echo 'jls: jail \"9\" not found' >&2; exit 1"])


def test_a_missing_program(host: SshHost) -> None:
    with pytest.raises(ProgramMissing, match="nosuch"):
        host.run(["nosuch"])


def test_a_command_ends_by_its_limit(host: SshHost) -> None:
    began = time.monotonic()
    with pytest.raises(CommandTimedOut):
        host.run(["sleep", "30"], timeout=0.3)
    assert time.monotonic() - began < 5


def test_an_unreachable_host(host: SshHost) -> None:
    with SshHost(Address("lost")) as lost, pytest.raises(HostUnreachable, match=r"lost: not reachable.*No route"):
        lost.run(["true"])


def test_a_daemon_left_behind_does_not_hold_the_answer(host: SshHost) -> None:
    began = time.monotonic()
    host.run(["sh", "-c", "sleep 3 </dev/null >/dev/null 2>&1 & echo started"])
    assert time.monotonic() - began < 2


def test_nothing_stays_of_a_closed_one(host: SshHost) -> None:
    made = SshHost(Address("there"))
    folder = made._folder
    made.close()
    assert not folder.exists()


def test_addresses(tmp_path: Path) -> None:
    key = tmp_path / "id"
    key.write_text("")
    assert Address.parse("ssh://hv1") == Address("hv1")
    assert Address.parse(f"ssh://me@[2001:db8::1]:2222?identity={key}") == Address("2001:db8::1", "me", 2222, str(key))
    for wrong in ("ssh:", "ssh:///x", "http://a", "ssh://a/b", "ssh://u:p@a", "ssh://-oProxyCommand=x",
                  "ssh://a?identity=/nosuch", "ssh://a?x=1", "ssh://a:port"):  # fmt: skip
        with pytest.raises(ValueError, match=r"."):
            Address.parse(wrong)
