"""The replicator: which datagrams it carries, and a whole process on the loop-back address."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.neutron import replicator
from beastack.neutron.agent import flooding
from beastack.neutron.replicator import BadTable, Budget, Replicator, Table, load, vni_of

FRAME = b"\xff" * 6 + bytes.fromhex("fa163e00000a0806") + bytes(28)


def vxlan(vni: int, frame: bytes = FRAME) -> bytes:
    return b"\x08\x00\x00\x00" + vni.to_bytes(3, "big") + b"\x00" + frame


ADDRESSES = st.ip_addresses(v=4).filter(lambda a: not a.is_multicast and not a.is_unspecified).map(str)
NETWORKS = st.integers(min_value=0, max_value=2**24 - 1)


@given(address=ADDRESSES, peers=st.dictionaries(NETWORKS, st.lists(ADDRESSES, max_size=4).map(tuple), max_size=4))
def test_a_table_reads_back(address: str, peers: dict[int, tuple[str, ...]]) -> None:
    found = load(Table(address, 14789, peers=peers).dump())
    # each host once, and never the sender itself
    assert found.peers == {v: tuple(dict.fromkeys(h for h in hosts if h != address)) for v, hosts in peers.items()}


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"address": "192.0.2.1", "port": 14789, "peer_port": 4789}',
        '{"address": "x", "port": 1, "peer_port": 2, "peers": {}}',
        '{"address": "224.0.0.1", "port": 1, "peer_port": 2, "peers": {}}',
        '{"address": "192.0.2.1", "port": 2, "peer_port": 2, "peers": {}}',
        '{"address": "192.0.2.1", "port": 1, "peer_port": 2, "peers": {"1": ["2001:db8::1"]}}',
        '{"address": "192.0.2.1", "port": 1, "peer_port": 2, "peers": {"16777216": []}}',
        '{"address": "192.0.2.1", "port": 1, "peer_port": 2, "peers": {"-1": []}}',
        '{"address": "192.0.2.1", "port": true, "peer_port": 2, "peers": {}}',
    ],
)  # fmt: skip
def test_a_table_is_read_whole_or_not(text: str) -> None:
    with pytest.raises(BadTable):
        load(text)


@given(st.binary(max_size=64))
def test_anything_may_arrive(data: bytes) -> None:
    found = vni_of(data)
    assert found is None or data.startswith(b"\x08\x00\x00\x00" + found.to_bytes(3, "big"))


def test_header() -> None:
    assert vni_of(vxlan(10001)) == 10001
    assert vni_of(vxlan(10001)[:21]) is None
    assert vni_of(b"\x00" + vxlan(1)[1:]) is None


def test_a_budget_fills_again() -> None:
    now = 0.0
    budget = Budget(10, 5, lambda: now)
    assert [budget.take(1) for _ in range(7)] == [True] * 5 + [False] * 2
    assert budget.take(2)
    now = 0.2
    assert [budget.take(1) for _ in range(3)] == [True, True, False]
    budget.keep(set())
    assert budget.take(1)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.2", 0))
        found.settimeout(5)
        yield found


def write(folder: Path, table: Table) -> None:
    (folder / "new").write_text(table.dump())
    (folder / "new").replace(folder / replicator.TABLE)


def test_only_the_own_host_and_known_networks(tmp_path: Path, peer: socket.socket) -> None:
    port, peer_port = free_port(), peer.getsockname()[1]
    write(tmp_path, Table("127.0.0.1", port, peer_port, {7: ("127.0.0.2",)}))
    one = Replicator(tmp_path, Budget(1, 2, lambda: 0.0))
    assert one.look()
    assert not one.look()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tunnel:
        tunnel.bind(("127.0.0.1", 0))
        peer.sendto(vxlan(7), ("127.0.0.1", port))
        for data in (vxlan(8), b"x", vxlan(7, FRAME + b"1"), vxlan(7, FRAME + b"2"), vxlan(7)):
            tunnel.sendto(data, ("127.0.0.1", port))
        one.serve()
    assert peer.recv(2000) == vxlan(7, FRAME + b"1")
    assert peer.recv(2000) == vxlan(7, FRAME + b"2")
    assert one.dropped == {
        "foreign": 1, "malformed": 1, "unknown network": 1, "over budget": 1, "not sent": 0,
    }  # fmt: skip
    assert one.socket is not None
    one.socket.close()


def test_a_bad_table_leaves_the_last_one_in_force_and_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, Table("127.0.0.1", free_port(), peers={7: ("127.0.0.2",)}))
    one = Replicator(tmp_path)
    assert one.look()
    (tmp_path / replicator.TABLE).write_text("{")
    for _ in range(3):
        assert not one.look()
    assert one.table is not None
    assert one.table.peers == {7: ("127.0.0.2",)}
    assert capsys.readouterr().err.count("stays") == 1
    assert one.socket is not None
    one.socket.close()


def test_a_process(tmp_path: Path, peer: socket.socket) -> None:
    port, peer_port = free_port(), peer.getsockname()[1]
    write(tmp_path, Table("127.0.0.1", port, peer_port))
    argv = [sys.executable, "-m", "beastack.neutron.replicator", str(tmp_path)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert f"listens on 127.0.0.1 port {port}" in process.stderr.readline()
            assert flooding.serving(tmp_path) == process.pid
            # a second one for the same folder does not serve
            assert subprocess.run(argv, capture_output=True, timeout=20).returncode == replicator.HELD
            write(tmp_path, Table("127.0.0.1", port, peer_port, {7: ("127.0.0.2",)}))
            os.kill(process.pid, signal.SIGHUP)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tunnel:
                tunnel.bind(("127.0.0.1", 0))
                deadline, carried = time.monotonic() + 10, b""
                peer.settimeout(0.2)
                while not carried:
                    assert time.monotonic() < deadline, "the new table is not in force"
                    tunnel.sendto(vxlan(7), ("127.0.0.1", port))
                    try:
                        carried = peer.recv(2000)
                    except TimeoutError:
                        continue
            assert carried == vxlan(7)
        finally:
            process.terminate()
            rest = process.communicate(timeout=10)[1]
    assert process.returncode == 0
    assert "ends; dropped" in rest
    with (tmp_path / replicator.LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_usage(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "beastack.neutron.replicator", str(tmp_path / "none")]
    assert subprocess.run(argv, capture_output=True, timeout=20).returncode == replicator.USAGE


def test_the_agent_starts_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flooding, "FLOOD_PORT", free_port())
    first, second = (flooding.Flooding(tmp_path, "127.0.0.1") for _ in range(2))
    first.update({7: ("127.0.0.2",)})
    first.keep_running()
    (child,) = first._children
    try:
        deadline = time.monotonic() + 20
        while flooding.serving(tmp_path) != child.pid:
            assert time.monotonic() < deadline, "the replicator does not serve"
            time.sleep(0.02)
        # another agent, after a restart, finds it
        second.keep_running()
        assert second._children == []
        second.update({8: ("127.0.0.2",)})
        # other settings: nobody needs it
        assert flooding.end(tmp_path)
        assert child.wait(10) == 0
    finally:
        child.kill()
        child.wait(10)
    assert not flooding.end(tmp_path)
    assert flooding.serving(tmp_path) is None
