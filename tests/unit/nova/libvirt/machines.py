"""Machines that libvirt can have."""

from dataclasses import replace

from hypothesis import strategies as st

from beastack.freebsd import bhyve

UUID = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
TAP, BRIDGE = "tap0f1e2d3c-11", "brq0a1b2c3d-44"
BRIDGES = {TAP: BRIDGE, "tapffffffff-22": "brqffffffff-55"}
NEWEST = 12_001_000
SMALL = bhyve.Machine(
    name=UUID,
    uuid=UUID,
    topology=bhyve.Topology(1, 2, 1),
    memory_mib=512,
    bootrom=bhyve.Bootrom("/usr/local/share/uefi-firmware/BHYVE_UEFI_CODE.fd", f"/var/i/{UUID}/vars.fd"),
    console=bhyve.NmdmConsole("/dev/nmdm7000A"),
    disks=(bhyve.Disk("/dev/zvol/tank/beastack/guests/a.root"),),
    nics=(bhyve.Nic(TAP, "fa:16:3e:00:00:01", 1450),),
)
FULL = replace(
    SMALL,
    disks=(bhyve.Disk("/var/i/a.raw"), bhyve.Disk("/var/i/b.raw", bhyve.DiskKind.AHCI, slot=7)),
    nics=(bhyve.Nic(TAP, "fa:16:3e:00:00:01"), bhyve.Nic("tapffffffff-22", "fa:16:3e:00:00:02")),
    cd=bhyve.Cd("/var/i/config.iso"),
    frame_buffer=bhyve.FrameBuffer(5907, width=1280, height=800),
    wired=True,
    more_consoles=(bhyve.TcpConsole(7001),),
    passthrough=(bhyve.PciDevice(2, 0, 1),),
    pins=(bhyve.Pin(0, 4), bhyve.Pin(1, 6)),
)

_DISKS = st.lists(
    st.builds(
        lambda number, kind: bhyve.Disk(f"/var/i/{number} & <{number}>.raw", kind),
        st.integers(0, 99),
        st.sampled_from([bhyve.DiskKind.VIRTIO, bhyve.DiskKind.AHCI]),
    ),
    max_size=10,
    unique_by=lambda disk: disk.path,
)
MACHINES = st.builds(
    lambda shape, disks, nics, cd, screen, random, wired, tcp, pins: replace(
        SMALL,
        topology=shape,
        disks=tuple(disks),
        nics=FULL.nics[:nics],
        cd=FULL.cd if cd else None,
        frame_buffer=FULL.frame_buffer if screen else None,
        random=random,
        wired=wired,
        passthrough=FULL.passthrough if wired else (),
        console=bhyve.TcpConsole(7002) if tcp else SMALL.console,
        pins=tuple(bhyve.Pin(vcpu, vcpu + 8) for vcpu in range(shape.cpus)) if pins else (),
    ),
    st.builds(bhyve.Topology, st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    _DISKS,
    st.integers(0, 2),
    *[st.booleans()] * 6,
)
