"""What the privileged side is configured with: section ``[beastack]`` of its own configuration files.

Folders and network cards come from here and never from a caller.
"""

from typing import Any

from oslo_config import cfg

GROUP = "beastack"
OPTIONS = [
    cfg.StrOpt("dhcp_path", help="Folder of the DHCP agent's files, one sub-folder a network (neutron's dhcp_confs)."),
    cfg.StrOpt("metadata_socket", help="Unix socket of neutron-metadata-agent, which the jails' proxies forward to."),
    cfg.StrOpt("proxy_path", help="Folder for the configuration and pid files of the metadata proxies."),
    cfg.ListOpt(
        "physical_interfaces",
        default=[],
        help="Network cards that may become members of a bridge of ours; nothing else of the host's may.",
    ),
]


def register(conf: Any) -> Any:
    """Register the section (twice is once) and return it."""
    conf.register_opts(OPTIONS, group=GROUP)
    return conf[GROUP]
