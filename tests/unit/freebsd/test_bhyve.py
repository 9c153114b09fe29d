"""Command lines as in shared/freebsd/15.1/10-bhyve.txt and 15-bhyve-uefi.txt, and the strict reader."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.freebsd import bhyve, bhyve_json

UUID = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
SEEN = bhyve.Capabilities.of_release(15, 1)

SMALL = bhyve.Machine(
    name="instance-00000001",
    uuid=UUID,
    topology=bhyve.Topology(1, 2, 1),
    memory_mib=512,
    bootrom=bhyve.Bootrom("/tmp/fw.fd", "/tmp/vars.fd"),
    console=bhyve.TcpConsole(7001),
)
OLD = replace(SMALL, bootrom=bhyve.Bootrom("/f"), console=bhyve.NmdmConsole("/dev/nmdm1A"))


def test_small() -> None:
    assert bhyve.argv(SMALL, SEEN) == (
        "bhyve -A -H -P -u -w -c 2,sockets=1,cores=2,threads=1 -m 512M"
        f" -U {UUID} -o pci.enable_bars=true -s 0,hostbridge -s 2,virtio-rnd -s 31,lpc"
        " -l com1,tcp=127.0.0.1:7001 -l bootrom,/tmp/fw.fd,/tmp/vars.fd instance-00000001"
    ).split(" ")


def test_everything() -> None:
    machine = replace(
        SMALL,
        disks=(
            bhyve.Disk("/tmp/disk.raw"),
            bhyve.Disk("/dev/zvol/z/v", bhyve.DiskKind.NVME),
            bhyve.Disk("/c.iso", bhyve.DiskKind.AHCI, read_only=True),
        ),
        nics=(
            bhyve.Nic("tap01234567-89", "fa:16:3e:11:22:33", 1450),
            bhyve.Nic("tap1", "fa:16:3e:11:22:34"),
        ),
        cd=bhyve.Cd("/tmp/cd.iso"),
        console=bhyve.NmdmConsole("/dev/nmdm0A"),
        frame_buffer=bhyve.FrameBuffer(5901, wait=True),
        bootrom=bhyve.Bootrom("/tmp/fw.fd"),
        wired=True,
    )
    assert bhyve.argv(machine, SEEN) == (
        "bhyve -A -H -P -u -w -S -c 2,sockets=1,cores=2,threads=1 -m 512M"
        f" -U {UUID} -o pci.enable_bars=true -s 0,hostbridge -s 2,virtio-rnd"
        " -s 3,virtio-blk,/tmp/disk.raw,bootindex=1 -s 4,nvme,/dev/zvol/z/v -s 5,ahci-hd,/c.iso,ro"
        " -s 13,ahci-cd,/tmp/cd.iso,ro"
        " -s 14,virtio-net,tap01234567-89,mac=fa:16:3e:11:22:33,mtu=1450"
        " -s 15,virtio-net,tap1,mac=fa:16:3e:11:22:34"
        " -s 29,fbuf,tcp=127.0.0.1:5901,w=1024,h=768,wait -s 30,xhci,tablet -s 31,lpc"
        " -l com1,/dev/nmdm0A -l bootrom,/tmp/fw.fd instance-00000001"
    ).split(" ")


def test_channels_consoles_and_a_screen_on_a_socket() -> None:
    """10: the second recorded command line has each of these."""
    machine = replace(
        SMALL,
        frame_buffer=bhyve.SocketFrameBuffer("/tmp/vnc.sock"),
        channels=(bhyve.Channel("org.qemu.guest_agent.0", "/tmp/qga.sock"), bhyve.Channel("port0", "/tmp/vc.sock")),
        more_consoles=(bhyve.NmdmConsole("/dev/nmdm1A"), bhyve.TcpConsole(7002)),
    )
    line = bhyve.argv(machine, SEEN)
    assert "1,virtio-console,org.qemu.guest_agent.0=/tmp/qga.sock,port0=/tmp/vc.sock" in line
    assert "29,fbuf,rfb=unix:/tmp/vnc.sock,w=1024,h=768" in line
    assert _after(line, "-l")[:3] == ["com1,tcp=127.0.0.1:7001", "com2,/dev/nmdm1A", "com3,tcp=127.0.0.1:7002"]
    assert bhyve_json.load(bhyve_json.dump(machine)) == machine


def test_one_place_is_used_once() -> None:
    """15: com1 and com2 on one port end in exit 4."""
    for change in (
        {"more_consoles": (bhyve.TcpConsole(7001),)},
        {"frame_buffer": bhyve.FrameBuffer(7001)},
        {"more_consoles": tuple(bhyve.NmdmConsole(f"/dev/nmdm{n}A") for n in range(4))},
        {"channels": (bhyve.Channel("a", "/x"), bhyve.Channel("a", "/y"))},
        {"channels": (bhyve.Channel("a", "/x"), bhyve.Channel("b", "/x"))},
        {"channels": (bhyve.Channel("a", "/x"),), "frame_buffer": bhyve.SocketFrameBuffer("/x")},
        {"channels": tuple(bhyve.Channel(f"c{n}", f"/{n}") for n in range(17))},
    ):
        with pytest.raises(bhyve.BadMachine):
            replace(SMALL, **change)


@pytest.mark.parametrize("path", ["x", "/a:b", "/a=b", "/a,b", "/" + "x" * 103, "/../x"])
def test_sockets_that_bhyve_would_split(path: str) -> None:
    with pytest.raises(bhyve.BadMachine):
        bhyve.SocketFrameBuffer(path)
    with pytest.raises(bhyve.BadMachine):
        bhyve.Channel("port0", path)
    with pytest.raises(bhyve.BadMachine):
        bhyve.Channel("a=b", "/x")


def test_what_older_releases_lack() -> None:
    old = bhyve.Capabilities.of_release(13, 2)
    console = replace(SMALL, console=bhyve.NmdmConsole("/dev/nmdm1A"))
    with pytest.raises(bhyve.BadMachine, match="variables"):
        bhyve.argv(console, old)
    plain = replace(console, bootrom=bhyve.Bootrom("/tmp/fw.fd"))
    assert "-o" not in bhyve.argv(plain, old)
    with pytest.raises(bhyve.BadMachine, match="unix socket"):
        bhyve.argv(replace(console, frame_buffer=bhyve.SocketFrameBuffer("/x")), bhyve.Capabilities.of_release(14, 3))
    assert "pci.enable_bars=true" in bhyve.argv(console, bhyve.Capabilities.of_release(14, 0))


def test_a_description_of_an_older_beastack_is_read() -> None:
    machine = replace(SMALL, frame_buffer=bhyve.FrameBuffer(5901))
    values = json.loads(bhyve_json.dump(machine))
    for nic in values["nics"]:
        del nic["kind"]
    assert bhyve_json.load(json.dumps({**values, "version": 3})) == machine
    for name in ("passthrough", "pins", "limits"):
        del values[name]
    assert bhyve_json.load(json.dumps({**values, "version": 2})) == machine
    del values["frame_buffer"]["kind"], values["channels"], values["more_consoles"]
    assert bhyve_json.load(json.dumps({**values, "version": 1})) == machine
    with pytest.raises(bhyve.BadMachine, match="missing"):
        bhyve_json.load(json.dumps(values))
    with pytest.raises(bhyve.BadMachine, match="unknown"):
        bhyve_json.load(json.dumps({**values, "version": 1, "channels": []}))


def test_disks_with_places_pins_limits_and_a_device_of_the_host() -> None:
    """10: the third recorded command line passes a device through, with wired memory."""
    machine = replace(
        SMALL,
        disks=(bhyve.Disk("/rescue"), bhyve.Disk("/root", slot=5), bhyve.Disk("/config.iso", read_only=True, slot=12)),
        pins=(bhyve.Pin(0, 4), bhyve.Pin(1, 6)),
        wired=True,
        passthrough=(bhyve.PciDevice(1, 0, 0), bhyve.PciDevice(2, 0, 1)),
        limits=(bhyve.Limit("pcpu", 150), bhyve.Limit("readbps", 1 << 20)),
    )
    line = bhyve.argv(machine, SEEN)
    assert _after(line, "-s")[2:-1] == [
        "3,virtio-blk,/rescue,bootindex=1",
        "5,virtio-blk,/root",
        "12,virtio-blk,/config.iso,ro",
        "28,passthru,1/0/0",
        "27,passthru,2/0/1",
    ]
    assert _after(line, "-p") == ["0:4", "1:6"]
    assert "-S" in line
    assert [limit.rule(77) for limit in machine.limits] == [
        "process:77:pcpu:deny=150",
        "process:77:readbps:throttle=1048576",
    ]
    assert bhyve_json.load(bhyve_json.dump(machine)) == machine


def test_an_older_release() -> None:
    old = bhyve.Capabilities.of_release(13, 5)
    with pytest.raises(bhyve.BadMachine, match="console on TCP"):
        bhyve.argv(SMALL, old)
    line = bhyve.argv(
        replace(
            SMALL, bootrom=bhyve.Bootrom("/f"), console=bhyve.NmdmConsole("/dev/nmdm1A"), disks=(bhyve.Disk("/d"),)
        ),
        old,
    )
    assert "3,virtio-blk,/d" in line


@pytest.mark.parametrize("path", ["d", "", "/a,ro", "/a/../b", "/a\\b", "/a\nb", "/" + "a" * 1024])
def test_paths_that_bhyve_would_split(path: str) -> None:
    for make in (bhyve.Disk, bhyve.Cd, bhyve.Bootrom):
        with pytest.raises(bhyve.BadMachine):
            make(path)


@pytest.mark.parametrize("device", ["/tmp/console.log", "unix:/tmp/c", "stdio", "/dev/nmdm0C", "/dev/nmdm0A,x"])
def test_com1_is_a_terminal_or_tcp(device: str) -> None:
    with pytest.raises(bhyve.BadMachine):
        bhyve.NmdmConsole(device)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a b"},
        {"name": "-x"},
        {"name": ""},
        {"uuid": UUID.upper()},
        {"memory_mib": 0},
        {"disks": tuple(bhyve.Disk(f"/{n}") for n in range(11))},
        {"disks": (bhyve.Disk("/a"), bhyve.Disk("/a"))},
        {"nics": (bhyve.Nic("tap1", "fa:16:3e:11:22:33"), bhyve.Nic("tap1", "fa:16:3e:11:22:34"))},
        {"nics": (bhyve.Nic("tap1", "fa:16:3e:11:22:33"), bhyve.Nic("tap2", "fa:16:3e:11:22:33"))},
        {"topology": bhyve.Topology(16, 16, 1)},
        {"disks": (bhyve.Disk("/a"), bhyve.Disk("/b", slot=3))},
        {"passthrough": (bhyve.PciDevice(1, 0, 0),)},
        {"passthrough": (bhyve.PciDevice(1, 0, 0),) * 2, "wired": True},
        {"pins": (bhyve.Pin(2, 0),)},
        {"pins": (bhyve.Pin(1, 0), bhyve.Pin(1, 1))},
        {"limits": (bhyve.Limit("pcpu", 1), bhyve.Limit("pcpu", 2))},
    ],
)
def test_machines_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(bhyve.BadMachine):
        replace(SMALL, **change)


@pytest.mark.parametrize(
    ("tap", "mac"), [("em0", "fa:16:3e:11:22:33"), ("tap1,x", "fa:16:3e:11:22:33"), ("tap1", "01:00:5e:00:00:01")]
)
def test_nics_that_cannot_be(tap: str, mac: str) -> None:
    with pytest.raises(bhyve.BadMachine):
        bhyve.Nic(tap, mac)


def test_parts_that_cannot_be() -> None:
    for kind, values in (
        (bhyve.Disk, {"path": "/a", "slot": 13}),
        (bhyve.Disk, {"path": "/a", "slot": 2}),
        (bhyve.PciDevice, {"bus": 256, "slot": 0, "function": 0}),
        (bhyve.Pin, {"vcpu": -1, "cpu": 0}),
        (bhyve.Limit, {"resource": "memoryuse", "amount": 5}),
        (bhyve.Limit, {"resource": "pcpu", "amount": 0}),
    ):
        with pytest.raises(bhyve.BadMachine):
            kind(**values)  # type: ignore[operator]


_paths = st.from_regex(r"/[a-zA-Z0-9_/ -]{0,30}", fullmatch=True)
_macs = st.integers(0, 0xFFFF).map(lambda n: f"fa:16:3e:00:{n >> 8:02x}:{n & 255:02x}")
_taps = st.from_regex(r"tap[0-9a-f]{1,11}", fullmatch=True)
_machines = st.builds(
    bhyve.Machine,
    name=st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True),
    uuid=st.uuids().map(str),
    topology=st.builds(bhyve.Topology, st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    memory_mib=st.integers(32, 1 << 24),
    bootrom=st.builds(bhyve.Bootrom, _paths, st.none() | _paths),
    console=st.builds(bhyve.TcpConsole, st.integers(1024, 65535))
    | st.builds(bhyve.NmdmConsole, st.integers(0, 99).map(lambda n: f"/dev/nmdm{n}B")),
    disks=st.lists(
        st.builds(bhyve.Disk, _paths, st.sampled_from(bhyve.DiskKind), st.booleans()),
        max_size=10,
        unique_by=lambda disk: disk.path,
    ).map(tuple),
    nics=st.lists(
        st.builds(bhyve.Nic, _taps, _macs, st.none() | st.integers(68, 65535)),
        max_size=15,
        unique_by=(lambda nic: nic.tap, lambda nic: nic.mac),
    ).map(tuple),
    cd=st.none() | st.builds(bhyve.Cd, _paths),
    frame_buffer=st.none()
    | st.builds(bhyve.FrameBuffer, st.integers(1024, 65535), st.just("127.0.0.2"))
    | st.just(bhyve.SocketFrameBuffer("/run/screen.sock", wait=True)),
    random=st.booleans(),
    wired=st.booleans(),
    more_consoles=st.lists(
        st.integers(0, 9).map(lambda n: bhyve.NmdmConsole(f"/dev/nmdm10{n}A")), max_size=3, unique=True
    ).map(tuple),
    channels=st.lists(
        st.integers(0, 9).map(lambda n: bhyve.Channel(f"org.x.{n}", f"/run/{n}.sock")), max_size=3, unique=True
    ).map(tuple),
)


@given(_machines)
def test_reads_what_it_wrote(machine: bhyve.Machine) -> None:
    assert bhyve_json.load(bhyve_json.dump(machine)) == machine
    slots = [part.split(",")[0] for part in _after(bhyve.argv(machine, SEEN), "-s")]
    assert len(slots) == len(set(slots))


def _after(line: list[str], option: str) -> list[str]:
    return [value for key, value in pairwise(line) if key == option]


def _paths_of(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    if isinstance(value, dict):
        for key in value:
            found += _paths_of(value[key], (*here, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            found += _paths_of(each, (*here, index))
    return found


_junk = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(max_value=0),
    st.text(max_size=5).map(lambda text: "," + text),
    st.just([[]]),
    st.just({"x": 1}),
)


@given(_machines, _junk, st.data())
def test_damage_never_makes_another_machine(machine: bhyve.Machine, junk: Any, data: st.DataObject) -> None:
    """Any value replaced by another type or nonsense: refused, or (null for null, a flag for a flag) harmless."""
    values = json.loads(bhyve_json.dump(machine))
    place = data.draw(st.sampled_from(_paths_of(values)))
    holder = values
    for step in place[:-1]:
        holder = holder[step]
    before = holder[place[-1]]
    if before is None or (isinstance(before, bool) and isinstance(junk, bool)) or junk == before:
        return
    may_be_null = place[-1] in ("cd", "frame_buffer", "mtu", "variables", "slot")
    if junk is None and may_be_null:
        return
    holder[place[-1]] = junk
    with pytest.raises(bhyve.BadMachine):
        bhyve_json.load(json.dumps(values))


@given(st.text())
def test_any_text_is_refused_by_name(text: str) -> None:
    with pytest.raises(bhyve.BadMachine):
        bhyve_json.load(text)


def test_keys_are_exact() -> None:
    text = bhyve_json.dump(SMALL)
    values = json.loads(text)
    for key in values:
        with pytest.raises(bhyve.BadMachine, match="missing"):
            bhyve_json.load(json.dumps({k: v for k, v in values.items() if k != key}))
    with pytest.raises(bhyve.BadMachine, match="unknown"):
        bhyve_json.load(json.dumps({**values, "extra": 1}))
    with pytest.raises(bhyve.BadMachine, match="twice"):
        bhyve_json.load(text.replace('"wired": false', '"wired": false, "wired": true'))
    with pytest.raises(bhyve.BadMachine, match="bytes"):
        bhyve_json.load(text + " " * bhyve_json.MAX_BYTES)
