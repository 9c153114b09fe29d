"""What a vxlan(4) knows: the header, the forwarding table against an obvious model, the ioctl's argument."""

import errno
import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.freebsd.vxlan_ioctl import ENTRY_ADD, ENTRY_REM, entry
from beastack.sim.net.vxlan import COMMAND_SIZE, PORT, VNI_MAX, Peer, Vxlan, argument, opened

LOCAL, GROUP = ipaddress.ip_address("192.168.50.1"), ipaddress.ip_address("239.1.1.1")
HOSTS = [ipaddress.ip_address(f"192.168.50.{n}") for n in (2, 3)]
MACS = [bytes.fromhex(f"fa163e00000{n}") for n in range(4)]
FLOOD = Peer(GROUP, PORT)


def _vxlan(**more: Any) -> Vxlan:
    return Vxlan(vni=7, local=LOCAL, remote=GROUP, **more)


def _text(mac: bytes) -> str:
    return mac.hex(":")


@given(st.integers(0, VNI_MAX), st.binary(min_size=14, max_size=100))
def test_what_is_wrapped_is_opened_again(vni: int, frame: bytes) -> None:
    header = Vxlan(vni=vni).header()
    assert header[:4] == b"\x08\0\0\0"  # RFC 7348, section 5: the I flag, 24 bits of zeros
    assert opened(header + frame) == (vni, frame)


@given(st.binary(max_size=60))
def test_nothing_but_vxlan_is_opened(datagram: bytes) -> None:
    found = opened(datagram)
    assert found is None or Vxlan(vni=found[0]).header() + found[1] == datagram


@pytest.mark.parametrize(("vni", "local", "remote"), [(-1, LOCAL, GROUP), (7, None, GROUP), (7, LOCAL, None)])
def test_it_is_complete_with_all_three_only(vni: int, local: Any, remote: Any) -> None:
    assert not Vxlan(vni=vni, local=local, remote=remote).complete
    assert _vxlan().complete


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["hear", "add", "remove", "flush", "flush all", "wait"]),
        st.sampled_from(MACS),
        st.sampled_from(HOSTS),
    ),
    max_size=40,
)


@given(STEPS, st.booleans(), st.integers(1, 4))
def test_the_table_does_what_an_obvious_one_does(steps: list[tuple[str, bytes, Any]], learn: bool, most: int) -> None:
    vxlan, now = _vxlan(learn=learn, timeout=100, max_entries=most), 1000.0
    # address: (host, when it was heard last; None: static). What is out of date is kept until somebody looks.
    model: dict[bytes, tuple[Any, float | None]] = {}
    for what, mac, host in steps:
        static = mac in model and model[mac][1] is None
        match what:
            case "hear":
                vxlan.heard(mac, host, now)
                if learn and not static and (mac in model or len(model) < most):
                    model[mac] = (host, now)
            case "add":
                wanted = errno.EEXIST if mac in model else errno.ENOSPC if len(model) >= most else 0
                assert vxlan.command(ENTRY_ADD, entry(_text(mac), str(host), 4790)) == wanted
                if not wanted:
                    model[mac] = (host, None)
            case "remove":
                assert vxlan.command(ENTRY_REM, entry(_text(mac))) == (0 if mac in model else errno.ENOENT)
                model.pop(mac, None)
            case "flush" | "flush all":
                vxlan.flush(everything=what == "flush all")
                model = {} if what == "flush all" else {m: v for m, v in model.items() if v[1] is None}
            case "wait":
                now += 60
        for one in MACS:
            found = model.get(one)
            if found is None or (found[1] is not None and found[1] + 100 <= now):
                model.pop(one, None)
                assert vxlan.target(one, now) == FLOOD
            else:
                assert vxlan.target(one, now) == Peer(found[0], 4790 if found[1] is None else PORT)


@given(st.binary(min_size=6, max_size=6))
def test_groups_and_nobody_are_never_learnt(mac: bytes) -> None:
    vxlan = _vxlan()
    vxlan.heard(mac, HOSTS[0], 0.0)
    known = not mac[0] & 1 and any(mac)
    assert vxlan.target(mac, 1.0) == (Peer(HOSTS[0], PORT) if known else FLOOD)


@given(st.integers(0, 40), st.binary(max_size=100) | st.binary(min_size=COMMAND_SIZE, max_size=COMMAND_SIZE))
def test_no_argument_makes_the_ioctl_fail(number: int, data: bytes) -> None:
    vxlan = _vxlan()
    assert vxlan.command(number, data) == 0 or not vxlan.table
    for found in vxlan.table.values():
        assert not found.peer.address.is_multicast


def test_an_entry_without_a_port_means_that_of_the_tunnel() -> None:
    """if_vxlan.c fills it in; so flooding to a process on another port needs the port in each entry."""
    vxlan = _vxlan(remote_port=14789)
    data = bytearray(entry(_text(MACS[0]), "192.168.50.2", 1))
    data[34:36] = b"\0\0"
    assert vxlan.command(ENTRY_ADD, bytes(data)) == 0
    assert vxlan.target(MACS[0], 0.0) == Peer(HOSTS[0], 14789)


@given(st.ip_addresses(), st.integers(1, 65535), st.sampled_from(MACS))
def test_the_drivers_program_lays_out_the_same(address: Any, port: int, mac: bytes) -> None:
    if not address.is_multicast and not address.is_unspecified:
        assert argument(mac, Peer(address, port)) == entry(_text(mac), str(address), port)
    assert argument(mac, None) == entry(_text(mac))


def test_entries_of_ipv6() -> None:
    vxlan = _vxlan()
    assert vxlan.command(ENTRY_ADD, entry(_text(MACS[0]), "fd00::2")) == 0
    assert vxlan.target(MACS[0], 0.0) == Peer(ipaddress.ip_address("fd00::2"), PORT)
