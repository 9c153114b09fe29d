"""Settings to QEMU's arguments."""

import json
from pathlib import Path

from beastack.sim.bhyve import machine, options
from beastack.sim.bhyve.accel import TCG

DRIVER = (
    "-A -H -P -u -w -c 2,sockets=1,cores=2,threads=1 -m 512M -U 6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11 "
    "-o pci.enable_bars=true -s 0,hostbridge -s 2,virtio-rnd -s 3,virtio-blk,/i/root.raw,bootindex=1 "
    "-s 4,nvme,/i/data.raw,ro -s 13,ahci-cd,/i/seed.iso,ro "
    "-s 14,virtio-net,tap0123456789a,mac=fa:16:3e:11:22:33,mtu=1450 "
    "-s 15,virtio-console,agent=/i/agent.sock -s 29,fbuf,tcp=127.0.0.1:5901,w=800,h=600,wait -s 30,xhci,tablet "
    "-s 31,lpc -l com1,tcp=127.0.0.1:7001 -l bootrom,/fw/CODE.fd,/i/vars.fd vm1"
)
GOLDEN = Path(__file__).parent / "golden.json"


def _line(argv: str) -> list[str]:
    cables = machine.Cables({"14f0": ("/t/guest", "/t/engine")}, {"com1": 8}, 5)
    return machine.arguments(options.parse(argv.split()), cables, TCG)


def test_what_the_driver_asks_for() -> None:
    """After a wanted change: write `json.dumps(_line(DRIVER), indent=1)` to golden.json and read the difference."""
    assert _line(DRIVER) == json.loads(GOLDEN.read_text())


def test_disks_boot_in_order_and_cds_last() -> None:
    line = _line("-s 1,ahci-cd,/cd -s 2,nvme,/b -s 3,virtio-blk,/a,bootindex=4 -l bootrom,/c m")
    found = {word.split(",")[0]: word for word in line if "bootindex" in word}
    assert "bootindex=4" in found["virtio-blk-pci"]
    assert "bootindex=5" in found["nvme"]
    assert "bootindex=6" in found["ide-cd"]


def test_a_comma_in_a_path_stays_in_it() -> None:
    config = options.parse(["-s", "3,virtio-blk,/a", "-o", "pci.0.3.0.path=/a,b", "-l", "bootrom,/c", "m"])
    line = machine.arguments(config, machine.Cables(), "kvm")
    disk = next(json.loads(word) for word in line if "disk3f0" in word and word.startswith("{"))
    assert disk["file"]["filename"] == "/a,b"


def test_sizes() -> None:
    assert machine.memory_bytes("256") == machine.memory_bytes("256M") == 256 << 20
    assert machine.memory_bytes("2G") == 2 << 30
    assert machine.memory_bytes("268435456") == 256 << 20


def test_a_mac_address_of_its_own() -> None:
    device = machine.Device(2, 0, "virtio-net", {})
    made = machine.mac_address(device, "m1")
    assert made.startswith("58:9c:fc:")
    assert made != machine.mac_address(device, "m2")
