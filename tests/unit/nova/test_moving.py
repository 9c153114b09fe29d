"""Resize and migration, on one host and between two drivers over a real TLS connection."""

import json
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nova.compute import power_state

from beastack.nova import handover
from beastack.nova.base import Base
from beastack.nova.certificate import Certificate
from beastack.nova.driver import BhyveDriver
from beastack.nova.handover import DiskServer, HandoverError
from beastack.nova.stores.base import CHUNK
from beastack.nova.stores.files import FileStore
from nova import exception, objects

from .fakes import UUID
from .lab import CONF, MIB, Lab

HERE, THERE = "127.0.0.1", "127.0.0.2"
LOCAL = SimpleNamespace(source_compute="fbsd1", dest_compute="fbsd1")
AWAY = SimpleNamespace(source_compute="fbsd1", dest_compute="fbsd2")


def flavor(**more: Any) -> Any:
    values = {"vcpus": 2, "memory_mb": 512, "root_gb": 2, "ephemeral_gb": 0, "swap": 0, "extra_specs": {}, "name": "m"}
    return objects.Flavor(**{**values, **more})


@pytest.fixture(autouse=True)
def address(lab: Lab) -> None:
    CONF.set_override("my_ip", HERE)
    CONF.set_override("handover_port", 0, "beastack")


def leave(lab: Lab, dest: str, to: Any) -> str:
    told = lab.driver.migrate_disk_and_power_off(None, lab.instance, dest, to, lab.network_info)
    lab.instance.flavor = to
    return str(told)


def finish(lab: Lab, told: str, driver: Any = None) -> None:
    (driver or lab.driver).finish_migration(
        None, LOCAL, lab.instance, told, lab.network_info, lab.image, True, {}, None, True
    )


def root(lab: Lab) -> Path:
    return lab.folder / "root.raw"


def mark(lab: Lab, text: bytes) -> None:
    with open(root(lab), "r+b") as file:
        file.write(text)


def test_resize_on_this_host_confirmed(lab: Lab) -> None:
    lab.spawn()
    told = leave(lab, HERE, flavor(swap=16))
    assert lab.state() == power_state.SHUTDOWN
    finish(lab, told)
    assert lab.state() == power_state.RUNNING
    assert root(lab).stat().st_size == 2 << 30
    assert (lab.folder / "swap.raw").stat().st_size == 16 * MIB
    lab.driver.confirm_migration(None, LOCAL, lab.instance, lab.network_info)
    assert not (lab.folder / "kept").exists()
    assert lab.state() == power_state.RUNNING


def test_resize_on_this_host_taken_back(lab: Lab) -> None:
    lab.spawn()
    small = lab.instance.flavor
    mark(lab, b"before")
    told = leave(lab, HERE, flavor())
    finish(lab, told)
    mark(lab, b"after!")
    # nova's order: destroy on the "destination", disks kept because the storage is shared (it is one host)
    token = lab.driver.check_instance_shared_storage_local(None, lab.instance)
    assert lab.driver.check_instance_shared_storage_remote(None, token)
    lab.driver.check_instance_shared_storage_cleanup(None, token)
    assert not lab.driver.check_instance_shared_storage_remote(None, token)
    lab.driver.destroy(None, lab.instance, lab.network_info, None, False)
    lab.instance.flavor = small
    for _ in range(2):  # a crash amid it: asked again
        lab.driver.finish_revert_migration(None, lab.instance, lab.network_info, LOCAL)
    assert (root(lab).stat().st_size, root(lab).read_bytes()[:6]) == (1 << 30, b"before")
    assert lab.state() == power_state.RUNNING
    assert lab.driver._guest(lab.instance).machine().memory_mib == 256


def test_a_disk_that_would_shrink_is_refused_and_the_guest_runs_on(lab: Lab) -> None:
    lab.spawn()
    for to in (flavor(root_gb=0, ephemeral_gb=0), flavor()):
        lab.instance.flavor = flavor(root_gb=4)
        if to.root_gb:
            with pytest.raises(exception.InstanceFaultRollback, match="shrink"):
                lab.driver.migrate_disk_and_power_off(None, lab.instance, HERE, to, lab.network_info)
    lab.instance.flavor = flavor(ephemeral_gb=1)
    with pytest.raises(exception.InstanceFaultRollback, match="ephemeral_gb"):
        lab.driver.migrate_disk_and_power_off(None, lab.instance, HERE, flavor(), lab.network_info)
    assert lab.state() == power_state.RUNNING


class There:
    """A second host: its own folder of instances, and a driver of its own."""

    def __init__(self, lab: Lab) -> None:
        self.instances = lab.host.base / "instances2"
        self.instances.mkdir()
        self.driver = BhyveDriver(lab.virtapi)
        self.driver._instances = self.instances
        self.driver._runner = self.driver._make_runner()
        self.driver._store = FileStore(self.instances)
        self.driver._store.prepare()

    @property
    def folder(self) -> Path:
        return self.instances / UUID


