"""[freebsd_bridge]: what ports can be wired to."""

from collections.abc import Iterator

import pytest
from oslo_config import cfg

from beastack.neutron import config
from beastack.neutron.agent.bridges import Ways


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    config.register(cfg.CONF)
    yield
    for option in config.OPTIONS:
        cfg.CONF.clear_override(option.name, config.GROUP)


def ways(**values: object) -> Ways:
    for name, value in values.items():
        cfg.CONF.set_override(name, value, config.GROUP)
    return config.ways(cfg.CONF)


def test_everything_at_once() -> None:
    found = ways(
        physical_interface_mappings=["physnet1:em0", "physnet2:em1"],
        bridge_mappings=["lab:bridge0"],
        tunnel_address="192.0.2.1",
        tunnel_group="239.1.1.1",
    )
    assert found == Ways({"physnet1": "em0", "physnet2": "em1"}, {"lab": "bridge0"}, "192.0.2.1", "239.1.1.1")
    assert found.types == ["local", "flat", "vlan", "vxlan"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "nothing is wired"),
        ({"physical_interface_mappings": ["physnet1"]}, "physical_interface_mappings"),
        ({"physical_interface_mappings": ["a:em0"], "bridge_mappings": ["a:bridge0"]}, "physical network a is in"),
        ({"tunnel_address": "vtnet0"}, "tunnel_address"),
        ({"tunnel_address": "239.1.1.1"}, "tunnel_address"),
        ({"tunnel_address": "192.0.2.1", "tunnel_group": "192.0.2.2"}, "tunnel_group"),
        ({"physical_interface_mappings": ["a:em0"], "tunnel_group": "239.1.1.1"}, "tunnel_address is empty"),
    ],
)
def test_mistakes_are_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ways(**values)
