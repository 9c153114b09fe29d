"""What the resource tracker and placement are told of processors for pinned guests and of devices."""

import json
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from beastack.nova import resources
from beastack.nova.stores.base import Space
from beastack.privsep import guest_conf
from nova import objects

from .lab import CONF

FACTS = resources.HostFacts(cpus=8, memory_mb=16384, model="EPYC", boot_time=0, version=15001000)
SPACE = Space(total=100 << 30, free=80 << 30, promised=30 << 30, taken=10 << 30)
PCICONF = (
    "ppt0@pci0:1:16:1:\tclass=0x020000 rev=0x01 hdr=0x00 vendor=0x8086 device=0x1572 subvendor=0x8086 subdevice=0x1\n"
    "ixl0@pci0:2:0:0:\tclass=0x020000 rev=0x01 hdr=0x00 vendor=0x8086 device=0x1572 subvendor=0x8086 subdevice=0x1\n"
).replace("subdevice=0x1", "subdevice=0x0001")


@pytest.fixture(autouse=True)
def configuration() -> Iterator[None]:
    objects.register_all()
    CONF([], project="nova", default_config_files=[], version="x")
    guest_conf.register(CONF)
    yield
    CONF.reset()
    CONF.clear()


def test_processors_for_pinned_guests_are_a_cell_and_an_inventory_of_their_own() -> None:
    assert resources.numa(FACTS) is None
    CONF.set_override("cpu_dedicated_set", "4-7", "compute")
    cell = objects.NUMATopology.obj_from_db_obj(resources.numa(FACTS)).cells[0]
    assert (cell.cpuset, cell.pcpuset, cell.memory) == ({0, 1, 2, 3}, {4, 5, 6, 7}, 16384)
    ratios = dict.fromkeys(("VCPU", "PCPU", "MEMORY_MB", "DISK_GB"), 1.0)
    reserved = {"VCPU": 1, "PCPU": 0, "MEMORY_MB": 512, "DISK_GB": 0}
    found = resources.inventory(FACTS, SPACE, ratios, reserved, dedicated=4)
    assert (found["VCPU"]["total"], found["PCPU"]["total"], found["VCPU"]["reserved"]) == (4, 4, 1)
    assert found["DISK_GB"]["total"] == 100


def test_devices_that_are_allowed_and_held_by_ppt_are_offered() -> None:
    host = SimpleNamespace(run=lambda argv: SimpleNamespace(out=PCICONF, argv=tuple(argv)))
    assert resources.passthrough(host, CONF.beastack) == []  # type: ignore[arg-type]
    CONF.set_override("passthrough", ["1/16/1", "2/0/0", "9/9/9"], "beastack")
    found = resources.passthrough(host, CONF.beastack)  # type: ignore[arg-type]
    assert [(each["address"], each["vendor_id"], each["product_id"]) for each in found] == [
        ("0000:01:10.1", "8086", "1572")
    ]


def test_disk_space_that_is_promised_is_not_promised_again(tmp_path: object) -> None:
    instances = SimpleNamespace(iterdir=lambda: iter(()))
    found = resources.available(FACTS, instances, SPACE, "fbsd1", [{"address": "x"}])  # type: ignore[arg-type]
    assert (found["local_gb"], found["local_gb_used"], found["disk_available_least"]) == (100, 30, 60)
    assert json.loads(found["pci_passthrough_devices"]) == [{"address": "x"}]
