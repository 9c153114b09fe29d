"""Second names of a guest's files: what nova-compute puts in the place of a disk later on is not what bhyve opens."""

import os
from pathlib import Path

import pytest

from beastack.freebsd import bhyve
from beastack.privsep import guest_files, guest_pins
from beastack.privsep.checks import Refused

UUID = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
NOVA = 1001
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "instances" / UUID
    found.mkdir(parents=True)
    for name in ("root.raw", "vars.fd", "config.iso"):
        (found / name).write_text(name)
    return found


def machine(folder: Path) -> bhyve.Machine:
    return bhyve.Machine(
        name=UUID,
        uuid=UUID,
        topology=bhyve.Topology(1, 1, 1),
        memory_mib=64,
        bootrom=bhyve.Bootrom("/fw.fd", str(folder / "vars.fd")),
        console=bhyve.TcpConsole(7000),
        disks=(bhyve.Disk(str(folder / "root.raw")),),
        cd=bhyve.Cd(str(folder / "config.iso")),
    )


def pin(folder: Path, tmp_path: Path) -> bhyve.Machine:
    return guest_pins.pin(machine(folder), folder, str(tmp_path / "guests"), UUID)


def test_bhyve_is_told_roots_names_of_the_same_files(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "guests" / UUID
    found = pin(folder, tmp_path)
    assert list(found.file_paths()) == [str(own / n) for n in ("vars.fd", "root.raw", "config.iso")]
    assert found.bootrom.code == "/fw.fd"
    (folder / "root.raw").write_text("the guest's")
    assert (own / "root.raw").read_text() == "the guest's"
    assert own.stat().st_mode & 0o777 == 0o700


def test_a_later_swap_changes_nothing(folder: Path, tmp_path: Path) -> None:
    found = pin(folder, tmp_path)
    (folder / "root.raw").unlink()
    (folder / "root.raw").symlink_to("/etc/passwd")
    assert Path(found.disks[0].path).read_text() == "root.raw"


def _link(file: Path) -> None:
    file.symlink_to("/etc/passwd")


def _hard_link(file: Path) -> None:
    (file.parent.parent / "secret").write_text("secret")
    os.link(file.parent.parent / "secret", file)


def _fifo(file: Path) -> None:
    os.mkfifo(file)


def _nothing(file: Path) -> None:
    assert not file.exists()


@pytest.mark.parametrize("put", [_link, _hard_link, _fifo, _nothing])
def test_a_swap_before_is_seen(folder: Path, tmp_path: Path, put: object) -> None:
    (folder / "root.raw").unlink()
    assert callable(put)
    put(folder / "root.raw")
    with pytest.raises(Refused):
        pin(folder, tmp_path)
    assert not (tmp_path / "guests" / UUID / "root.raw").exists()


@root_only
def test_another_users_file_is_seen(folder: Path, tmp_path: Path) -> None:
    os.chown(folder, NOVA, NOVA)
    with pytest.raises(Refused, match="of the folder's owner"):
        pin(folder, tmp_path)


def test_names_go_with_the_guest(folder: Path, tmp_path: Path) -> None:
    pin(folder, tmp_path)
    guest_pins.unpin(str(tmp_path / "guests"), UUID)
    assert not (tmp_path / "guests" / UUID).exists()
    assert (folder / "root.raw").stat().st_nlink == 1
    guest_pins.unpin(str(tmp_path / "guests"), UUID)
    guest_pins.unpin("", UUID)


def test_without_a_place_there_is_no_start(folder: Path) -> None:
    with pytest.raises(Refused, match="guests_path"):
        guest_pins.pin(machine(folder), folder, "", UUID)


@root_only
def test_it_is_needed_when_nova_is_another_user(folder: Path) -> None:
    assert not guest_pins.needed(folder)
    os.chown(folder, NOVA, NOVA)
    assert guest_pins.needed(folder)


def test_logs_are_not_written_into_other_files(tmp_path: Path) -> None:
    secret = tmp_path / "crontab"
    secret.write_text("x")
    os.link(secret, tmp_path / "console.log")
    (tmp_path / "supervisor.log").symlink_to(secret)
    os.mkfifo(tmp_path / "lock")
    for name in ("console.log", "supervisor.log", "lock"):
        with pytest.raises((guest_files.GuestFileError, OSError)):
            guest_files.open_own(tmp_path / name, os.O_WRONLY, 0o640)
    assert secret.read_text() == "x"


def test_a_linked_folder_is_not_entered(folder: Path, tmp_path: Path) -> None:
    before = Path.cwd()
    try:
        guest_files.enter(folder)
        assert Path.cwd() == folder
        (tmp_path / "link").symlink_to(tmp_path / "instances")
        for wrong in (tmp_path / "link", tmp_path / "link" / UUID):
            with pytest.raises(OSError, match=r"."):
                guest_files.enter(wrong)
        assert Path.cwd() == folder
    finally:
        os.chdir(before)
