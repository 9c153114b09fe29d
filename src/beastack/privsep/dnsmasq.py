"""dnsmasq's command line for one network, as neutron/agent/linux/dhcp.py builds it (Dnsmasq._build_cmdline_callback).

Built on the privileged side from checked values; shared/freebsd/15.1/12-dhcp.txt shows it working in a vnet jail.
"""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from beastack.privsep import checks
from beastack.privsep.checks import Refused

# What a caller may ask for at most; neutron's own limits are lower.
MOST_SUBNETS = 256
MOST_SERVERS = 16
LONGEST = 2**31 - 1  # seconds


@dataclass(frozen=True)
class Range:
    """A subnet that dnsmasq serves: every address is given by the hosts file (``static``)."""

    subnet_id: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network

    @classmethod
    def check(cls, value: object) -> "Range":
        """From ``{"subnet_id": …, "cidr": …}``."""
        if not isinstance(value, dict) or set(value) != {"subnet_id", "cidr"}:
            raise Refused("range: subnet_id and cidr are wanted")
        network = ipaddress.ip_network(checks.network(value["cidr"]))
        if network.version == 6 and network.prefixlen < 64:
            raise Refused(f"range: {network}: dnsmasq serves no IPv6 network larger than /64")
        return cls(checks.uuid(value["subnet_id"]), network)

    def option(self, lease: str) -> str:
        """``--dhcp-range=…``"""
        size = self.network.netmask if self.network.version == 4 else self.network.prefixlen
        return f"--dhcp-range=set:subnet-{self.subnet_id},{self.network.network_address},static,{size},{lease}"


@dataclass(frozen=True)
class Files:
    """Where dnsmasq reads and writes; all of the privileged side's choosing. ``log`` and ``config`` may be None."""

    folder: Path
    pid: Path
    log: Path | None
    config: Path | None


@dataclass(frozen=True)
class Settings:
    """What a caller may choose; seconds, counts and bytes as in neutron's options of these names."""

    interface: str
    ranges: tuple[Range, ...]
    lease_seconds: int
    lease_max: int
    mtu: int
    renewal_seconds: int
    rebinding_seconds: int
    dns_servers: tuple[str, ...]
    domain: str
    local_resolv: bool
    broadcast: bool
    txt_record: str


def server(value: object) -> str:
    """A DNS server: an address, perhaps with ``#port``."""
    address, mark, port = checks.text(value, 64, "DNS server").partition("#")
    if mark and (not port.isdecimal() or not 0 < int(port) < 65536):
        raise Refused(f"DNS server: {value!r} is not ADDRESS or ADDRESS#PORT")
    return checks.ip(address) + mark + port


def domain(value: object) -> str:
    """A DNS domain or nothing."""
    return checks.host_name(value) if value != "" else ""


def argv(settings: Settings, files: Files, user: str) -> list[str]:
    """The command line."""
    lease = "infinite" if settings.lease_seconds == -1 else f"{settings.lease_seconds}s"
    words = ["dnsmasq", "--no-hosts"]
    if settings.dns_servers or not settings.local_resolv:
        words.append("--no-resolv")
    words += [
        f"--pid-file={files.pid}",
        f"--dhcp-hostsfile={files.folder / 'host'}",
        f"--addn-hosts={files.folder / 'addn_hosts'}",
        f"--dhcp-optsfile={files.folder / 'opts'}",
        f"--dhcp-leasefile={files.folder / 'leases'}",
        "--dhcp-match=set:ipxe,175",
        "--dhcp-userclass=set:ipxe6,iPXE",
        "--local-service",
        "--bind-dynamic",
        "--except-interface=lo0",
        f"--interface={settings.interface}",
        f"--user={user}",
    ]
    words += [r.option(lease) for r in settings.ranges]
    if settings.mtu:
        words.append(f"--dhcp-option-force=option:mtu,{settings.mtu}")
    words.append(f"--dhcp-lease-max={settings.lease_max}")
    if settings.renewal_seconds:
        words.append(f"--dhcp-option-force=option:T1,{settings.renewal_seconds}s")
    if settings.rebinding_seconds:
        words.append(f"--dhcp-option-force=option:T2,{settings.rebinding_seconds}s")
    if settings.txt_record:
        words.append(f"--txt-record={settings.txt_record}")
    words.append(f"--conf-file={files.config or '/dev/null'}")
    words += [f"--server={s}" for s in settings.dns_servers]
    if settings.domain:
        words.append(f"--domain={settings.domain}")
    if settings.broadcast:
        words.append("--dhcp-broadcast")
    if files.log:
        words += ["--log-queries", "--log-dhcp", f"--log-facility={files.log}"]
    return words
