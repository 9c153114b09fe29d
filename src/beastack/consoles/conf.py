"""Options of `[beastack]` about consoles: nova-compute and the console service read them from the same file."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

from oslo_config import cfg

GROUP = "beastack"
# the three files of the service's side of VeNCrypt; all or none
TLS = ("console_cert", "console_key", "console_ca")

OPTIONS = [
    cfg.StrOpt(
        "console_address",
        default="127.0.0.1",
        help="Address of the host on which the console service listens for nova's proxies: on the management network.",
    ),
    cfg.PortOpt("console_port", default=6079, help="The service's TCP port; one for all guests."),
    cfg.ListOpt(
        "console_proxies",
        default=[],
        help="Addresses or networks of nova-serialproxy and nova-novncproxy. Nobody else is answered.",
    ),
    cfg.StrOpt(
        "console_ticket_key",
        default="",
        help="File with the key of the tickets that nova-compute issues; made when it is missing. Empty: console.key "
        "in instances_path.",
    ),
    cfg.StrOpt("console_cert", default="", help="Certificate of the service for VeNCrypt (PEM); empty: no TLS."),
    cfg.StrOpt("console_key", default="", help="The certificate's private key (PEM)."),
    cfg.StrOpt("console_ca", default="", help="Who signs the proxies' certificates (PEM)."),
]

Network = IPv4Network | IPv6Network


def register(conf: Any) -> Any:
    """The group, with each of these options that nobody has registered before."""
    conf.register_group(cfg.OptGroup(GROUP, title="Beastack"))
    group = getattr(conf, GROUP)
    for option in OPTIONS:
        if option.dest not in group:
            conf.register_opt(option, group=GROUP)
    return group


def ticket_key(group: Any, instances: Path) -> Path:
    """Where the key of the tickets is."""
    return Path(group.console_ticket_key) if group.console_ticket_key else instances / "console.key"


def proxies(group: Any) -> list[Network]:
    """The allow-list. Raises ValueError."""
    return [ip_network(text) for text in group.console_proxies]


def allowed(address: str, networks: list[Network]) -> bool:
    """Whether ``address`` is in the list; an empty list allows nobody."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in network for network in networks)


def tls_files(group: Any) -> tuple[str, str, str] | None:
    """Certificate, key and authority; None without TLS. Raises ValueError when only some are there."""
    found = tuple(str(getattr(group, name)) for name in TLS)
    if not any(found):
        return None
    if not all(found):
        raise ValueError(f"[{GROUP}] {', '.join(TLS)}: all of them or none")
    return found[0], found[1], found[2]
