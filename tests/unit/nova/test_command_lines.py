"""Every bhyve command line that the driver can make has the argument forms that the real program was seen to read.

The forms are taken from the transcripts (10-bhyve, 13-bhyve-run, 15-bhyve-uefi): option letters from its own list,
devices with the names of their settings, consoles. The simulated bhyve, a second reading of the same transcripts, must
take each line, too, and understand it as the machine that was meant.
"""

import re
import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beastack.freebsd import bhyve
from beastack.nova import disks, machines, wishes
from beastack.nova.stores.files import FileStore
from beastack.sim.bhyve import options
from beastack.sim.bhyve.errors import Ended
from nova import objects

objects.register_all()
DATA = Path(__file__).parents[2] / "data" / "freebsd-15.1"
UUID = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
SEEN = bhyve.Capabilities.of_release(15, 1)
# In bhyve(8)'s own list of options or its manual page, and in no recorded command line.
MANUAL_DEVICES: dict[str, set[str]] = {
    "virtio-blk": {"ro"},
    "nvme": {"bootindex"},
    "ahci": {"bootindex"},
    "e1000": {"mac"},
}


def recorded_lines() -> list[list[str]]:
    found = []
    for name in ("10-bhyve", "13-bhyve-run", "15-bhyve-uefi"):
        for line in (DATA / f"{name}.txt").read_text().splitlines():
            match = re.match(r"\$.*?\s(bhyve (?!-h).*)", line)
            if match:
                try:
                    words = shlex.split(match[1].split("|")[0].split(">")[0].rstrip("& "))
                except ValueError:
                    continue  # cut short in the transcript
                found.append(words)
    return found


def values(line: list[str], option: str) -> list[str]:
    return [value for key, value in pairwise(line) if key == option]


def form(device: str) -> tuple[str, frozenset[str]]:
    """`3,virtio-blk,/x,ro,bootindex=1` as virtio-blk and the names behind its first word."""
    _place, name, *rest = device.split(",")
    plain = name.removesuffix("-hd").removesuffix("-cd")
    return plain, frozenset(word.partition("=")[0] for word in rest if not word.startswith("/"))


def forms() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in recorded_lines():
        for device in values(line, "-s"):
            name, keys = form(device)
            found.setdefault(name, set()).update(keys)
    for name, keys in MANUAL_DEVICES.items():
        found.setdefault(name, set()).update(keys)
    return found


FORMS = forms()
LETTERS = set(re.findall(r"^ +-([A-Za-z]):", (DATA / "10-bhyve.txt").read_text(), re.MULTILINE))


def check(line: list[str]) -> None:
    """Raises AssertionError for a form that was never seen."""
    assert line[0] == "bhyve"
    for word in line[1:-1]:
        if re.fullmatch(r"-[A-Za-z]", word):
            assert word[1] in LETTERS or word == "-A", word
    for device in values(line, "-s"):
        name, keys = form(device)
        if name in ("virtio-net", "e1000"):
            keys = frozenset(key for key in keys if not key.startswith("tap"))
        if name == "passthru":
            keys = frozenset(key for key in keys if not re.fullmatch(r"\d+/\d+/\d+", key))
        assert keys <= FORMS[name], f"{device}: {set(keys) - FORMS[name]} of {name} was never seen"
    for console in values(line, "-l"):
        kind = console.partition(",")[0]
        assert kind in ("com1", "com2", "bootrom"), console
    assert re.fullmatch(r"\d+,sockets=\d+,cores=\d+,threads=\d+", values(line, "-c")[0])
    assert re.fullmatch(r"\d+M", values(line, "-m")[0])


def test_the_forms_were_really_read() -> None:
    assert len(recorded_lines()) >= 8
    assert {"virtio-blk", "virtio-net", "ahci", "nvme", "fbuf", "xhci", "passthru", "virtio-rnd"} <= set(FORMS)
    assert {"c", "m", "p", "s", "l", "o", "S", "U", "u", "w"} <= LETTERS
    for line in recorded_lines():
        check_devices = [form(device)[0] for device in values(line, "-s")]
        assert set(check_devices) <= set(FORMS)


@pytest.mark.parametrize("bad", ["3,virtio-blk,/d,cache=none", "9,virtio-gpu", "14,virtio-net,tap0,queues=4"])
def test_a_form_that_was_never_seen_is_noticed(bad: str) -> None:
    line = ["bhyve", "-c", "1,sockets=1,cores=1,threads=1", "-m", "256M", "-s", bad, UUID]
    with pytest.raises((AssertionError, KeyError)):
        check(line)


