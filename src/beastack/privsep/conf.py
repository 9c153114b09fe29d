"""What the privileged side is configured with: section ``[beastack]`` of its own configuration files.

Folders and network cards come from here and never from a caller.
"""

from typing import Any

from oslo_config import cfg

GROUP = "beastack"
OPTIONS = [
    cfg.StrOpt("dhcp_path", help="Folder of the DHCP agent's files, one sub-folder a network (neutron's dhcp_confs)."),
    cfg.StrOpt("metadata_socket", help="Unix socket of neutron-metadata-agent, which the jails' proxies forward to."),
    cfg.StrOpt(
        "proxy_path",
        help="Folder of the privileged side's own: configuration of the metadata proxies, pid files of theirs and of "
        "dnsmasq. Nobody but root should be able to write there.",
    ),
    cfg.StrOpt(
        "dnsmasq_user",
        default="root",
        help="User that dnsmasq becomes after it opened its sockets. With another user than root, the folders above "
        "dhcp_path must be searchable for it, and new addresses are served after a restart only.",
    ),
    cfg.StrOpt(
        "dnsmasq_config_file",
        default="",
        help="dnsmasq's own configuration file, added to what neutron says. The option of that name in [DEFAULT] is "
        "not used: a path does not cross the privilege boundary.",
    ),
    cfg.StrOpt(
        "dhcp_log_path",
        default="",
        help="Folder for dnsmasq's logs of queries and leases, NETWORK/dhcp_dns_log; empty: syslog, without them.",
    ),
    cfg.StrOpt(
        "proxy_user",
        default="root",
        help="User that the metadata proxies become; it must be allowed to connect to metadata_socket (neutron's "
        "metadata_proxy_socket_mode).",
    ),
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
