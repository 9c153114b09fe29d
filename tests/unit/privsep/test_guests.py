"""The privileged side: what it accepts of a machine description, and the life of a guest through its entry
points.
"""

import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from beastack.freebsd import bhyve, bhyve_json, pci, process
from beastack.privsep import checks, context, guest_conf, guest_files, guests

_SPEC = importlib.util.spec_from_file_location("guest_fakes", Path(__file__).parent.parent / "nova" / "fakes.py")
assert _SPEC is not None and _SPEC.loader is not None
fakes = importlib.util.module_from_spec(_SPEC)
sys.modules["guest_fakes"] = fakes
_SPEC.loader.exec_module(fakes)

UUID = fakes.UUID


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    made = fakes.FakeHost(tmp_path)
    guest_conf.register(cfg.CONF)
    port = made.machine.console.port
    cfg.CONF.set_override("instances_path", str(tmp_path / "instances"), "beastack")
    cfg.CONF.set_override("bootrom", "/fw.fd", "beastack")
    cfg.CONF.set_override("console_ports", f"{port}-{port}", "beastack")
    context.default.set_client_mode(False)
    monkeypatch.setenv("PATH", made.env["PATH"])
    yield made
    made.end()
    for name in ("instances_path", "bootrom", "console_ports"):
        cfg.CONF.clear_override(name, "beastack")


def _wish(host: Any, **changes: Any) -> str:
    return bhyve_json.dump(replace(host.machine, **changes))


def _foreign_disk(host: Any) -> str:
    return _wish(host, disks=(bhyve.Disk("/etc/passwd"),))


def _nested_disk(host: Any) -> str:
    (host.guest / "sub").mkdir()
    (host.guest / "sub" / "d").touch()
    return _wish(host, disks=(bhyve.Disk(str(host.guest / "sub" / "d")),))


def _linked_disk(host: Any) -> str:
    (host.guest / "link").symlink_to("/etc/passwd")
    return _wish(host, disks=(bhyve.Disk(str(host.guest / "link")),))


def _hard_linked_disk(host: Any) -> str:
    secret = host.base / "secret"
    secret.write_text("secret")
    os.link(secret, host.guest / "hard")
    return _wish(host, disks=(bhyve.Disk(str(host.guest / "hard")),))


def _missing_disk(host: Any) -> str:
    return _wish(host, disks=(bhyve.Disk(str(host.guest / "nothing")),))


def _fifo_disk(host: Any) -> str:
    os.mkfifo(host.guest / "fifo")
    return _wish(host, disks=(bhyve.Disk(str(host.guest / "fifo")),))


def _other_rom(host: Any) -> str:
    return _wish(host, bootrom=bhyve.Bootrom("/tmp/evil.fd", host.machine.bootrom.variables))


def _foreign_variables(host: Any) -> str:
    return _wish(host, bootrom=bhyve.Bootrom("/fw.fd", "/etc/shadow"))


def _other_port(host: Any) -> str:
    return _wish(host, console=bhyve.TcpConsole(host.machine.console.port ^ 1))


def _open_console(host: Any) -> str:
    return _wish(host, console=bhyve.TcpConsole(host.machine.console.port, "0.0.0.0"))


def _nmdm(host: Any) -> str:
    return _wish(host, console=bhyve.NmdmConsole("/dev/nmdm0A"))


def _open_screen(host: Any) -> str:
    return _wish(host, frame_buffer=bhyve.FrameBuffer(5900, "0.0.0.0"))


def _other_name(host: Any) -> str:
    return _wish(host, name="somebody-else")


def _other_uuid(host: Any) -> str:
    return _wish(host, uuid=UUID.replace("6", "7"))


def _network_card(host: Any) -> str:
    text = json.loads(_wish(host))
    text["nics"][0]["tap"] = "em0"
    return json.dumps(text)


@pytest.mark.parametrize(
    "make",
    [
        _foreign_disk,
        _nested_disk,
        _linked_disk,
        _hard_linked_disk,
        _missing_disk,
        _fifo_disk,
        _other_rom,
        _foreign_variables,
        _other_port,
        _open_console,
        _nmdm,
        _open_screen,
        _other_name,
        _other_uuid,
        _network_card,
    ],
)
def test_refuses(host: Any, make: Callable[[Any], str]) -> None:
    (host.guest / "machine.json").write_text(make(host))
    with pytest.raises(checks.Refused):
        guests.start_guest(UUID)
    assert host.starts() == 0


@pytest.mark.parametrize("uuid", ["../../etc", "", "6f1a4f2e", UUID.upper(), f"{UUID}/", f"{UUID}\n"])
def test_refuses_what_is_no_uuid(host: Any, uuid: str) -> None:
    for entry in (guests.start_guest, guests.reset_guest, guests.forget_guest, guests.guest_state):
        with pytest.raises(checks.Refused):
            entry(uuid)


def test_refuses_a_linked_folder_and_a_linked_description(host: Any) -> None:
    other = UUID.replace("6", "7")
    (host.base / "instances" / other).symlink_to(host.guest)
    with pytest.raises(checks.Refused):
        guests.start_guest(other)
    (host.guest / "machine.json").rename(host.guest / "elsewhere")
    (host.guest / "machine.json").symlink_to(host.guest / "elsewhere")
    with pytest.raises(guest_files.GuestFileError, match="symbolic"):
        guests.start_guest(UUID)


