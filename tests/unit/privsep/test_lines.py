"""The holder of a serial line, as a real process on a terminal in place of nmdm(4)."""

import os
import pty
import signal
import sys
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from oslo_config import cfg

from beastack.freebsd import bhyve
from beastack.privsep import checks, context, guest_conf, guest_files, lines

from ..nova.fakes import UUID, FakeHost

CODE = """
import sys
from beastack.nova.guest import console_end
console_end.other_side = lambda device: {place!r}
from beastack.nova.guest.main import main
sys.exit(main())
"""


class Line:
    """bhyve's side of the pair, and the guest's folder."""

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = FakeHost(base)
        self.host.machine = replace(self.host.machine, console=bhyve.NmdmConsole("/dev/nmdm7000A"))
        self.host.write_machine()
        self.bhyve, slave = pty.openpty()
        tty.setraw(slave)
        self.slave = slave
        monkeypatch.setenv("PATH", self.host.env["PATH"])
        monkeypatch.setattr(lines, "_HOLDER", (sys.executable, "-c", CODE.format(place=os.ttyname(slave)), "line"))
        context.default.set_client_mode(False)
        cfg.CONF([], project="test")
        guest_conf.register(cfg.CONF)
        cfg.CONF.set_override("instances_path", str(base / "instances"), "beastack")
        cfg.CONF.set_override("console_ports", "7000-7001", "beastack")

    @property
    def folder(self) -> Path:
        return self.host.guest

    def holder(self) -> int:
        state = guest_files.read_state(self.folder, name=guest_files.LINE)
        assert state is not None
        return state.supervisor_pid

    def log(self) -> bytes:
        return (self.folder / guest_files.CONSOLE_LOG).read_bytes()

    def held(self) -> bool:
        return guest_files.is_supervised(self.folder, guest_files.LINE_LOCK)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    made = Line(tmp_path, monkeypatch)
    yield made
    lines.stop_line(UUID)
    for descriptor in (made.bhyve, made.slave):
        os.close(descriptor)
    for option in ("instances_path", "console_ports"):
        cfg.CONF.clear_override(option, "beastack")


def test_what_the_guest_writes_is_kept_and_shown_and_what_is_typed_reaches_it(line: Line) -> None:
    lines.start_line(UUID)
    lines.start_line(UUID)
    os.write(line.bhyve, b"login: ")
    until(lambda: line.log() == b"login: ")
    with guest_files.connected(line.folder, guest_files.CONSOLE, 5) as viewer:
        assert viewer.recv(100) == b"login: "
        viewer.sendall(b"root\n")
        assert os.read(line.bhyve, 100) == b"root\n"
    assert not guest_files.is_supervised(line.folder)  # it is no supervisor of the guest


def test_it_can_be_killed_and_started_again(line: Line) -> None:
    lines.start_line(UUID)
    first = line.holder()
    os.kill(first, signal.SIGKILL)
    until(lambda: not line.held())
    lines.start_line(UUID)
    assert line.holder() != first
    os.write(line.bhyve, b"again")
    until(lambda: line.log() == b"again")


def test_the_end(line: Line) -> None:
    lines.start_line(UUID)
    os.write(line.bhyve, b"last words")
    until(lambda: line.log() == b"last words")
    lines.stop_line(UUID)
    lines.stop_line(UUID)
    assert not line.held()
    assert not (line.folder / guest_files.CONSOLE).exists()
    assert not (line.folder / guest_files.LINE).exists()
    assert line.log() == b"last words"
    lines.stop_line(UUID.replace("6f1a", "7f1a"))  # no such guest


@pytest.mark.parametrize(
    ("console", "words"),
    [(bhyve.TcpConsole(7000), r"not on nmdm\(4\)"), (bhyve.NmdmConsole("/dev/nmdm7002A"), "is not one of 7000-7001")],
)
def test_other_places_are_refused(line: Line, console: bhyve.Console, words: str) -> None:
    line.host.machine = replace(line.host.machine, console=console)
    line.host.write_machine()
    with pytest.raises(checks.Refused, match=words):
        lines.start_line(UUID)
    assert not line.held()


def test_a_folder_that_is_a_link_is_refused(line: Line) -> None:
    other = UUID.replace("6f1a", "7f1a")
    (line.folder.parent / other).symlink_to(line.folder)
    for call in (lines.start_line, lines.stop_line):
        with pytest.raises(checks.Refused, match="not a folder"):
            call(other)
