"""What the server may accept for ports of these hosts."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from neutron_lib.callbacks import events, registry
from neutron_lib.services.qos import constants

from beastack.freebsd import car
from beastack.neutron import qos
from beastack.neutron.mech_freebsdbridge import FreeBSDBridgeMechanismDriver


class Rule(SimpleNamespace):
    """As neutron's objects: attributes by name."""

    def get(self, name: str) -> Any:
        return getattr(self, name, None)


def limit(kbps: int = 1000, burst: int = 0, direction: str = "egress") -> Rule:
    return Rule(rule_type="bandwidth_limit", max_kbps=kbps, max_burst_kbps=burst, direction=direction)


NUMBERS = st.integers(0, 2**31 - 1) | st.sampled_from([63, 64, 65, 999_999, 1_000_000, 1_000_001])


@given(NUMBERS, NUMBERS, st.sampled_from(["egress", "ingress"]))
def test_what_is_accepted_can_be_set_and_nothing_else_is(kbps: int, burst: int, direction: str) -> None:
    driver = qos.register()
    try:
        car.conf(car.Rate(kbps, burst))
    except car.BadRate:
        possible = False
    else:
        possible = direction == "egress"
    assert driver.is_rule_supported(limit(kbps, burst, direction)) is possible


@pytest.mark.parametrize("kind", sorted(set(constants.VALID_RULE_TYPES) - {"bandwidth_limit"}))
def test_other_rules_are_refused(kind: str) -> None:
    assert not qos.register().is_rule_supported(Rule(rule_type=kind, direction="egress", max_kbps=1000))


def test_the_mechanism_driver_makes_it_known_once() -> None:
    FreeBSDBridgeMechanismDriver().initialize()
    FreeBSDBridgeMechanismDriver().initialize()
    known: list[Any] = []
    plugin = SimpleNamespace(register_driver=known.append)
    registry.publish(constants.QOS_PLUGIN, events.AFTER_INIT, plugin)
    assert [driver for driver in known if driver.name == "freebsdbridge"] == [qos.register()]
    assert qos.register().requires_rpc_notifications
    assert qos.register().is_vif_type_compatible("tap")
    assert not qos.register().is_vif_type_compatible("ovs")


OFFERED = """
import sys
from neutron.conf import common
from neutron.services.l3_router import l3_router_plugin
from neutron.services.qos.qos_plugin import QoSPlugin
from neutron_lib.utils import runtime
from oslo_config import cfg
assert runtime.load_class_by_alias_or_classname("neutron.service_plugins", sys.argv[1]) is QoSPlugin
common.register_core_common_config_opts()
cfg.CONF([], project="test", default_config_files=[])
cfg.CONF.set_override("service_plugins", ["router", sys.argv[1]])
aliases = ["qos-fip"]
l3_router_plugin.disable_l3_qos_extension_by_plugins("qos-fip", aliases)
print(*aliases)
"""


@pytest.mark.parametrize(("name", "offered"), [("beastack_qos", ""), ("qos", "qos-fip")])
def test_the_router_plugin_offers_no_policies_that_nobody_holds(name: str, offered: str) -> None:
    """Of floating IPs and gateways: it looks for the QoS plugin by its name.

    In a process of its own: the options of nova and of neutron's server do not go together.
    """
    argv = [sys.executable, "-W", "ignore", "-c", OFFERED, name]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, offered), done.stderr