def test_whole_life(host: Any) -> None:
    guests.prepare_host()
    assert guests.guest_state(UUID) == {}
    assert guests.start_guest(UUID)["state"] == "running"
    assert guests.start_guest(UUID)["state"] == "running"
    assert host.starts() == 1
    assert guests.reset_guest(UUID)["restarts"] == 1
    stopped = guests.stop_guest(UUID, 10)
    assert (stopped["state"], stopped["asked"]) == ("stopped", True)
    assert guests.stop_guest(UUID, 10)["state"] == "stopped"
    assert guests.reset_guest(UUID)["state"] == "stopped"
    assert guests.start_guest(UUID)["state"] == "running"
    guests.forget_guest(UUID)
    assert not guest_files.is_supervised(host.guest)
    assert not (host.guest / "state.json").exists()
    guests.forget_guest(UUID)
    guests.forget_guest(UUID.replace("6", "7"))


def test_failed_start_tells_bhyves_words(host: Any) -> None:
    (host.base / "refuse").touch()
    answer = guests.start_guest(UUID)
    assert answer["state"] == "failed"
    assert "Device busy" in str(answer["reason"])


def test_mend_after_the_supervisor_was_killed(host: Any) -> None:
    before = guests.start_guest(UUID)
    os.kill(int(str(before["supervisor_pid"])), signal.SIGKILL)
    assert guest_files.wait_unsupervised(host.guest, 5)
    answer = guests.mend_guest(UUID)
    assert (answer["state"], answer["reason"]) == ("failed", "the supervisor of the guest was lost")
    assert not guest_files.is_same(int(str(before["bhyve_pid"])), str(before["bhyve_mark"]))
    assert not (host.base / "vmm").exists()


def test_mend_leaves_a_healthy_guest_alone(host: Any) -> None:
    before = guests.start_guest(UUID)
    assert guests.mend_guest(UUID)["bhyve_pid"] == before["bhyve_pid"]


def test_a_supervisor_that_hangs_is_ended(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = guests.start_guest(UUID)
    os.kill(int(str(before["supervisor_pid"])), signal.SIGSTOP)
    monkeypatch.setattr(guests, "_ANSWER_SECONDS", 0.3)
    assert guests.stop_guest(UUID, 0)["state"] == "failed"
    assert not guest_files.is_same(int(str(before["bhyve_pid"])), str(before["bhyve_mark"]))


def test_pids_of_a_foreign_state_are_not_believed(host: Any) -> None:
    mine = process.start_mark(os.getpid()) or ""
    state = guest_files.GuestState(state="running", bhyve_pid=os.getpid(), bhyve_mark=mine)
    (host.guest / "real").write_text(state.to_json())
    (host.guest / "state.json").symlink_to(host.guest / "real")
    assert guests.mend_guest(UUID) == {}  # and we are still here
    assert guests.start_guest(UUID)["state"] == "running"


_PCICONF = (
    "ppt0@pci0:1:0:0:\tclass=0x020000 rev=0x01 hdr=0x00 vendor=0x8086 device=0x1572 subvendor=0x8086 subdevice=0x0001\n"
    "ixl0@pci0:2:0:0:\tclass=0x020000 rev=0x01 hdr=0x00 vendor=0x8086 device=0x1572 subvendor=0x8086 subdevice=0x0001\n"
)


@pytest.mark.parametrize(
    ("bus", "said"),
    [(1, ""), (2, "not held by ppt"), (3, "there is no PCI device"), (4, "not in .beastack. passthrough")],
)
def test_a_device_of_the_host_is_given_when_it_is_allowed_and_held(host: Any, bus: int, said: str) -> None:
    program = host.bin / "pciconf"
    program.write_text(f"#!/bin/sh\nprintf '%s' '{_PCICONF}'\n")
    program.chmod(0o755)
    cfg.CONF.set_override("passthrough", ["1/0/0", " 2/0/0", "3/0/0"], "beastack")
    try:
        text = _wish(host, wired=True, passthrough=(bhyve.PciDevice(bus, 0, 0),))
        if said:
            with pytest.raises((checks.Refused, pci.NoSuchDevice), match=said):
                guests.check_machine(text, UUID, host.guest)
        else:
            assert guests.check_machine(text, UUID, host.guest).passthrough == (bhyve.PciDevice(1, 0, 0),)
    finally:
        cfg.CONF.clear_override("passthrough", "beastack")


def test_a_volume_of_another_guest_is_no_disk(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which devices are a guest's is for volumes and iscsi to say (test_volumes.py); anything else must be its file."""
    asked: list[tuple[str, str]] = []

    def is_its(path: str, uuid: str) -> bool:
        asked.append((path, uuid))
        return path.endswith(f"{UUID}.root")

    monkeypatch.setattr(guests.volumes, "is_guest_volume", is_its)
    own = f"/dev/zvol/tank/guests/{UUID}.root"
    assert guests.check_machine(_wish(host, disks=(bhyve.Disk(own),)), UUID, host.guest).disks[0].path == own
    with pytest.raises(checks.Refused, match="not in"):
        guests.check_machine(_wish(host, disks=(bhyve.Disk(own.replace("6f1a", "7f1a")),)), UUID, host.guest)
    assert (own, UUID) in asked


def test_counters_of_a_guest_that_does_not_run_are_none(host: Any) -> None:
    assert guests.guest_counters(UUID) == {}
    guests.start_guest(UUID)
    assert guests.guest_counters(UUID) == {"Resident memory": 40968192}
    assert guests.pause_guest(UUID)["state"] == "paused"
    assert guests.start_guest(UUID)["state"] == "paused"  # it runs already, as far as it may
    assert guests.resume_guest(UUID)["state"] == "running"
