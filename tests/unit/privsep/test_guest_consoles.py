"""Which places of consoles the privileged side accepts: the guest's own, and nothing that a network reaches."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from beastack.freebsd import bhyve
from beastack.privsep import guest_consoles
from beastack.privsep.checks import Refused

UUID, OTHER = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11", "7f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
GROUP = SimpleNamespace(console_ports="7000-7009", screens_path="/var/run/beastack/screens")
MACHINE = bhyve.Machine(
    name=UUID,
    uuid=UUID,
    topology=bhyve.Topology(1, 1, 1),
    memory_mib=64,
    bootrom=bhyve.Bootrom("/fw.fd"),
    console=bhyve.TcpConsole(7000),
)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"console": bhyve.NmdmConsole("/dev/nmdm7009A")},
        {"frame_buffer": bhyve.SocketFrameBuffer(f"/var/run/beastack/screens/{UUID}.sock")},
        {"frame_buffer": bhyve.FrameBuffer(7001)},
    ],
)
def test_the_guests_own_places_are_served(change: dict[str, object]) -> None:
    guest_consoles.check(replace(MACHINE, **change), GROUP)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"console": bhyve.TcpConsole(7010)}, "7010 is not one of"),
        ({"console": bhyve.TcpConsole(7000, "0.0.0.0")}, "console: only on"),
        ({"console": bhyve.NmdmConsole("/dev/nmdm7000B")}, "nmdm7000B is not one of"),
        ({"console": bhyve.NmdmConsole("/dev/nmdm0A")}, "nmdm0A is not one of"),
        ({"frame_buffer": bhyve.FrameBuffer(7001, "10.0.0.1")}, "frame buffer: only on"),
        ({"frame_buffer": bhyve.FrameBuffer(5900)}, "5900 is not one of"),
        ({"frame_buffer": bhyve.SocketFrameBuffer(f"/var/run/beastack/screens/{OTHER}.sock")}, "is not the guest's"),
        ({"frame_buffer": bhyve.SocketFrameBuffer("/var/run/somebody.sock")}, "is not the guest's"),
        ({"more_consoles": (bhyve.TcpConsole(7001),)}, "one serial console"),
        ({"channels": (bhyve.Channel("agent", "/tmp/a"),)}, "one serial console"),
    ],
)
def test_any_other_place_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(Refused, match=words):
        guest_consoles.check(replace(MACHINE, **change), GROUP)  # type: ignore[arg-type]
