"""What the privileged side is configured with: section ``[beastack]`` of its own configuration files.

Folders and network cards come from here and never from a caller.
"""

from typing import Any

from oslo_config import cfg

from beastack.freebsd import devfs

GROUP = "beastack"
OPTIONS = [
    cfg.StrOpt("dhcp_path", help="Folder of the DHCP agent's files, one sub-folder a network (neutron's dhcp_confs)."),
    cfg.StrOpt("metadata_socket", help="Unix socket of neutron-metadata-agent, which the jails' proxies forward to."),
    cfg.StrOpt(
        "proxy_path",
        help="Folder of the privileged side's own: what dnsmasq and the metadata proxies read, their pid files and "
        "leases. Nobody but root may be able to write there.",
    ),
    cfg.StrOpt(
        "dnsmasq_user",
        default="nobody",
        help="User that dnsmasq becomes after it opened its sockets; guests talk to it, so it should not stay root. "
        "The folders above proxy_path must be searchable for it.",
    ),
    cfg.StrOpt(
        "radvd_user",
        default="nobody",
        help="User that radvd, which advertises IPv6 routers, becomes after it opened its socket. The folders above "
        "proxy_path must be searchable for it.",
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
        default="",
        help="User that the metadata proxies become; empty: the owner of metadata_socket, who may connect to it.",
    ),
    cfg.ListOpt(
        "privsep_callers",
        default=[],
        help="Users (names or numbers) whose services may start the privileged side with this file, besides the user "
        "that it runs as itself. The kernel says who the caller is.",
    ),
    cfg.ListOpt(
        "privsep_contexts",
        default=["beastack.privsep.context.default"],
        help="Contexts that may be started with this file. Upstream's contexts with NET_ADMIN or SYS_ADMIN are root's "
        "rights for their caller (nova.privsep writes any file): name one only when something needs it.",
    ),
    cfg.ListOpt(
        "privsep_entries",
        default=[],
        help="What the service of this file may call: modules below beastack.privsep (guests, interfaces, jails, dhcp, "
        "routers, router_daemons, pf, guard, ovs) or single functions of them (interfaces.ensure_tap). Nothing else is "
        "served.",
    ),
    cfg.StrOpt(
        "audit_log",
        default="",
        help="File for the record of calls, in a folder that only root writes; empty: syslog, facility auth.",
    ),
    cfg.StrOpt(
        "program_path",
        default="",
        help="PATH for what the privileged side runs when its caller is another user; empty: FreeBSD's folders.",
    ),
    cfg.StrOpt(
        "confined_path",
        default="/var/run/beastack-privsep",
        help="Folder of root's for the roots of the jails of confined contexts.",
    ),
    cfg.IntOpt(
        "confined_devfs_ruleset",
        default=64711,
        min=devfs.LOWEST,
        max=devfs.HIGHEST,
        help="Number of the devfs(8) ruleset of confined contexts; nothing else on the host may use it.",
    ),
    cfg.ListOpt(
        "confined_folders",
        default=[],
        help="File systems below / that confined contexts see besides the root file system.",
    ),
    cfg.ListOpt(
        "physical_interfaces",
        default=[],
        help="Network cards that may become members of a bridge of ours; nothing else of the host's may. CARD=NETWORK, "
        "with a network's UUID, ties a card to the bridge of that network.",
    ),
    cfg.ListOpt(
        "adopted_bridges",
        default=[],
        help="Bridges of the operator's which ports may join; they are neither made nor removed, nor given a card.",
    ),
    cfg.StrOpt(
        "switch",
        default="if_bridge",
        choices=["if_bridge", "openvswitch"],
        help="What joins the ports of this host. With openvswitch the host ends of jails' ports are plugged into "
        "br-int when they are made, and every port leaves it before its interface is destroyed.",
    ),
    cfg.StrOpt(
        "tunnel_address",
        default="",
        help="This host's address in the network between hosts, for vxlan networks; empty: there are none here.",
    ),
    cfg.StrOpt(
        "tunnel_group",
        default="",
        help="Multicast group to which broadcasts of vxlan networks go, instead of to the replicator.",
    ),
    cfg.StrOpt("tunnel_device", default="", help="Network card on which tunnel_group is joined."),
]


def network_cards(section: Any) -> dict[str, str | None]:
    """Card -> the UUID of the one network that it may serve, or None for any."""
    found: dict[str, str | None] = {}
    for item in section.physical_interfaces:
        card, tied, network = item.partition("=")
        found[card] = network if tied else None
    return found


def openvswitch(conf: Any) -> bool:
    """Whether Open vSwitch joins the ports of this host."""
    return bool(register(conf).switch == "openvswitch")


def register(conf: Any) -> Any:
    """Register the section (twice is once) and return it."""
    conf.register_opts(OPTIONS, group=GROUP)
    return conf[GROUP]
