"""A machine as domain XML: libvirt's own schema takes it, and the slots are those of the native path."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from beastack.freebsd import bhyve
from beastack.nova.libvirt import domain, limits
from beastack.nova.libvirt.runner import LibvirtRunner

from .machines import BRIDGES, FULL, MACHINES, NEWEST, SMALL, TAP, UUID

DATA = Path(__file__).parents[3] / "data" / "libvirt"
DOCS = Path(__file__).parents[4] / "docs" / "compute.md"


def slots_of_xml(xml: str) -> set[int]:
    """Where devices of the guest stand on bus 0; not where a passed through one stands on the host."""
    root = ET.fromstring(xml)  # noqa: S314 our own
    return {int(each.get("slot", ""), 16) for each in root.findall("./devices/*/address[@type='pci']")}


def slots_of_line(machine: bhyve.Machine) -> set[int]:
    line = bhyve.argv(machine, bhyve.Capabilities.of_release(15, 1))
    return {int(value.split(",")[0]) for option, value in pairwise(line) if option == "-s"}


@pytest.mark.parametrize(("name", "machine"), [("small", SMALL), ("full", FULL)])
def test_the_whole_xml(name: str, machine: bhyve.Machine) -> None:
    assert domain.render(machine, BRIDGES, NEWEST) == (DATA / f"{name}.xml").read_text()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(machine=MACHINES)
def test_libvirts_schema_takes_every_machine(machine: bhyve.Machine, schema: etree.RelaxNG) -> None:
    assert schema.validate(etree.fromstring(domain.render(machine, BRIDGES, NEWEST))), schema.error_log


def test_the_schema_refuses_what_is_wrong(schema: etree.RelaxNG) -> None:
    xml = domain.render(FULL, BRIDGES, NEWEST)
    for good, bad in (('bus="virtio"', 'bus="virtia"'), ("<vcpu>", "<vcpus>"), ('type="nmdm"', 'type="null-modem"')):
        assert good in xml
        broken = xml.replace(good, bad).replace("</vcpu>", "</vcpus>" if "vcpus" in bad else "</vcpu>")
        assert not schema.validate(etree.fromstring(broken))


@settings(max_examples=60, deadline=None)
@given(machine=MACHINES)
def test_devices_stand_where_they_do_on_the_native_path(machine: bhyve.Machine) -> None:
    # slot 0 is the host bridge, which libvirt adds itself
    assert slots_of_xml(domain.render(machine, BRIDGES, NEWEST)) == slots_of_line(machine) - {0}


@settings(max_examples=60, deadline=None)
@given(machine=MACHINES)
def test_nothing_of_a_machine_is_lost(machine: bhyve.Machine) -> None:
    root = ET.fromstring(domain.render(machine, BRIDGES, NEWEST))  # noqa: S314 our own
    files = {str(each.get("file")) for each in root.findall("./devices/disk/source")}
    files |= {str(each.text) for each in root.findall("./os/nvram")}
    assert files == set(machine.file_paths())
    macs = [each.get("address") for each in root.findall("./devices/interface/mac")]
    assert macs == [nic.mac for nic in machine.nics]
    assert len(root.findall("./devices/serial")) == len(machine.consoles())
    assert root.findtext("./vcpu") == str(machine.topology.cpus)
    assert len(root.findall("./cputune/vcpupin")) == len(machine.pins)
    assert (root.find("./memoryBacking/locked") is not None) == machine.wired
    assert (root.find("./devices/rng") is not None) == machine.random
    assert (root.find("./devices/graphics") is not None) == (machine.frame_buffer is not None)
    assert len(root.findall("./devices/hostdev")) == len(machine.passthrough)


OTHER = UUID.replace("6f1a", "7f1a")
MARKED = domain.render(SMALL, BRIDGES, NEWEST)


@pytest.mark.parametrize(
    ("xml", "uuid", "ours"),
    [
        (MARKED, UUID, True),
        (MARKED, OTHER, False),
        (MARKED.replace(f'<beastack:guest uuid="{UUID}" />', ""), UUID, False),
        (MARKED.replace(f'uuid="{UUID}"', f'uuid="{OTHER}"'), UUID, False),
        (MARKED.replace(f"<name>{UUID}", f"<name>{OTHER}"), UUID, False),
        (MARKED.replace(f"<uuid>{UUID}", f"<uuid>{OTHER}"), UUID, False),
        (MARKED.replace("urn:beastack:guest:1", "urn:somebody"), UUID, False),
        (MARKED.replace("metadata>", "description>"), UUID, False),
        ("<domain", UUID, False),
        ("<domain/>", UUID, False),
    ],
)
def test_only_what_carries_the_mark_is_ours(xml: str, uuid: str, ours: bool) -> None:
    assert domain.is_ours(xml, uuid) is ours


@settings(max_examples=100, deadline=None)
@given(machine=MACHINES, version=st.integers(8_000_000, 13_000_000))
def test_a_machine_is_rendered_or_refused_in_words(machine: bhyve.Machine, version: int) -> None:
    refused = limits.refused(machine, version)
    if not refused:
        assert domain.render(machine, BRIDGES, version)
        return
    with pytest.raises(bhyve.BadMachine) as told:
        domain.render(machine, BRIDGES, version)
    assert all(words in str(told.value) for words in refused)


@settings(max_examples=100, deadline=None)
@given(machine=MACHINES, drive=st.booleans(), screen=st.booleans())
def test_what_the_driver_makes_of_a_machine_can_be_rendered(
    machine: bhyve.Machine, drive: bool, screen: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    config = bhyve.Disk(f"{folder}/{UUID}/config.iso", read_only=True, slot=12)
    free = not any(disk.slot == 12 for disk in machine.disks) and 12 not in machine.disk_slots()
    native = replace(
        machine,
        disks=(*machine.disks, config) if drive and free else machine.disks,
        frame_buffer=bhyve.SocketFrameBuffer("/var/run/s.sock") if screen else machine.frame_buffer,
        cd=None if drive else machine.cd,
    )
    consoles = SimpleNamespace(number=lambda _uuid: 7003)
    connection = SimpleNamespace(version=lambda: NEWEST, alive=lambda: True)
    runner = LibvirtRunner(folder, cast(Any, consoles), lambda _uuid: None, lambda: cast(Any, connection))
    fitted = runner.fit(native, None)
    assert fitted.frame_buffer is None
    assert fitted.console == bhyve.NmdmConsole("/dev/nmdm7003A")
    assert not any(disk.read_only for disk in fitted.disks)
    assert set(native.file_paths()) == set(fitted.file_paths())
    assert domain.render(fitted, BRIDGES, NEWEST)


def test_a_console_on_either_side() -> None:
    xml = domain.render(replace(SMALL, console=bhyve.NmdmConsole("/dev/nmdm3B")), BRIDGES, NEWEST)
    assert 'master="/dev/nmdm3B" slave="/dev/nmdm3A"' in xml


def test_a_tap_without_a_bridge() -> None:
    with pytest.raises(bhyve.BadMachine, match=re.escape(TAP)):
        domain.render(SMALL, {}, NEWEST)


NEVER = {
    "a screen on a unix socket": replace(SMALL, frame_buffer=bhyve.SocketFrameBuffer("/var/run/s.sock")),
    "a screen below port 5900": replace(SMALL, frame_buffer=bhyve.FrameBuffer(5899)),
    "a screen that the guest waits for": replace(SMALL, frame_buffer=bhyve.FrameBuffer(5900, wait=True)),
    "a read-only disk": replace(SMALL, disks=(bhyve.Disk("/a", read_only=True),)),
    "an NVMe disk": replace(SMALL, disks=(bhyve.Disk("/a", bhyve.DiskKind.NVME),)),
    "a virtio-console channel": replace(SMALL, channels=(bhyve.Channel("org.a", "/var/run/c.sock"),)),
    "a limit by rctl(8)": replace(SMALL, limits=(bhyve.Limit("pcpu", 50),)),
}
BARE = replace(SMALL, random=False, bootrom=bhyve.Bootrom("/code.fd"))
LATER = {
    "virtio-rnd": replace(BARE, random=True),
    "UEFI variables": replace(BARE, bootrom=SMALL.bootrom),
    "a console on TCP": replace(BARE, console=bhyve.TcpConsole(7000)),
    "a further console": replace(BARE, more_consoles=(bhyve.NmdmConsole("/dev/nmdm1A"),)),
    "a passed through device": replace(BARE, wired=True, passthrough=FULL.passthrough),
    "pinned processors": replace(BARE, pins=FULL.pins),
}


@pytest.mark.parametrize("part", limits.NEVER)
def test_what_libvirt_cannot_give_is_refused(part: str) -> None:
    with pytest.raises(bhyve.BadMachine, match=f"{re.escape(part)} \\({re.escape(limits.NEVER[part])}\\)"):
        domain.render(NEVER[part], BRIDGES, NEWEST)


@pytest.mark.parametrize("part", limits.SINCE)
def test_what_an_older_libvirt_cannot_give_is_refused(part: str) -> None:
    since = limits.SINCE[part]
    assert domain.render(LATER[part], BRIDGES, since)
    with pytest.raises(bhyve.BadMachine, match=re.escape(f"{part} (it came with libvirt {limits.words(since)}")):
        domain.render(LATER[part], BRIDGES, since - 1000)


def test_a_plain_machine_needs_no_new_libvirt() -> None:
    assert limits.refused(BARE, 9_000_000) == []
    assert limits.words(9_012_003) == "9.12.3"


def test_the_documentation_shows_the_table() -> None:
    assert limits.table() in DOCS.read_text(), "run: .venv/bin/python -m beastack.nova.libvirt.limits"
