"""The privileged side of ZFS volumes and iSCSI disks: what a guest may be given, and what is left alone."""

import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from beastack.freebsd import zfs
from beastack.freebsd.errors import NotOurs
from beastack.freebsd.host import Completed
from beastack.privsep import checks, context, guest_conf, iscsi, volumes

_SPEC = importlib.util.spec_from_file_location("zfs_pool", Path(__file__).parent.parent / "nova" / "pool.py")
assert _SPEC is not None and _SPEC.loader is not None
_pool = importlib.util.module_from_spec(_SPEC)
sys.modules["zfs_pool"] = _pool
_SPEC.loader.exec_module(_pool)

UUID = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
OTHER = "7f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
VOLUME = "cccccccc-1111-4222-8333-444455556666"
MIB = 1 << 20


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    context.default.set_client_mode(False)
    with _pool.Pool(tmp_path, monkeypatch) as made:
        volumes.prepare_volumes()
        yield made


def test_only_its_own_volume_is_a_guests_disk(pool: Any) -> None:
    volumes.make_guest_volume(UUID, "root", MIB, None)
    root = zfs.device(f"{pool.root}/guests/{UUID}.root")
    assert volumes.is_guest_volume(root, UUID)
    for path, uuid in (
        (root, OTHER),
        (root.replace("root", "swap"), UUID),
        (root + ".frozen", UUID),
        (root.replace("/guests/", "/images/"), UUID),
        ("/dev/ada0", UUID),
        (f"/etc/{UUID}.root", UUID),
    ):
        assert not volumes.is_guest_volume(path, uuid), path
    cfg.CONF.clear_override("zfs_root", "beastack")
    assert not volumes.is_guest_volume(root, UUID)
    with pytest.raises(checks.Refused, match="zfs_root"):
        volumes.list_volumes()


def test_what_is_not_ours_is_neither_used_nor_removed(pool: Any) -> None:
    name = f"{pool.root}/guests/{UUID}.root"
    pool.run(["zfs", "create", "-V", "1m", name])
    with pytest.raises(NotOurs):
        volumes.remove_guest_volume(UUID, "root")
    with pytest.raises(NotOurs):
        volumes.write_guest_volume(UUID, "root", 0, b"x")
    assert not volumes.is_guest_volume(zfs.device(name), UUID)
    assert zfs.find(pool, name) is not None


def test_a_read_that_broke_off_is_cleaned_at_the_next_start(pool: Any) -> None:
    volumes.make_guest_volume(UUID, "root", MIB, None)
    volumes.freeze_guest_volume(UUID, "root")
    assert [each["disk"] for each in volumes.list_volumes()] == ["root"]
    volumes.prepare_volumes()
    names = pool.run(["zfs", "list", "-Hp", "-o", "name", "-t", "all", "-r", f"{pool.root}/guests"]).out.split()
    assert names == [f"{pool.root}/guests", f"{pool.root}/guests/{UUID}.root"]


