"""Devices that fail as bhyve's do, in the order of their places, and consoles as bhyve serves them."""

import selectors
import socket
from pathlib import Path

import pytest

from beastack.sim.bhyve import consoles, options, vmm
from beastack.sim.bhyve.errors import Ended
from beastack.sim.bhyve.run import Guest


@pytest.fixture
def firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("BEASTACK_SIM", str(tmp_path / "host"))
    for name in ("code", "vars"):
        (tmp_path / name).write_bytes(bytes(4096))
    return ["-s", "31,lpc", "-l", f"bootrom,{tmp_path}/code,{tmp_path}/vars"]


def _ends(argv: list[str]) -> tuple[int, str]:
    with pytest.raises(Ended) as caught:
        Guest(options.parse([*argv, "m1"])).run()
    return caught.value.status, caught.value.err


def test_missing_variables(tmp_path: Path, firmware: list[str]) -> None:
    code = f"bootrom,{tmp_path}/code,{tmp_path}"
    status, words = _ends(["-l", f"{code}/missing"])
    assert (status, words) == (
        4, f'Error opening bootrom variable file "{tmp_path}/missing": No such file or directory\n'
    )  # fmt: skip
    (tmp_path / "empty").touch()
    assert _ends(["-l", f"{code}/empty"])[0] == 4


def test_a_tap_without_its_host(firmware: list[str]) -> None:
    assert _ends(["-s", "2,virtio-net,tap9", *firmware]) == (
        4,
        "open of tap device /dev/tap9 failed\nDevice emulation initialization error: No such file or directory\n",
    )


def test_a_missing_disk(firmware: list[str]) -> None:
    status, words = _ends(["-s", "3,virtio-blk,/nonexistent", *firmware])
    assert status == 4
    assert words.endswith("Device emulation initialization error: No such file or directory\n")


@pytest.mark.parametrize(
    ("where", "reason"),
    [("FILE", "Inappropriate ioctl for device"), ("/nofile", "No such file or directory"),
     ("unix:/c.sock", "No such file or directory")],
)  # fmt: skip
def test_a_console_that_is_none(tmp_path: Path, firmware: list[str], where: str, reason: str) -> None:
    (tmp_path / "log").touch()
    where = where.replace("FILE", str(tmp_path / "log"))
    assert _ends([*firmware, "-l", f"com1,{where}"]) == (
        4,
        f"Unable to initialize backend '{where}' for LPC device com1\n"
        f"Device emulation initialization error: {reason}\n",
    )


def test_a_console_port_twice(firmware: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert _ends([*firmware, "-l", f"com1,tcp={where}"]) == (
            4,
            f"bhyve: bind({where}): Address already in use\n"
            f"Unable to initialize backend 'tcp={where}' for LPC device com1\n"
            "Device emulation initialization error: Address already in use\n",
        )


def test_the_tcp_console() -> None:
    with selectors.DefaultSelector() as selector:
        port = consoles.make(selector, "com1", "tcp=127.0.0.1:0")
        assert isinstance(port, consoles.TcpPort)
        address = port._server.getsockname()

        def turn() -> None:
            for _ in range(4):
                for key, mask in selector.select(0.05):
                    key.data(mask)

        port.theirs.sendall(b"lost")
        turn()
        first = socket.create_connection(address, timeout=5)
        turn()
        second = socket.create_connection(address, timeout=5)
        turn()
        assert second.recv(100) == b"Socket already connected\n\0"
        assert second.recv(100) == b""
        port.theirs.sendall(b"seen")
        turn()
        assert first.recv(100) == b"seen"
        first.sendall(b"typed")
        turn()
        assert port.theirs.recv(100) == b"typed"
        first.close()
        turn()
        third = socket.create_connection(address, timeout=5)
        turn()
        port.theirs.sendall(b"again")
        turn()
        assert third.recv(100) == b"again"


def test_an_entry_stays_and_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEASTACK_SIM", str(tmp_path))
    entry = vmm.Machine("m1")
    assert not entry.exists()
    entry.create()
    with pytest.raises(FileExistsError):
        entry.create()
    assert entry.take() is not None
    assert entry.take() is None
    assert entry.runs()
    entry.remove()
    assert not entry.exists()
    with pytest.raises(vmm.NoSuchMachine):
        vmm.Machine("a/b")
