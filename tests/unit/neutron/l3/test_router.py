"""A router under the stock agent's calls, with the privilege boundary recorded."""

import types
from collections.abc import Iterator
from typing import Any

import pytest
from neutron.agent.l3 import agent as upstream
from neutron_lib.exceptions import l3 as l3_exc

from beastack.freebsd.errors import CommandFailed
from beastack.neutron.l3 import agent, jails
from beastack.neutron.l3.router import ADVERTISER, PROXY, JailRouter
from beastack.privsep import router_daemons, routers

from .test_plan import INNER, SECOND, fip, gateway, port, subnet

ROUTER = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
OTHER = "7f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"


class Monitor:
    def __init__(self) -> None:
        self.watched: dict[tuple[str, str], Any] = {}

    def register(self, uuid: str, service: str, monitored: Any) -> None:
        self.watched[uuid, service] = monitored

    def unregister(self, uuid: str, service: str) -> None:
        self.watched.pop((uuid, service), None)


class Host:
    """The privileged side: what was asked, in order, and ``broken`` names what fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.broken: set[str] = set()
        self.answers: dict[str, Any] = {"list_router_ports": [], "set_router_routes": []}
        for module in (routers, router_daemons):
            for name in vars(module):
                if f"{module.__name__}.{name}" in _entries():
                    monkeypatch.setattr(module, name, self._entry(name))

    def _entry(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.log.append(name)
            self.calls.append((name, arguments))
            if name in self.broken:
                raise CommandFailed([name], 1, "", "broken for this test")
            return self.answers.get(name, "running" if name.startswith("start") else None)

        return call

    def asked(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for called, arguments in self.calls if called == name]


def _entries() -> set[str]:
    from beastack.privsep import context

    return set(context.entries)


class Agent:
    metadata = True
    context = None

    def __init__(self) -> None:
        self.statuses: list[dict[str, str]] = []
        self.again: list[str] = []
        self.plugin_rpc = types.SimpleNamespace(update_floatingip_statuses=lambda *a: self.statuses.append(a[-1]))

    def forwards(self, router: dict[str, Any]) -> list[Any]:
        return []

    def later(self, router_id: str) -> None:
        self.again.append(router_id)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    yield Host(monkeypatch)


@pytest.fixture
def l3() -> Agent:
    return Agent()


def router(l3: Agent, *inner: dict[str, Any], **more: Any) -> JailRouter:
    times = dict.fromkeys((f"timeout_{n}" for n in ("http_request", "connect", "client", "server")), 30)
    conf = types.SimpleNamespace(
        ipv6_gateway="",
        metadata_haproxy=types.SimpleNamespace(**times, timeout_http_keep_alive=30),
        metadata_rate_limiting=types.SimpleNamespace(rate_limit_enabled=False),
        min_rtr_adv_interval=30,
        max_rtr_adv_interval=100,
    )
    given = {"id": ROUTER, "_interfaces": list(inner), "routes": [], "_floatingips": [], **more}
    driver = types.SimpleNamespace(DEV_NAME_LEN=14)
    made = JailRouter(agent=l3, router_id=ROUTER, router=given, agent_conf=conf, interface_driver=driver)
    made.initialize(Monitor())
    return made


def test_everything_is_stated_in_an_order_that_leaks_nothing(host: Host, l3: Agent) -> None:
    made = router(l3, port(), gw_port=gateway(), _floatingips=[fip()])
    made.process()
    order = [n for n in host.log if n.startswith(("ensure", "load", "set"))]
    assert order == [
        *("ensure_router_jail", "ensure_router_port", "ensure_router_port", "load_router_rules"),
        *("set_router_addresses", "set_router_addresses", "set_router_routes"),
    ]
    assert l3.statuses == [{"i": "ACTIVE"}] and l3.again == []
    assert set(made.process_monitor.watched) == {(ROUTER, PROXY)}
    made.process()
    assert l3.statuses == [{"i": "ACTIVE"}], "what the server knows is not told again"


def test_ports_of_before_are_removed_and_others_stay(host: Host, l3: Agent) -> None:
    host.answers["list_router_ports"] = [f"qr-{INNER[:11]}", f"qr-{SECOND[:11]}"]
    router(l3, port()).process()
    assert host.asked("remove_router_port") == [(ROUTER, f"qr-{SECOND[:11]}")]


def test_a_failure_is_told_and_tried_again_and_raises_nothing(host: Host, l3: Agent) -> None:
    """Upstream would remove a new router whose processing raises: one that has carried traffic since long."""
    host.broken = {"load_router_rules"}
    router(l3, port(), gw_port=gateway(), _floatingips=[fip()]).process()
    assert l3.statuses == [{"i": "ERROR"}] and l3.again == [ROUTER]
    assert "set_router_addresses" not in host.log and "remove_router_jail" not in host.log


def test_a_floating_ip_that_went_is_told(host: Host, l3: Agent) -> None:
    made = router(l3, port(), gw_port=gateway(), _floatingips=[fip()])
    made.process()
    made.router = {**made.router, "_floatingips": []}
    made.process()
    assert l3.statuses == [{"i": "ACTIVE"}, {"i": "DOWN"}]


def test_a_server_that_does_not_answer_is_asked_again(host: Host, l3: Agent) -> None:
    def broken(*_: Any) -> None:
        raise TimeoutError

    made = router(l3, port(), gw_port=gateway(), _floatingips=[fip()])
    l3.plugin_rpc.update_floatingip_statuses = broken
    made.process()
    assert l3.again == [ROUTER]


def test_advertising_follows_the_networks(host: Host, l3: Agent) -> None:
    made = router(l3, port(cidr="fd00::1/64", subnets=[subnet("fd00::/64", "fd00::1", "slaac")]))
    made.process()
    assert set(made.process_monitor.watched) == {(ROUTER, ADVERTISER)}, "there is no IPv4 network: no metadata proxy"
    ((_, adverts, least, most),) = host.asked("start_advertiser")
    assert (least, most) == (30, 100) and adverts[0]["interface"] == f"qr-{INNER[:11]}"
    made.router = {**made.router, "_interfaces": []}
    made.process()
    assert host.log[-1] == "stop_advertiser" and not made.process_monitor.watched


def test_deleting_removes_everything(host: Host, l3: Agent) -> None:
    made = router(l3, port())
    made.process()
    made.delete()
    assert host.log[-3:] == ["stop_advertiser", "stop_router_proxy", "remove_router_jail"]
    assert not made.process_monitor.watched


def test_only_centralized_routers_are_made(host: Host) -> None:
    factory = upstream.RouterFactory()
    agent.JailL3Agent._register_router_cls(types.SimpleNamespace(), factory)
    with pytest.raises(l3_exc.RouterNotFoundInRouterFactory):
        factory.create(["ha"], router_id=ROUTER)


def test_after_a_full_synchronisation_only_known_routers_stay(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jails.jail, "list_jails", lambda _: [f"qrouter-{ROUTER}", f"qrouter-{OTHER}", "qdhcp-x"])
    with jails.JailManager(None, None, Monitor()) as manager:
        manager.keep_router(ROUTER)
    assert host.asked("remove_router_jail") == [(OTHER,)]


def test_jails_that_cannot_be_listed_are_not_absent(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(host: object) -> None:
        raise CommandFailed(["jls"], 1, "", "broken for this test")

    monkeypatch.setattr(jails.jail, "list_jails", broken)
    with pytest.raises(CommandFailed), jails.JailManager(None, None, Monitor()):
        pass
    assert "remove_router_jail" not in host.log
