"""What our subclass adds to upstream's agent."""

import types
from typing import Any

import pytest
from neutron.agent.l3 import agent as upstream

from beastack.neutron.l3 import agent

ROUTER = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
OTHER = "7f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"


class Queue:
    def __init__(self) -> None:
        self.updates: list[Any] = []

    def add(self, update: Any) -> None:
        self.updates.append(update)


@pytest.fixture
def made() -> Any:
    l3 = agent.JailL3Agent.__new__(agent.JailL3Agent)
    l3._queue, l3._timers, l3.router_info = Queue(), {}, {ROUTER: object()}
    l3._context = types.SimpleNamespace(request_id=None)
    return l3


def forward(router_id: str) -> Any:
    return types.SimpleNamespace(router_id=router_id)


def test_routers_of_ours_whose_ports_are_forwarded_are_processed_again(made: Any) -> None:
    made.forwards_changed(None, "PortForwarding", [forward(ROUTER), forward(ROUTER), forward(OTHER)], "created")
    (update,) = made._queue.updates
    assert (update.id, update.action, update.resource) == (ROUTER, upstream.ADD_UPDATE_ROUTER, None)


def test_port_forwardings_are_pulled_only_where_there_are_any(made: Any) -> None:
    asked: list[dict[str, Any]] = []

    def pull(context: Any, kind: str, filter_kwargs: dict[str, Any]) -> list[str]:
        asked.append(filter_kwargs)
        return ["forward"]

    made._pull = types.SimpleNamespace(bulk_pull=pull)
    assert made.forwards({}) == [] and made.forwards({"fip_managed_by_port_forwardings": []}) == []
    assert asked == []
    assert made.forwards({"fip_managed_by_port_forwardings": ["b", "a"]}) == ["forward"]
    assert asked == [{"floatingip_id": ["a", "b"]}]


def test_a_router_whose_jail_is_gone_is_made_again(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made.router_info = {ROUTER: object(), OTHER: object()}
    monkeypatch.setattr(agent.jails, "here", lambda: {OTHER, "a third one"})
    made.look_for_lost_routers(None)
    assert [u.id for u in made._queue.updates] == [ROUTER]
    assert "look_for_lost_routers" in [name for name, _ in made._periodic_tasks]


def test_a_router_is_tried_again_once(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[Any] = []

    class Timer:
        def __init__(self, seconds: float, action: Any, arguments: list[Any]) -> None:
            self.action, self.arguments, self.running = action, arguments, False
            timers.append(self)

        def start(self) -> None:
            self.running = True

        def cancel(self) -> None:
            self.running = False

    monkeypatch.setattr(agent.threading, "Timer", Timer)
    made.later(ROUTER)
    made.later(ROUTER)
    assert [t.running for t in timers] == [False, True]
    timers[1].action(*timers[1].arguments)
    assert [u.id for u in made._queue.updates] == [ROUTER]
