"""l2population's messages, the server's whole answer, restarts: the kernel's table is what is known."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neutron.plugins.ml2.drivers.l2pop.rpc import PortInfo
from tests.unit.neutron.fakes import TUNNEL, FakeNet

from beastack.neutron.agent import flooding
from beastack.neutron.agent.fdb import FLOODING, Network, ports_by_host
from beastack.neutron.agent.flooding import Flooding
from beastack.neutron.agent.resync import Resync, by_host
from beastack.neutron.agent.rpc import BridgeRpcCallbacks
from beastack.neutron.agent.tunnels import Tunnels
from beastack.neutron.replicator import TABLE

NETWORK = "8a2f0c3e-5a6b-4e0a-9f0e-1d8a6b1c2d3e"
VXL = "vxl8a2f0c3e-5a"
A, B = "fa:16:3e:00:00:0a", "fa:16:3e:00:00:0b"
HOST2, HOST3 = "192.0.2.2", "192.0.2.3"
FLOOD = PortInfo(*FLOODING)


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> FakeNet:
    found = FakeNet(monkeypatch)
    found.ensure_bridge("brq8a2f0c3e-5a", "x")
    return found


def made(folder: Path) -> Tunnels:
    return Tunnels(folder, TUNNEL, Flooding(folder, TUNNEL))


@pytest.fixture
def tunnels(tmp_path: Path, net: FakeNet) -> Tunnels:
    found = made(tmp_path)
    found.wired(NETWORK, 10001, net.ensure_vxlan(NETWORK, 10001, 1450))
    return found


def says(**hosts: Any) -> dict[str, Any]:
    ports = {{"two": HOST2, "three": HOST3, "own": TUNNEL}.get(h, h): list(p) for h, p in hosts.items()}
    return {NETWORK: {"segment_id": 10001, "network_type": "vxlan", "ports": ports}}


def peers(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads((folder / TABLE).read_text())["peers"]
    return found


def test_a_station_comes_moves_and_goes(tunnels: Tunnels, net: FakeNet, tmp_path: Path) -> None:
    tunnels.add(
        says(two=[FLOOD, PortInfo(A, "10.0.0.2"), PortInfo(A, "fd00::2")], own=[FLOOD, PortInfo(B, "10.0.0.3")])
    )
    assert net.tables[VXL] == {A: HOST2}
    assert peers(tmp_path) == {"10001": [HOST2]}
    tunnels.remove(says(two=[PortInfo(A, "fd00::2")]))
    assert net.tables[VXL] == {A: HOST2}
    tunnels.add(says(three=[FLOOD, PortInfo(A, "10.0.0.2")]))
    assert net.tables[VXL] == {A: HOST3}
    # the old host's farewell comes late
    tunnels.remove(says(two=[FLOOD, PortInfo(A, "10.0.0.2")]))
    assert net.tables[VXL] == {A: HOST3}
    assert peers(tmp_path) == {"10001": [HOST3]}
    tunnels.remove(says(three=[FLOOD, PortInfo(A, "10.0.0.2")]))
    assert net.tables[VXL] == {}
    assert peers(tmp_path) == {"10001": []}


def test_an_address_changes(tunnels: Tunnels, net: FakeNet) -> None:
    calls = BridgeRpcCallbacks(None, None, None, mock.Mock(tunnels=tunnels))
    calls.add_fdb_entries(None, fdb_entries=says(two=[list(FLOOD), [A, "10.0.0.2"]]))
    change = {HOST2: {"before": [[A, "10.0.0.2"]], "after": [[A, "10.0.0.9"]]}}
    calls.update_fdb_entries(None, fdb_entries={"chg_ip": {NETWORK: change}})
    assert net.tables[VXL] == {A: HOST2}
    calls.remove_fdb_entries(None, fdb_entries=says(two=[[A, "10.0.0.9"]]))
    assert net.tables[VXL] == {}


def test_networks_that_are_not_here_and_nonsense(tunnels: Tunnels, net: FakeNet, tmp_path: Path) -> None:
    tunnels.add({"9b3f0c3e-5a6b-4e0a-9f0e-1d8a6b1c2d3e": says(two=[FLOOD])[NETWORK]})
    nonsense = {
        "224.0.0.1": [FLOOD],
        "x": [FLOOD],
        "127.0.0.1": [FLOOD],
        HOST2: [PortInfo("ff:ff:ff:ff:ff:ff", "1.2.3.4")],
    }
    tunnels.add({NETWORK: {"ports": nonsense}})
    assert net.tables[VXL] == {}
    assert peers(tmp_path) == {"10001": []}


def test_a_restart_asks_nothing_of_the_kernel_that_is_right(tunnels: Tunnels, net: FakeNet, tmp_path: Path) -> None:
    tunnels.add(says(two=[FLOOD, PortInfo(A, "10.0.0.2")], three=[FLOOD, PortInfo(B, "10.0.0.3")]))
    before = (tmp_path / TABLE).read_text()
    net.log.clear()
    again = made(tmp_path)
    again.tidy(net.net)
    again.wired(NETWORK, 10001, False)
    # floods go on as they were while the server is asked
    assert (tmp_path / TABLE).read_text() == before
    assert again.due == {NETWORK}
    assert again.replace(NETWORK, {HOST2: [FLOODING, (A, "10.0.0.2")]}, again.version(NETWORK))
    assert net.log == ["change_entries " + NETWORK]
    assert net.tables[VXL] == {A: HOST2}
    assert peers(tmp_path) == {"10001": [HOST2]}


def test_a_cut_off_change_is_done_again(tunnels: Tunnels, net: FakeNet, tmp_path: Path) -> None:
    net.broken = {"change_entries"}
    tunnels.add(says(two=[FLOOD, PortInfo(A, "10.0.0.2")]))
    assert tunnels.due == {NETWORK}
    net.broken = set()
    again = made(tmp_path)
    again.wired(NETWORK, 10001, False)
    assert again.replace(NETWORK, {HOST2: [FLOODING, (A, "10.0.0.2")]}, 0)
    assert net.tables[VXL] == {A: HOST2}


def test_a_tunnel_that_was_made_anew_is_filled_again(tunnels: Tunnels, net: FakeNet, tmp_path: Path) -> None:
    tunnels.add(says(two=[FLOOD, PortInfo(A, "10.0.0.2")]))
    net.destroy_uplink(VXL)
    tunnels.due.clear()
    tunnels.wired(NETWORK, 10001, net.ensure_vxlan(NETWORK, 10001, 1450))
    assert tunnels.due == {NETWORK}
    assert tunnels.replace(NETWORK, {HOST2: [FLOODING, (A, "10.0.0.2")]}, tunnels.version(NETWORK))
    assert net.tables[VXL] == {A: HOST2}


def test_a_network_goes_with_its_journal(tunnels: Tunnels, net: FakeNet, tmp_path: Path) -> None:
    tunnels.add(says(two=[FLOOD, PortInfo(A, "10.0.0.2")]))
    tunnels.gone([])
    assert peers(tmp_path) == {}
    assert [p.name for p in tmp_path.iterdir()] == [TABLE]
    left = tmp_path / "9b3f0c3e-5a6b-4e0a-9f0e-1d8a6b1c2d3e.json"
    left.write_text("{")
    made(tmp_path).tidy(net.net)
    assert not left.exists()


def test_a_damaged_journal_is_told_of(tmp_path: Path, net: FakeNet, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / f"{NETWORK}.json").write_text('{"entries": {"x": "y"}, "pending": []}')
    found = made(tmp_path)
    found.wired(NETWORK, 10001, net.ensure_vxlan(NETWORK, 10001, 1450))
    assert "damaged" in caplog.text


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "restart", "replace", "anew", "fail"]),
        st.sampled_from([HOST2, HOST3]),
        st.sets(st.sampled_from([A, B]), max_size=2),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_after_anything_the_table_is_what_the_server_says(steps: list[Any], tmp_path_factory: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        net = FakeNet(patch)
        net.ensure_bridge("brq8a2f0c3e-5a", "x")
        folder = tmp_path_factory.mktemp("tunnels")
        tunnels = made(folder)
        tunnels.wired(NETWORK, 10001, net.ensure_vxlan(NETWORK, 10001, 1450))
        for what, host, macs in steps:
            ports = says(**{host: [FLOOD, *(PortInfo(m, "10.0.0.2") for m in sorted(macs))]})
            net.broken = {"change_entries"} if what == "fail" else set()
            if what in ("add", "fail"):
                tunnels.add(ports)
            elif what == "remove":
                tunnels.remove(ports)
            elif what == "replace":
                tunnels.replace(NETWORK, ports[NETWORK]["ports"], tunnels.version(NETWORK))
            else:
                if what == "anew":
                    net.destroy_uplink(VXL)
                tunnels = made(folder)
                tunnels.wired(NETWORK, 10001, net.ensure_vxlan(NETWORK, 10001, 1450))
        net.broken = set()
        truth = {HOST3: [FLOODING, (A, "10.0.0.2")]}
        assert tunnels.replace(NETWORK, truth, tunnels.version(NETWORK))
        assert net.tables[VXL] == {A: HOST3}
        assert peers(folder) == {"10001": [HOST3]}


def port(host: str, mac: str, *addresses: str, status: str = "ACTIVE", binding: str = "ACTIVE") -> Any:
    ips = [SimpleNamespace(ip_address=a) for a in addresses]
    return SimpleNamespace(
        status=status, mac_address=mac, fixed_ips=ips, bindings=[SimpleNamespace(host=host, status=binding)]
    )


def test_which_ports_count() -> None:
    ports = [
        port("fbsd1", B, "10.0.0.1"), port("fbsd2", A, "10.0.0.2", "fd00::2"), port("fbsd3", B, status="DOWN"),
        port("fbsd3", B, binding="INACTIVE"), port("", B),
    ]  # fmt: skip
    assert by_host(ports, "fbsd1") == {"fbsd2": [FLOODING, (A, "10.0.0.2"), (A, "fd00::2")]}


def test_the_server_is_asked_until_no_message_comes_between(tunnels: Tunnels, net: FakeNet) -> None:
    asked: list[str] = []

    def pull(network: str) -> list[Any]:
        asked.append(network)
        if len(asked) == 1:
            tunnels.add(says(three=[FLOOD, PortInfo(B, "10.0.0.3")]))
            return [port("fbsd2", A, "10.0.0.2")]
        return [port("fbsd2", A, "10.0.0.2"), port("fbsd3", B, "10.0.0.3")]

    addresses = mock.Mock(return_value={"fbsd2": HOST2, "fbsd3": HOST3})
    resync = Resync(tunnels, "fbsd1", pull, addresses, 300)
    tunnels._flooding.keep_running = lambda: None  # type: ignore[method-assign]
    resync.look()
    assert asked == [NETWORK, NETWORK]
    assert net.tables[VXL] == {A: HOST2, B: HOST3}
    assert tunnels.due == set()
    assert addresses.call_count == 1
    # a server that is away leaves everything as it is, and due
    tunnels.all_due()
    Resync(tunnels, "fbsd1", mock.Mock(side_effect=OSError("away")), addresses, 300).look()
    assert tunnels.due == {NETWORK}
    assert net.tables[VXL] == {A: HOST2, B: HOST3}


def test_the_own_host_is_nobodys_peer() -> None:
    assert ports_by_host({TUNNEL: [FLOODING], HOST2: [(A.upper(), "10.0.0.2")]}, TUNNEL) == {HOST2: [(A, "10.0.0.2")]}
    known = Network()
    known.add(HOST2, [FLOODING, (A, "10.0.0.2")])
    known.remove(HOST3, [(A, "10.0.0.2")])
    assert known.entries() == {A: HOST2}


def test_no_replicator_serves_an_empty_folder(tmp_path: Path) -> None:
    assert flooding.serving(tmp_path) is None
    (tmp_path / "lock").write_text("1\n")
    assert flooding.serving(tmp_path) is None
