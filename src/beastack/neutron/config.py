"""Options of the bridge agent: section ``[freebsd_bridge]``."""

from typing import Any

from neutron_lib.utils import helpers
from oslo_config import cfg

GROUP = "freebsd_bridge"
OPTIONS = [
    cfg.ListOpt(
        "physical_interface_mappings",
        default=[],
        help="PHYSICAL_NETWORK:INTERFACE pairs. The interface becomes a bridge member and must carry no address.",
    ),
    cfg.IntOpt("check_interval", default=30, min=5, help="Seconds between two looks at the host's filtering."),
    cfg.IntOpt("retry_interval", default=10, min=1, help="Seconds before a port that could not be opened is retried."),
]


def register(conf: Any) -> Any:
    """Register the section (twice is once) and return it."""
    conf.register_opts(OPTIONS, group=GROUP)
    return conf[GROUP]


def mappings(conf: Any) -> dict[str, str]:
    """Physical network -> interface; raises ValueError with what is wrong."""
    found: dict[str, str] = helpers.parse_mappings(register(conf).physical_interface_mappings)
    return found
