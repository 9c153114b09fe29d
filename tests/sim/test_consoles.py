"""A guest's supervisor over the simulated bhyve, with the consoles of either kind of release: log, viewers, screen."""

import shlex
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from beastack.consoles import door
from beastack.freebsd import bhyve, bhyve_json
from beastack.privsep import guest_files

from .conftest import LAB, Host, until
from .test_bhyve import CODE, VARS
from .test_bhyve import image as image
from .test_bhyve import pytestmark as pytestmark

UUID = "5a0f8a4e-0c34-4c55-9d1b-0f7a8d7f2f11"
SCREEN = LAB / "screens" / f"{UUID}.sock"
PLACES = {
    "15.1": (bhyve.TcpConsole(7101), bhyve.SocketFrameBuffer(str(SCREEN))),
    "older": (bhyve.NmdmConsole("/dev/nmdm7101A"), bhyve.FrameBuffer(7102)),
}


@pytest.fixture(params=list(PLACES))
def folder(request: pytest.FixtureRequest, host: Host, image: Path) -> Iterator[Path]:
    """The folder of a guest that has just been started."""
    made = LAB / "guest"
    made.mkdir()
    SCREEN.parent.mkdir(exist_ok=True)
    shutil.copyfile(image, made / "root.raw")
    shutil.copyfile(VARS, made / "vars.fd")
    console, screen = PLACES[request.param]
    machine = bhyve.Machine(
        name=UUID,
        uuid=UUID,
        topology=bhyve.Topology(1, 1, 1),
        memory_mib=256,
        bootrom=bhyve.Bootrom(str(CODE), str(made / "vars.fd")),
        console=console,
        disks=(bhyve.Disk(str(made / "root.raw")),),
        frame_buffer=screen,
    )
    (made / guest_files.MACHINE).write_text(bhyve_json.dump(machine))
    host.ok("kldload -n vmm nmdm")
    guest = f"{shlex.quote(sys.executable)} -I -m beastack.nova.guest.main"
    host.ok(f"{guest} run --dir {made} --detach")
    try:
        yield made
    finally:
        host.run(f"{guest} stop --dir {made} --grace 0")
        shutil.rmtree(made)


class Viewer:
    def __init__(self, connection: socket.socket) -> None:
        self.socket, self.seen = connection, b""

    def until(self, text: bytes) -> None:
        self.socket.settimeout(60)
        while text not in self.seen:
            data = self.socket.recv(65536)
            assert data, self.seen[-500:]
            self.seen += data


def test_a_guest_is_heard_from_its_first_word_and_keeps_its_viewers_over_a_reboot(folder: Path, host: Host) -> None:
    with (
        guest_files.connected(folder, guest_files.CONSOLE, 10) as one,
        guest_files.connected(folder, guest_files.CONSOLE, 10) as two,
    ):
        typing, watching = Viewer(one), Viewer(two)
        typing.until(b"guest# ")
        assert b"BdsDxe" in (folder / guest_files.CONSOLE_LOG).read_bytes(), "the firmware's words"
        typing.socket.sendall(b"echo sum=$((41+1))\n")
        for viewer in (typing, watching):
            viewer.until(b"sum=42")
        _screen(folder)
        typing.socket.sendall(b"reboot -f\n")
        for viewer in (typing, watching):
            viewer.until(b"[beastack: the guest rebooted]")
            viewer.seen = viewer.seen.partition(b"rebooted]")[2]
            viewer.until(b"guest# ")
        _screen(folder)
    log = (folder / guest_files.CONSOLE_LOG).read_bytes()
    assert log.count(b"BdsDxe: starting") == 2
    assert log.count(b"sum=42") == 1


def _screen(folder: Path) -> None:
    """bhyve's frame buffer itself, handed over by the supervisor."""

    def speaks() -> bool:
        screen = door.frame_buffer(folder)
        if screen is None:
            return False
        with screen:
            screen.settimeout(10)
            return screen.recv(12) == b"RFB 003.008\n"

    until(speaks, "the frame buffer")
