"""Settings with which ports would not be filtered, or not be wired, end the start."""

from types import SimpleNamespace as Space

import pytest

from beastack.neutron.ovs import main


def conf(**changed: object) -> Space:
    wanted = {
        "firewall_driver": "beastack_ovs",
        "datapath_type": "netdev",
        "integration_bridge": "br-int",
        "bridge_mappings": ["physnet1:br-em0", "physnet2:br-em1"],
        "tunnel_types": [],
        "minimize_polling": False,
    } | changed
    found = Space(**wanted)
    return Space(SECURITYGROUP=found, OVS=found, AGENT=found)


def test_cards_follow_from_the_bridges_names() -> None:
    assert main.cards(conf()) == ["em0", "em1"]


@pytest.mark.parametrize(
    "changed",
    [
        {"firewall_driver": "openvswitch"},
        {"firewall_driver": "noop"},
        {"datapath_type": "system"},
        {"integration_bridge": "br-other"},
        {"bridge_mappings": ["physnet1:em0"]},
        {"bridge_mappings": ["physnet1:br-int"]},
        {"tunnel_types": ["vxlan"]},
        {"minimize_polling": True},
    ],
)
def test_what_would_not_hold_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"wanted|not served"):
        main.cards(conf(**changed))