_specs = st.fixed_dictionaries(
    {},
    optional={
        "beastack:wired_memory": st.sampled_from(["true", "false"]),
        "beastack:disk_bus": st.sampled_from(["virtio", "nvme", "sata"]),
        "hw_rng:allowed": st.sampled_from(["true", "false"]),
        "hw:cpu_sockets": st.sampled_from(["1", "2"]),
        "quota:cpu_quota": st.just("50000"),
        "quota:disk_read_iops_sec": st.just("100"),
    },
)


@settings(max_examples=60, deadline=None)
@given(
    specs=_specs,
    properties=st.fixed_dictionaries(
        {}, optional={"hw_cdrom_bus": st.just("sata"), "hw_vif_model": st.sampled_from(["virtio", "e1000"])}
    ),
    vcpus=st.sampled_from([1, 2, 4, 8]),
    blank=st.sets(st.sampled_from(["ephemeral0", "ephemeral1", "swap", "rescue"])),
    drive=st.booleans(),
    cards=st.integers(0, 8),
    volumes=st.integers(0, 3),
    pinned=st.booleans(),
    devices=st.integers(0, 2),
    screen=st.sampled_from(["none", "tcp", "unix"]),
)
def test_every_command_line(tmp_path_factory: pytest.TempPathFactory, **case: Any) -> None:
    base = tmp_path_factory.mktemp("m")
    folder = base / UUID
    folder.mkdir()
    store = FileStore(base)
    for name in ("root", *case["blank"]):
        store.create(UUID, name, 1 << 20)
    if case["drive"]:
        (folder / "config.iso").touch()
    flavor = objects.Flavor(vcpus=case["vcpus"], memory_mb=512, extra_specs=case["specs"])
    image = objects.ImageMeta.from_dict({"properties": case["properties"]})
    cell = objects.InstanceNUMACell(cpu_pinning={n: n + 2 for n in range(case["vcpus"])})
    passed = [objects.PciDevice(address=f"0000:0{n + 1}:00.{n}") for n in range(case["devices"])]
    instance = SimpleNamespace(
        uuid=UUID,
        flavor=flavor,
        image_meta=image,
        numa_topology=objects.InstanceNUMATopology(cells=[cell]) if case["pinned"] else None,
        pci_devices=objects.PciDeviceList(objects=passed),
    )
    vifs = [
        {
            "id": f"{n:08x}-1111-4222-8333-444455556666",
            "address": f"FA:16:3E:00:00:{n:02X}",
            "network": SimpleNamespace(get_meta=lambda _: 1450),
        }
        for n in range(case["cards"])
    ]
    attached = [disks.Volume(f"/dev/da{n}", f"/dev/vd{'bcd'[n]}") for n in range(case["volumes"])]
    wish = wishes.read(flavor, image)
    laid = disks.layout(store, store.disks(folder.name), folder, wish.disk_kind, attached)
    machine = machines.build(
        instance, vifs, folder, bhyve.TcpConsole(7001), "/fw.fd", wish, laid, disks.variables(store.disks(UUID), folder)
    )
    screens: dict[str, Any] = {
        "none": None,
        "tcp": bhyve.FrameBuffer(5901),
        "unix": bhyve.SocketFrameBuffer("/run/s.sock"),
    }
    machine = replace(machine, frame_buffer=screens[case["screen"]])
    line = bhyve.argv(machine, SEEN)
    check(line)
    with pytest.raises(Ended) as ended:
        options.parse(["-o", "config.dump=1", *line[1:]])
    read = dict(pair.split("=", 1) for pair in str(ended.value.out).splitlines())
    slots = {int(key.split(".")[2]) for key in read if re.fullmatch(r"pci\.0\.\d+\.0\.device", key)}
    assert len(slots) == len(values(line, "-s")), "one slot each"
    assert (
        sum(
            value == (case["properties"].get("hw_vif_model") or "virtio").replace("virtio", "virtio-net")
            for value in read.values()
        )
        == case["cards"]
    )
    assert sum(value == "passthru" for value in read.values()) == case["devices"]
    first = next(slot for slot, disk in zip(machine.disk_slots(), machine.disks, strict=True) if disk == laid[0])
    assert first == 3
    assert ("memory.wired" in read) == (wish.wired or bool(case["devices"]))
    assert ("vcpu.0.cpuset" in read) == case["pinned"]
    assert read["name"] == read["uuid"] == UUID
