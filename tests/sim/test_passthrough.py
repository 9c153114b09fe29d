"""A device of the host that a guest has for itself: pciconf(8), ppt(4), and a real guest that finds it; and a card that
is no virtio one.
"""

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beastack.freebsd import bhyve, bhyve_json
from beastack.privsep import guest_files

from .conftest import LAB, MANAGEMENT, OCTET, Host
from .test_bhyve import CODE, VARS
from .test_bhyve import image as image
from .test_bhyve import pytestmark as pytestmark
from .test_consoles import Viewer
from .test_limits import GUEST, settled

UUID = "5a0f8a4e-0c34-4c55-9d1b-0f7a8d7f2f13"
TAP = "tap5a0f8a4e-13"
PYTHON = shlex.quote(sys.executable)
# what nova tells placement and the scheduler about the host's devices
TOLD = """
import json
from oslo_config import cfg
from beastack.freebsd.host import LocalHost
from beastack.nova import resources
from beastack.privsep import guest_conf
options = guest_conf.register(cfg.CONF)
cfg.CONF([], project="nova", default_config_files=[])
cfg.CONF.set_override("passthrough", ["2/0/0"], "beastack")
print(json.dumps(resources.passthrough(LocalHost(), options)))
"""


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    made = make_host("fbsd1", f"vtnet0={MANAGEMENT}:100.64.{OCTET}.11/24", tunables=("pptdevs=2/0/0",))
    made.ok("kldload -n vmm")
    made.ok(f"ifconfig tap create name {TAP}")
    return made


@pytest.fixture
def folder(host: Host, image: Path) -> Iterator[Path]:
    made = LAB / "passed"
    made.mkdir()
    shutil.copyfile(image, made / "root.raw")
    shutil.copyfile(VARS, made / "vars.fd")
    yield made
    host.run(f"{GUEST} stop --dir {made} --grace 0")
    shutil.rmtree(made)


def start(host: Host, folder: Path, *devices: bhyve.PciDevice) -> guest_files.GuestState:
    machine = bhyve.Machine(
        name=UUID,
        uuid=UUID,
        topology=bhyve.Topology(1, 1, 1),
        memory_mib=256,
        bootrom=bhyve.Bootrom(str(CODE), str(folder / "vars.fd")),
        console=bhyve.TcpConsole(7104),
        disks=(bhyve.Disk(str(folder / "root.raw")),),
    )
    card = bhyve.Nic(TAP, "fa:16:3e:00:00:05", 1450, bhyve.NicKind.E1000)
    machine = replace(machine, wired=True, passthrough=devices, nics=(card,))
    (folder / guest_files.MACHINE).write_text(bhyve_json.dump(machine))
    host.run(f"{GUEST} run --dir {folder} --detach")
    return settled(folder)


def test_a_guest_finds_the_device_that_ppt_holds_and_nova_knows_of_it(host: Host, folder: Path) -> None:
    assert "ppt0@pci0:2:0:0:" in host.ok("pciconf -l")
    told = json.loads(host.ok(f"{PYTHON} -c {shlex.quote(TOLD)}").splitlines()[-1])
    assert [(each["address"], each["vendor_id"], each["product_id"]) for each in told] == [
        ("0000:02:00.0", "1234", "11e8")
    ]
    assert start(host, folder, bhyve.PciDevice(2, 0, 0)).state == "running"
    with guest_files.connected(folder, guest_files.CONSOLE, 10) as opened:
        typing = Viewer(opened)
        typing.until(b"guest# ")
        for slot, identity in (("1c", b"0x1234 0x11e8"), ("0e", b"0x8086 0x100f")):
            line = f"cd /sys/bus/pci/devices/0000:00:{slot}.0; echo found=$(cat vendor device)\n"
            typing.socket.sendall(line.encode())
            typing.until(b"found=" + identity)


def test_a_device_of_the_host_is_not_given(host: Host, folder: Path) -> None:
    state = start(host, folder, bhyve.PciDevice(1, 0, 0))
    assert state.state == "failed"
    log = (folder / guest_files.CONSOLE_LOG).read_text(errors="replace") + state.reason
    assert "PCI device at 1/0/0 is not using the ppt driver" in log