def test_a_disk_that_is_read_in_pieces_is_asked_for_its_mark_once_a_reading(
    pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, real = list[str](), zfs.require_ours

    def counted(host: Any, name: str) -> str:
        asked.append(name)
        return real(host, name)

    monkeypatch.setattr(zfs, "require_ours", counted)
    volumes.make_guest_volume(UUID, "root", MIB, None)
    volumes.write_guest_volume(UUID, "root", 0, b"x")
    clone = f"{pool.root}/guests/{UUID}.root.frozen"
    for _round in range(2):
        volumes.freeze_guest_volume(UUID, "root")
        asked.clear()
        pieces = [volumes.read_frozen_volume(UUID, "root", place, 4096) for place in range(0, MIB, 4096)]
        assert pieces[0][:1] == b"x"
        assert asked.count(clone) == 1
        volumes.thaw_guest_volume(UUID, "root")
    pool.run(["zfs", "create", "-V", "1m", clone])
    with pytest.raises(NotOurs):
        volumes.read_frozen_volume(UUID, "root", 0, 4096)


def test_pieces_stay_within_their_volume(pool: Any) -> None:
    volumes.make_guest_volume(UUID, "root", MIB, None)
    for offset, data in ((MIB, b"x"), (MIB - 512, b"x" * 1024)):
        with pytest.raises(checks.Refused, match="behind its end"):
            volumes.write_guest_volume(UUID, "root", offset, data)
    for bad in (b"", b"x" * (volumes.CHUNK + 1), "x"):
        with pytest.raises(checks.Refused, match="data"):
            volumes.write_guest_volume(UUID, "root", 0, bad)  # type: ignore[arg-type]


SESSION = {
    "iscsictl": {
        "session": [
            {
                "name": "iqn.x:v",
                "portal": "10.0.0.1:3260",
                "state": "Connected",
                "devices": {"lun": [{"lun": 1, "device": "da3"}]},
            }
        ]
    }
}


class Initiator:
    """iscsictl(8): a session appears when it is added."""

    def __init__(self) -> None:
        self.connected = False
        self.ran: list[list[str]] = []
        self.configuration = ""

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        self.ran.append(list(argv))
        if "-A" in argv:
            file = Path(argv[-1])
            assert file.stat().st_mode & 0o777 == 0o600
            self.configuration = file.read_text()
            self.connected = True
        elif "-R" in argv:
            self.connected = False
        out = json.dumps(SESSION if self.connected else {"iscsictl": {}}) if "-L" in argv else ""
        return Completed(tuple(argv), 0, out, "")


@pytest.fixture
def initiator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Initiator]:
    made = Initiator()
    monkeypatch.setattr(iscsi, "HOST", made)
    context.default.set_client_mode(False)
    guest_conf.register(cfg.CONF)
    cfg.CONF.set_override("instances_path", str(tmp_path), "beastack")
    (tmp_path / UUID).mkdir()
    yield made
    cfg.CONF.clear_override("instances_path", "beastack")


def hand_over(tmp_path: Path, **more: Any) -> Path:
    values = {"target": "iqn.x:v", "portal": "10.0.0.1:3260", "user": "u", "secret": "pass-w0rd", "lun": 1, **more}
    file = tmp_path / UUID / f"volume-{VOLUME}.json"
    file.write_text(json.dumps(values))
    return file


def test_an_iscsi_disk_and_its_secret(initiator: Initiator, tmp_path: Path) -> None:
    hand_over(tmp_path)
    for _ in range(2):
        assert iscsi.attach_volume(UUID, VOLUME) == "/dev/da3"
    assert sum("-A" in line for line in initiator.ran) == 1
    assert "pass-w0rd" in initiator.configuration
    assert "pass-w0rd" not in str(initiator.ran)
    assert iscsi.is_guest_disk("/dev/da3", UUID)
    for path in ("/dev/da0", "/dev/da", "/dev/ada3", "/dev/daNone", "/etc/passwd"):
        assert not iscsi.is_guest_disk(path, UUID), path
    for _ in range(2):
        iscsi.detach_volume(UUID, VOLUME)
    assert not iscsi.is_guest_disk("/dev/da3", UUID)


@pytest.mark.parametrize("change", [{"target": "-x"}, {"portal": "x"}, {"lun": -1}, {"secret": 'x"'}, {"more": 1}])
def test_files_that_are_not_believed(initiator: Initiator, tmp_path: Path, change: dict[str, Any]) -> None:
    hand_over(tmp_path, **change)
    with pytest.raises(checks.Refused):
        iscsi.attach_volume(UUID, VOLUME)
    assert initiator.ran == []


def test_no_file_and_no_disk(initiator: Initiator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(checks.Refused, match="no file"):
        iscsi.attach_volume(UUID, VOLUME)
    hand_over(tmp_path, lun=7)
    monkeypatch.setattr(iscsi, "_LOGIN_SECONDS", 0.0)
    with pytest.raises(TimeoutError, match="unit 7"):
        iscsi.attach_volume(UUID, VOLUME)
    (tmp_path / UUID / f"volume-{VOLUME}.json").unlink()
    (tmp_path / UUID / f"volume-{VOLUME}.json").symlink_to("/etc/passwd")
    with pytest.raises(checks.Refused):
        iscsi.attach_volume(UUID, VOLUME)
    for uuid, volume in (("../x", VOLUME), (UUID, "../x"), (UUID, 5)):
        with pytest.raises(checks.Refused):
            iscsi.attach_volume(uuid, volume)  # type: ignore[arg-type]
