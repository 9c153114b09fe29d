"""A driver over the real privsep entry points (in this process) and the programs of fakes.py."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nova.conf
import pytest
from nova.network import model

from beastack.nova import driver as driver_module
from beastack.nova import health
from beastack.privsep import context, guest_conf, guest_files, interfaces
from nova import exception, objects
from nova.virt import images

from .fakes import UUID, FakeHost, free_port

CONF = nova.conf.CONF
PORT = "0f1e2d3c-1111-4222-8333-444455556666"
IMAGE_ID = "11111111-2222-4333-8444-555555555555"
NODE = "99999999-2222-4333-8444-555555555555"
MIB = 1 << 20


class VirtAPI:
    """Remembers what was waited for; an event may fail to come."""

    def __init__(self) -> None:
        self.waited: list[Any] = []
        self.late = False
        self.enabled: dict[str, bool] = {}

    def update_compute_provider_status(self, _context: Any, uuid: str, enabled: bool) -> None:
        self.enabled[uuid] = enabled

    @contextmanager
    def wait_for_instance_event(
        self, instance: Any, events: Any, timeout: int = 300, error_callback: Any = None
    ) -> Iterator[None]:
        self.waited += events
        yield
        if self.late:
            raise exception.InstanceEventTimeout()


class Lab:
    """A driver on a fake host, one instance and its port."""

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        objects.register_all()
        self.host = FakeHost(base)
        # sun_path is short, pytest's folders are long
        self.screens = Path(tempfile.mkdtemp(prefix="bs-", dir="/tmp"))
        self.folder = self.host.guest
        for each in list(self.folder.iterdir()):
            each.unlink()
        self.folder.rmdir()
        firmware = base / "code.fd"
        firmware.write_bytes(b"code")
        (base / "vars.fd").write_bytes(b"v" * 4096)
        port = free_port()
        guest_conf.register(CONF)
        monkeypatch.setenv("PATH", self.host.env["PATH"])
        CONF([], project="nova", default_config_files=[], version="x")
        CONF.set_override("host", "fbsd1")
        CONF.set_override("instances_path", str(base / "instances"))
        for name, value in (
            ("instances_path", str(base / "instances")),
            ("bootrom", str(firmware)),
            ("bootrom_vars", str(base / "vars.fd")),
            ("console_ports", f"{port}-{port + 3}"),
            ("screens_path", str(self.screens)),
        ):
            CONF.set_override(name, value, "beastack")
        context.default.set_client_mode(False)
        (base / "taps").mkdir()
        monkeypatch.setattr(interfaces, "ensure_tap", self.plug)
        monkeypatch.setattr(interfaces, "destroy_interface", self.unplug)
        self.service = SimpleNamespace(disabled=False, disabled_reason=None, save=lambda: None)
        fake = SimpleNamespace(
            Service=SimpleNamespace(get_by_compute_host=lambda *_: self.service),
            ComputeNodeList=SimpleNamespace(get_all_by_host=lambda *_: [SimpleNamespace(uuid=NODE)]),
        )
        monkeypatch.setattr(health, "objects", fake)
        self.content = b"r" * MIB
        self.fetches = 0
        monkeypatch.setattr(images, "fetch", self.fetch)
        self.virtapi = VirtAPI()
        self.driver = driver_module.BhyveDriver(self.virtapi)
        self.events: list[Any] = []
        self.event = threading.Event()
        self.driver.register_event_listener(self.on_event)
        self.image = objects.ImageMeta.from_dict(
            {"id": IMAGE_ID, "disk_format": "raw", "container_format": "bare", "properties": {}, "size": MIB}
        )
        flavor = objects.Flavor(vcpus=2, memory_mb=256, root_gb=1, ephemeral_gb=0, swap=0, extra_specs={}, name="small")
        self.instance = objects.Instance(
            uuid=UUID,
            id=1,
            flavor=flavor,
            image_ref=IMAGE_ID,
            kernel_id="",
            ramdisk_id="",
            config_drive="",
            system_metadata={},
            root_gb=1,
        )
        self.instance.system_metadata = {"image_disk_format": "raw"}
        self.instance.numa_topology, self.instance.pci_devices = None, None
        self.instance.project_id = "p"
        network = model.Network(id="n", bridge=None, label="l", subnets=[], mtu=1450)
        self.network_info = model.NetworkInfo(
            [model.VIF(id=PORT, address="fa:16:3e:00:00:01", network=network, type="tap", active=False)]
        )

    @property
    def taps(self) -> list[str]:
        """The host's taps: files, so that they outlive a process of a test."""
        return sorted(each.name for each in (self.host.base / "taps").iterdir())

    def plug(self, name: str, *_: Any) -> None:
        (self.host.base / "taps" / name).touch()

    def unplug(self, name: str) -> None:
        (self.host.base / "taps" / name).unlink(missing_ok=True)

    def on_event(self, event: Any) -> None:
        self.events.append(event)
        self.event.set()

    def fetch(self, _context: Any, _image: str, path: str) -> None:
        self.fetches += 1
        Path(path).write_bytes(self.content)

    def spawn(self, **more: Any) -> None:
        self.driver.spawn(None, self.instance, self.image, [], None, {}, self.network_info, **more)

    @staticmethod
    def until(condition: Callable[[], object]) -> None:
        """Wait for something that another process does."""
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def state(self) -> int:
        return int(self.driver.get_info(self.instance).state)

    def type(self, word: str) -> None:
        with guest_files.connected(self.folder, guest_files.CONSOLE, 5) as console:
            console.sendall(word.encode() + b"\n")
            while console.recv(4096):
                pass
