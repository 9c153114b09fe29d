"""Options of the bridge agent: section ``[freebsd_bridge]``."""

import ipaddress
from typing import Any

from neutron_lib.utils import helpers
from oslo_config import cfg

from beastack.neutron.agent.bridges import Ways

GROUP = "freebsd_bridge"
OPTIONS = [
    cfg.ListOpt(
        "physical_interface_mappings",
        default=[],
        help="PHYSICAL_NETWORK:INTERFACE pairs. The interface becomes a bridge member and must carry no address.",
    ),
    cfg.ListOpt(
        "bridge_mappings",
        default=[],
        help="PHYSICAL_NETWORK:BRIDGE pairs. Ports of flat networks join this bridge of the operator's, which is "
        "neither made nor removed nor given a card; [beastack] adopted_bridges must name it too.",
    ),
    cfg.StrOpt(
        "tunnel_address",
        default="",
        help="This host's address in the network between hosts, for vxlan networks, as in [beastack]; empty: none.",
    ),
    cfg.StrOpt(
        "tunnel_group",
        default="",
        help="Multicast group for vxlan networks, as in [beastack]. Empty: l2population's entries and the replicator, "
        "which need no multicast.",
    ),
    cfg.IntOpt(
        "resync_interval",
        default=300,
        min=10,
        help="Seconds between two comparisons of vxlan networks with the server.",
    ),
    cfg.IntOpt(
        "glance_interval", default=5, min=1, help="Seconds between two looks at the sysctls of filtering alone."
    ),
    cfg.IntOpt("check_interval", default=30, min=5, help="Seconds between two looks at the host's filtering."),
    cfg.IntOpt("retry_interval", default=10, min=1, help="Seconds before a port that could not be opened is retried."),
]


def register(conf: Any) -> Any:
    """Register the section (twice is once) and return it."""
    conf.register_opts(OPTIONS, group=GROUP)
    return conf[GROUP]


def _pairs(name: str, text: list[str]) -> dict[str, str]:
    try:
        found: dict[str, str] = helpers.parse_mappings(text)
    except ValueError as e:
        raise ValueError(f"{name}: {e}") from e
    return found


def ways(conf: Any) -> Ways:
    """What ports can be wired to; raises ValueError with what is wrong."""
    options = register(conf)
    cards = _pairs("physical_interface_mappings", options.physical_interface_mappings)
    adopted = _pairs("bridge_mappings", options.bridge_mappings)
    if both := sorted(set(cards) & set(adopted)):
        raise ValueError(f"physical network {both[0]} is in physical_interface_mappings and in bridge_mappings")
    for name, text, group in (
        ("tunnel_address", options.tunnel_address, False),
        ("tunnel_group", options.tunnel_group, True),
    ):
        try:
            if text and ipaddress.ip_address(text).is_multicast != group:
                raise ValueError(f"{text} is {'no' if group else 'a'} multicast group")
        except ValueError as e:
            raise ValueError(f"{name}: {e}") from e
    if options.tunnel_group and not options.tunnel_address:
        raise ValueError("tunnel_group: tunnel_address is empty")
    if not cards and not adopted and not options.tunnel_address:
        raise ValueError("neither physical_interface_mappings nor bridge_mappings nor tunnel_address: nothing is wired")
    return Ways(cards, adopted, options.tunnel_address, options.tunnel_group)