@pytest.fixture
def there(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> There:
    # starting is the privileged side's, which knows one folder only
    made = There(lab)
    monkeypatch.setattr(made.driver, "_start", lambda _guest: None)
    monkeypatch.setattr(handover, "_SILENCE", 10.0)
    return made


def test_to_another_host_and_confirmed(lab: Lab, there: There) -> None:
    lab.spawn()
    mark(lab, b"precious")
    with open(root(lab), "r+b") as file:
        file.seek((1 << 30) - 7)
        file.write(b"the end")
    told = leave(lab, THERE, flavor())
    assert lab.taps == []
    assert lab.driver.list_instances() == []  # no guest of this host any more
    assert json.loads(told)["secret"] not in (lab.folder / "offer.json").read_text()
    finish(lab, told, there.driver)
    moved = there.folder / "root.raw"
    assert moved.stat().st_size == 2 << 30
    assert moved.stat().st_blocks * 512 <= 2 * CHUNK  # holes did not go over
    with open(moved, "rb") as file:
        assert file.read(8) == b"precious"
        file.seek((1 << 30) - 7)
        assert file.read(7) == b"the end"
    assert (there.folder / "uefi-vars.fd").read_bytes() == (lab.folder / "uefi-vars.fd").read_bytes()
    assert there.driver.list_instances() == [UUID]
    lab.driver.confirm_migration(None, AWAY, lab.instance, [])
    assert not lab.folder.exists()
    assert lab.driver._server._listener is None
    assert there.driver.list_instances() == [UUID]


def test_to_another_host_and_back(lab: Lab, there: There) -> None:
    lab.spawn()
    small = lab.instance.flavor
    mark(lab, b"precious")
    told = leave(lab, THERE, flavor())
    finish(lab, told, there.driver)
    there.driver.destroy(None, lab.instance, lab.network_info)
    assert not there.folder.exists()
    lab.instance.flavor = small
    lab.driver.finish_revert_migration(None, lab.instance, lab.network_info, AWAY)
    assert lab.state() == power_state.RUNNING
    assert root(lab).read_bytes()[:8] == b"precious"
    with pytest.raises(HandoverError):
        handover.fetch(json.loads(told), there.folder, there.driver._store)


def test_an_offer_outlives_nova_compute(lab: Lab, there: There) -> None:
    lab.spawn()
    told = json.loads(leave(lab, THERE, flavor()))
    (lab.folder / "offer.json").rename(lab.folder / "aside")
    lab.driver._server.close_if_idle()
    (lab.folder / "aside").rename(lab.folder / "offer.json")
    second = BhyveDriver(lab.virtapi)
    second.init_host("fbsd1")
    told["port"] = second._server.ensure_open()[1]  # a free one in this test; configured in life
    finish(lab, json.dumps(told), there.driver)
    assert (there.folder / "root.raw").exists()
    assert second._server.ensure_open()[2] == told["fingerprint"]


def test_a_destination_that_fails_leaves_nothing_and_the_source_whole(
    lab: Lab, there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.spawn()
    mark(lab, b"precious")
    told = leave(lab, THERE, flavor())
    write = there.driver._store.write

    def full(uuid: str, disk: str, offset: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(there.driver._store, "write", full)
    with pytest.raises(HandoverError, match="No space"):
        finish(lab, told, there.driver)
    assert not there.folder.exists()
    monkeypatch.setattr(there.driver._store, "write", write)
    finish(lab, told, there.driver)  # the offer still stands
    assert (there.folder / "root.raw").read_bytes()[:8] == b"precious"


@pytest.mark.parametrize("change", [{"secret": "0" * 64}, {"fingerprint": "0" * 64}, {"secret": ""}])
def test_a_stranger_gets_nothing(lab: Lab, there: There, change: dict[str, str]) -> None:
    lab.spawn()
    told = {**json.loads(leave(lab, THERE, flavor())), **change}
    there.folder.mkdir()
    with pytest.raises(HandoverError):
        handover.fetch(told, there.folder, there.driver._store)
    assert list(there.folder.iterdir()) == []


def test_a_source_that_lies_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes from the other host is checked: names, places, lengths, and that it is whole."""
    certificate = Certificate(tmp_path / "c.pem", "x")
    assert Certificate(tmp_path / "c.pem", "x").fingerprint == certificate.fingerprint
    assert (tmp_path / "c.pem").stat().st_mode & 0o777 == 0o600
    frame = handover._FRAME.pack
    lies: list[tuple[dict[str, Any], bytes]] = [
        ({"disks": {"../../x": 1}, "files": {}}, b""),
        ({"disks": {"root": 512}, "files": {}}, frame(512, 512) + b"x" * 512),
        ({"disks": {"root": 512}, "files": {}}, frame(0, CHUNK + 1)),
        ({"disks": {"root": 512}, "files": {}}, frame(0, 512) + b"x" * 100),
        ({"disks": {"root": 512}, "files": {}}, frame(256, 0)),
        ({"disks": {}, "files": {"machine.json": 5}}, b""),
        ({"disks": {}}, b""),
    ]
    told: dict[str, Any] = {}

    def answer(self: DiskServer, client: ssl.SSLSocket) -> None:
        listed, data = told["lie"]
        client.recv(4096)
        client.sendall(json.dumps(listed).encode() + b"\n" + data)

    monkeypatch.setattr(DiskServer, "_answer", answer)
    store = FileStore(tmp_path)
    store.prepare()
    (tmp_path / UUID).mkdir()
    server = DiskServer(tmp_path, store, HERE, 0, certificate)
    address, port, fingerprint = server.ensure_open()
    for lie in lies:
        told["lie"] = lie
        with pytest.raises(HandoverError):
            handover.fetch(
                {"address": address, "port": port, "fingerprint": fingerprint, "secret": "x"}, tmp_path / UUID, store
            )
    assert {each.name for each in (tmp_path / UUID).iterdir()} <= {"root.raw"}
    server.close_if_idle()
    assert issubclass(BhyveDriver, Base)
