"""When the loop looks at the host: each interval, and sooner for a tap that is about to be made."""

import threading
import time
from typing import Any
from unittest import mock

import pytest
from neutron.plugins.ml2.drivers.agent import _common_agent

from beastack.neutron.agent import manager
from beastack.neutron.agent.loop import BridgeAgentLoop
from beastack.neutron.agent.pace import PATIENCE, SOON, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_interval_from_look_to_look_and_less_while_a_tap_is_expected() -> None:
    clock = Clock()
    pace = Pace(2.0, clock)
    assert pace.left() == 0
    pace.wait()
    assert pace.left() == pytest.approx(2.0)
    clock.now += 0.5
    pace.expect("tap1")
    assert pace.left() == 0
    pace.wait()
    assert pace.left() == pytest.approx(SOON)
    pace.found({"tap2"})
    assert pace.left() == pytest.approx(SOON)
    pace.found({"tap1", "tap2"})
    assert pace.left() == pytest.approx(2.0)


def test_patience_ends() -> None:
    clock = Clock()
    pace = Pace(60.0, clock)
    pace.wait()
    pace.expect("tap1")
    clock.now += PATIENCE + 0.1
    assert pace.left() == pytest.approx(60.0 - PATIENCE - 0.1)


def test_an_interval_shorter_than_soon_stays() -> None:
    pace = Pace(0.01, Clock())
    pace.wait()
    pace.expect("tap1")
    assert pace.left() == pytest.approx(0.01)


def test_who_waits_hears_of_the_tap() -> None:
    pace = Pace(60.0)
    pace.wait()
    waiting = threading.Thread(target=pace.wait, daemon=True)
    waiting.start()
    began = time.monotonic()
    pace.expect("tap1")
    waiting.join(10)
    assert not waiting.is_alive()
    assert time.monotonic() - began < 10


def port(**more: Any) -> dict[str, Any]:
    return {
        "id": "12345678-9000-0000-0000-000000000000",
        "binding:host_id": "fbsd1",
        "device_owner": "compute:nova",
        **more,
    }


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, True),
        ({"binding:host_id": "fbsd2"}, False),
        ({"device_owner": "network:dhcp"}, False),
        ({"device_owner": None}, False),
    ],
)
def test_a_server_s_port_that_is_bound_here_is_expected(
    more: dict[str, Any], expected: bool, bridge: manager.BridgeManager
) -> None:
    agent = mock.Mock()
    calls = bridge.get_rpc_callbacks(mock.Mock(), agent, mock.Mock())
    calls.port_update(None, port=port(**more))
    assert agent.expect.called is expected
    assert calls.get_and_clear_updated_devices() == {"tap12345678-90"}


def test_a_tap_that_is_there_is_not_expected(bridge: manager.BridgeManager, net: Any) -> None:
    assert bridge.awaits("tap12345678-90", port())
    net.tap("tap12345678-90")
    bridge.get_all_devices()
    assert not bridge.awaits("tap12345678-90", port())


def test_the_loop_waits_in_its_scan_and_not_in_upstream_s_sleep(
    bridge: manager.BridgeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = BridgeAgentLoop(bridge, mock.Mock(), 60, 10, "type", "binary")
    scans: list[str] = []

    class Enough(Exception):
        pass

    def scan(_self: Any, _previous: Any, _sync: bool) -> dict[str, Any]:
        scans.append(threading.current_thread().name)
        if len(scans) == 1:
            # arrives while the loop waits for its next look
            threading.Timer(0.05, loop.expect, ["tap1"]).start()
        if len(scans) == 3:
            raise Enough
        return {"current": set(), "removed": set()}

    monkeypatch.setattr(_common_agent.CommonAgentLoop, "scan_devices", scan)
    loop.sg_agent = mock.Mock()
    loop.sg_agent.firewall_refresh_needed.return_value = False
    loop.iter_num, loop.fullsync = 0, False
    began = time.monotonic()
    with pytest.raises(Enough):
        loop.daemon_loop()
    # not 120 s, and not at once
    assert SOON <= time.monotonic() - began < 30
