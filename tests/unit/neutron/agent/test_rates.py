"""Limits of ports: upstream's extension with our driver, over a simulated host's netgraph."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from neutron.agent.l2.extensions import qos
from neutron.agent.l2.l2_agent_extensions_manager import L2_AGENT_EXT_MANAGER_NAMESPACE, L2AgentExtensionsManager
from neutron.plugins.ml2.drivers.agent import _common_agent
from neutron_lib.utils import runtime
from oslo_config import cfg
from tests.unit.neutron.agent.gate import details, filtered, members, plug
from tests.unit.neutron.fakes import FakeNet
from tests.unit.neutron.firewall.test_rules import TAP

from beastack.freebsd import car, netgraph
from beastack.freebsd.car import FREE, Rate, conf
from beastack.neutron.agent import main, manager
from beastack.neutron.agent.health import Health
from beastack.neutron.agent.loop import BridgeAgentLoop
from beastack.neutron.agent.qos_driver import BridgeQosDriver


def policy(name: str, *limits: tuple[int, int], direction: str = "egress") -> Any:
    rules = [
        SimpleNamespace(
            id=f"{name}-{n}", rule_type="bandwidth_limit", max_kbps=kbps, max_burst_kbps=burst, direction=direction,
            should_apply_to_port=mock.Mock(return_value=True),
        )
        for n, (kbps, burst) in enumerate(limits)
    ]  # fmt: skip
    return SimpleNamespace(id=name, rules=rules)


class Server:
    """What the extension asks the server for, and what the loop does for a port, in its order."""

    def __init__(self, bridge: manager.BridgeManager) -> None:
        self.bridge = bridge
        self.policies: dict[str, Any] = {}
        self.restart(bridge)

    def restart(self, bridge: manager.BridgeManager) -> None:
        self.bridge = bridge
        self.extension = qos.QosAgentExtension()
        self.extension.consume_api(bridge.get_agent_api())
        with mock.patch.object(qos.resources_rpc, "ResourcesPullRpcApi"):
            self.extension.initialize(mock.Mock(), bridge.get_extension_driver_type())
        self.extension.resource_rpc.pull.side_effect = self.pull

    def pull(self, _context: Any, _kind: str, name: str) -> Any:
        return self.policies.get(name)

    def port(self, name: str | None, **values: Any) -> None:
        """treat_devices_added_updated() with one port."""
        wanted = details(qos_policy_id=name, qos_network_policy_id=None, **values)
        plug(self.bridge, qos_policy_id=name, **values)
        self.extension.handle_port(None, wanted)
        self.bridge.rates.mark([wanted["device"]])
        self.bridge.rates.settle([wanted["device"]])

    def push(self, changed: Any) -> None:
        self.policies[changed.id] = changed
        self.extension._handle_notification(None, "QosPolicy", [changed], "updated")


@pytest.fixture
def now(bridge: manager.BridgeManager) -> Iterator[list[float]]:
    """The clock of the limits, seconds."""
    clock = [100.0]
    bridge.rates._clock = lambda: clock[0]
    yield clock


@pytest.fixture
def server(bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any, now: list[float]) -> Server:
    net.tap(TAP)
    filtered(sg_agent)
    made = Server(bridge)
    made.policies = {"gold": policy("gold", (8000, 0)), "lead": policy("lead", (1000, 400)), "none": policy("none")}
    return made


def in_force(net: FakeNet) -> Rate | None:
    """Which of the limits of these tests."""
    if car.list_rates(net) != {TAP: True}:
        assert car.list_rates(net) == {}
        return None
    found = car._in_force(net, TAP)
    return next(r for r in (Rate(8000), Rate(1000, 400), Rate(500)) if found == (conf(r), FREE))


def test_the_agent_finds_extension_and_driver() -> None:
    main.extensions.register_agent_ext_manager_opts(cfg.CONF)
    with mock.patch.object(cfg.CONF.agent, "extensions", ["qos"], create=True):
        assert L2AgentExtensionsManager(cfg.CONF).names() == ["qos"]
    assert L2_AGENT_EXT_MANAGER_NAMESPACE == "neutron.agent.l2.extensions"
    alias = manager.EXTENSION_DRIVER_TYPE
    assert runtime.load_class_by_alias_or_classname("neutron.qos.agent_drivers", alias) is BridgeQosDriver


def test_a_policy_comes_changes_and_goes(server: Server, bridge: manager.BridgeManager, net: FakeNet) -> None:
    server.port("gold")
    assert in_force(net) == Rate(8000)
    assert netgraph.list_guards(net) == [TAP]
    server.port("lead")
    assert in_force(net) == Rate(1000, 400)
    server.push(policy("lead", (500, 0)))
    bridge.rates.settle([TAP])
    assert in_force(net) == Rate(500)
    # the policy has no rule any more, then one again
    server.push(policy("lead"))
    bridge.rates.settle([TAP])
    assert in_force(net) is None
    server.push(policy("lead", (1000, 400)))
    bridge.rates.settle([TAP])
    assert in_force(net) == Rate(1000, 400)
    server.port(None)
    assert in_force(net) is None
    assert TAP in members(net)


def test_what_is_right_is_not_touched(server: Server, bridge: manager.BridgeManager, net: FakeNet) -> None:
    server.port("gold")
    assert net.netgraph.lower_in(TAP, bytes(60)) is False
    node = net.run(["ngctl", "show", f"{car.node(TAP)}:"]).out
    net.ran.clear()
    # other changes of the port, a policy with the same rules, and a new agent on a host that works
    server.port("gold", fixed_ips=[{"ip_address": "10.0.0.6"}])
    server.push(policy("gold", (8000, 0)))
    bridge.rates.settle([TAP])
    server.restart(bridge)
    server.port("gold")
    assert not any("car" in (" ".join(argv)) and "show" not in argv for argv in net.ran)
    assert net.run(["ngctl", "show", f"{car.node(TAP)}:"]).out == node
    assert in_force(net) == Rate(8000)


def test_a_limit_that_was_given_up_while_no_agent_ran(
    server: Server, bridge: manager.BridgeManager, net: FakeNet
) -> None:
    car.set_rate(net, TAP, Rate(500))
    server.port(None)
    assert in_force(net) is None


def test_a_tap_that_is_made_anew_has_its_limit(server: Server, net: FakeNet) -> None:
    server.port("gold")
    net.gone(TAP)
    net.tap(TAP, "58:9c:fc:00:00:03")
    server.port("gold")
    assert in_force(net) == Rate(8000)
    assert netgraph.list_guards(net) == [TAP]


def test_nothing_is_left_of_a_port_that_is_gone(server: Server, bridge: manager.BridgeManager, net: FakeNet) -> None:
    server.port("gold")
    net.gone(TAP)
    server.extension.delete_port(None, {"device": TAP, "port_id": details()["port_id"]})
    bridge.get_all_devices()
    bridge.delete_arp_spoofing_protection([TAP])
    assert TAP not in net.run(["ngctl", "list"]).out
    # the same while no agent ran
    net.tap(TAP)
    server.port("gold")
    net.gone(TAP)
    bridge.get_all_devices()
    bridge.rates._limited.clear()
    bridge.delete_unreferenced_arp_protection([])
    assert TAP not in net.run(["ngctl", "list"]).out


@pytest.mark.parametrize("broken", ["set_rate", "list_rates"])
def test_a_limit_that_cannot_be_set(
    broken: str, server: Server, bridge: manager.BridgeManager, net: FakeNet, now: list[float]
) -> None:
    """The port stays up, the operator hears of it once, and it is tried again."""
    net.broken = {broken}
    server.port("gold")
    assert TAP in members(net)
    assert [text for text in bridge.alarms if "limit of 8000 kbit/s" in text] == bridge.alarms != []
    asked = len(net.log)
    bridge.rates.settle([TAP])
    assert len(net.log) == asked
    now[0] += 11
    bridge.rates.settle([TAP])
    assert len(net.log) > asked
    assert len(bridge.alarms) == 1
    net.broken = set()
    now[0] += 11
    bridge.rates.settle([TAP])
    assert in_force(net) == Rate(8000)


def test_a_limit_that_somebody_removed(server: Server, bridge: manager.BridgeManager, net: FakeNet) -> None:
    server.port("gold")
    car.clear_rate(net, TAP)
    bridge.rates.check([TAP])
    assert "had lost its limit" in bridge.alarms[-1]
    bridge.rates.settle([TAP])
    assert in_force(net) == Rate(8000)
    server.port(None)
    car.set_rate(net, TAP, Rate(500))
    bridge.rates.check([TAP])
    bridge.rates.settle([TAP])
    assert in_force(net) is None


def test_limits_that_cannot_be_looked_at_close_no_port(
    server: Server, bridge: manager.BridgeManager, net: FakeNet
) -> None:
    server.port("gold")
    net.broken = {"list_rates"}
    health = Health(bridge, 1)
    for _ in range(5):
        health.check()
    assert bridge.unsafe is None
    assert TAP in members(net)


def test_a_guard_that_is_made_anew_does_not_lose_the_limit(
    server: Server, bridge: manager.BridgeManager, net: FakeNet
) -> None:
    server.port("gold")
    netgraph.clear_guard(net, TAP)
    net.run(["ngctl", "rmhook", f"{car.node(TAP)}:", "upper"])
    bridge.reopen([TAP])
    filtered(bridge._sg_agent)
    server.port("gold")
    assert in_force(net) == Rate(8000)
    assert netgraph.list_guards(net) == [TAP]


def test_what_is_sent_to_a_guest_is_not_limited(server: Server, net: FakeNet) -> None:
    """The server refuses such a rule; here it came through."""
    server.policies["gold"] = policy("gold", (8000, 0), direction="ingress")
    server.port("gold")
    assert in_force(net) is None
    server.port(None)


def test_the_loop_compares_after_the_extension_has_spoken(
    bridge: manager.BridgeManager, net: FakeNet, sg_agent: Any
) -> None:
    """A start finds a limit that is right: the first scan, before anything is wanted, leaves it alone."""
    net.tap(TAP)
    car.set_rate(net, TAP, Rate(8000))
    loop = BridgeAgentLoop(bridge, mock.Mock(), 1, None, "FreeBSD bridge agent", "x")
    loop.rpc_callbacks = mock.Mock(get_and_clear_updated_devices=set)
    loop.scan_devices(None, True)
    assert in_force(net) == Rate(8000)
    with mock.patch.object(_common_agent.CommonAgentLoop, "treat_devices_added_updated") as upstream:
        upstream.side_effect = wants(bridge, (1000, 400))
        assert not loop.treat_devices_added_updated({TAP})
        assert in_force(net) == Rate(1000, 400)
        # nobody wants it any more: not before the server has answered
        bridge.rates._wanted.clear()
        upstream.side_effect, upstream.return_value = None, True
        assert loop.treat_devices_added_updated({TAP})
        assert in_force(net) == Rate(1000, 400)
        upstream.return_value = False
        loop.treat_devices_added_updated({TAP})
        assert in_force(net) is None


def wants(bridge: manager.BridgeManager, limit: tuple[int, int]) -> Callable[[set[str]], bool]:
    def treat(devices: set[str]) -> bool:
        for device in devices:
            bridge.rates.want(device, *limit)
        return False

    return treat
