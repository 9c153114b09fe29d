"""Entry points for what runs in a network's jail: dnsmasq and the metadata proxy (haproxy).

A caller names a network and says typed things about it; command lines, files and users are made up here, from this
side's own configuration. Starting is ensuring: what runs with the same settings is told to read its files again, what
runs with others is started anew. Both daemons outlive the agent and this process.
"""

from pathlib import Path

from oslo_config import cfg

from beastack.freebsd import daemons
from beastack.freebsd.host import LocalHost
from beastack.privsep import checks, conf, dnsmasq, handed, metadata_proxy, trust
from beastack.privsep.checks import Refused
from beastack.privsep.context import entry, query
from beastack.privsep.places import START_LIMIT, configured, lock, own_folder

HOST = LocalHost()
# What the agent writes and dnsmasq reads, and the file that begins the leases (neutron/agent/linux/dhcp.py).
HANDED = ("host", "addn_hosts", "opts")
LEASES = "leases"
MOST_BYTES = 16 * 1024 * 1024
LONGEST_LINE = 8192


def _instance(network_id: object, segment: object) -> str:
    """A daemon's name in our folder: the network's id, and the segment's number when there are several."""
    network = checks.uuid(network_id)
    return network if segment is None else f"{network}.{checks.number(segment, 0, 2**24, 'segment')}"


def _pid_file(network_id: object, segment: object) -> Path:
    return configured("proxy_path") / f"{_instance(network_id, segment)}.dnsmasq.pid"


def _dnsmasq_folder(network_id: object, segment: object) -> Path:
    """Root's folder of what one dnsmasq reads and writes."""
    return configured("proxy_path") / f"{_instance(network_id, segment)}.dnsmasq"


def _take(network_id: str, segment: int | None, own: Path, running: bool) -> None:
    """Copy the agent's files to ``own``. Leases are the running dnsmasq's; else the later ones of both.

    Raises Refused when something is not as the agent writes it, before anything is copied.
    """
    root = configured("dhcp_path")
    with handed.folder(root / network_id if segment is None else root / str(segment) / network_id) as inside:
        found = {name: handed.read(inside, name, MOST_BYTES) for name in (*HANDED, LEASES)}
    texts = {name: handed.lines(f[0] if f else b"", name, LONGEST_LINE) for name, f in found.items()}
    trust.own_folder(own, 0o755)
    for name in HANDED:
        handed.write(own / name, texts[name], 0o644)
    leases, theirs = own / LEASES, found[LEASES]
    if not running and theirs and (not leases.exists() or leases.stat().st_mtime < theirs[1]):
        handed.write(leases, texts[LEASES], 0o644)


def _log_file(network_id: str) -> Path | None:
    if not conf.register(cfg.CONF).dhcp_log_path:
        return None
    return trust.own_folder(configured("dhcp_log_path") / network_id, 0o755) / "dhcp_dns_log"


def _inner(value: object) -> str:
    name = checks.interface_name(value)
    if not name.startswith("ns-"):
        raise Refused(f"interface: {name} is not a jail's port")
    return name


@entry
def start_dnsmasq(
    network_id: str,
    segment: int | None,
    interface: str,
    ranges: list[dict[str, str]],
    lease_seconds: int,
    lease_max: int,
    mtu: int,
    renewal_seconds: int,
    rebinding_seconds: int,
    dns_servers: list[str],
    domain: str,
    local_resolv: bool,
    broadcast: bool,
    txt_record: str,
) -> str:
    """Let dnsmasq serve the network in its jail. "started", "restarted" (other settings) or "reloaded"."""
    pid_file = _pid_file(network_id, segment)
    settings = dnsmasq.Settings(
        interface=_inner(interface),
        ranges=tuple(dnsmasq.Range.check(r) for r in checks.items(ranges, dnsmasq.MOST_SUBNETS, "ranges")),
        lease_seconds=checks.number(lease_seconds, -1, dnsmasq.LONGEST, "lease"),
        lease_max=checks.number(lease_max, 0, dnsmasq.LONGEST, "leases"),
        mtu=checks.number(mtu, 0, 65535, "MTU"),
        renewal_seconds=checks.number(renewal_seconds, 0, dnsmasq.LONGEST, "renewal"),
        rebinding_seconds=checks.number(rebinding_seconds, 0, dnsmasq.LONGEST, "rebinding"),
        dns_servers=tuple(dnsmasq.server(s) for s in checks.items(dns_servers, dnsmasq.MOST_SERVERS, "DNS servers")),
        domain=dnsmasq.domain(domain),
        local_resolv=checks.flag(local_resolv, "local_resolv"),
        broadcast=checks.flag(broadcast, "broadcast"),
        txt_record=checks.text(txt_record, 4096, "TXT record"),
    )
    section = conf.register(cfg.CONF)
    config = configured("dnsmasq_config_file") if section.dnsmasq_config_file else None
    own = _dnsmasq_folder(network_id, segment)
    files = dnsmasq.Files(own, pid_file, _log_file(network_id), config)
    argv = dnsmasq.argv(settings, files, section.dnsmasq_user)
    with lock(network_id):
        own_folder()
        running = daemons.find(HOST, pid_file, _mark(pid_file))
        _take(network_id, segment, own, running is not None)
        if section.dnsmasq_user != "root":
            trust.searchable(own)
        if running is not None and running[1] == " ".join(argv) and daemons.hang_up(running[0]):
            return "reloaded"
        daemons.end(HOST, pid_file, _mark(pid_file))
        HOST.jail(f"qdhcp-{network_id}").run(argv, timeout=START_LIMIT)
        return "started" if running is None else "restarted"


def _mark(pid_file: Path) -> str:
    return f"--pid-file={pid_file} "


@entry
def reload_dnsmasq(network_id: str, segment: int | None = None) -> bool:
    """Let the network's dnsmasq read the agent's files again; False when it does not run."""
    pid_file = _pid_file(network_id, segment)
    with lock(network_id):
        running = daemons.find(HOST, pid_file, _mark(pid_file))
        if running is None:
            return False
        _take(network_id, segment, _dnsmasq_folder(network_id, segment), running=True)
        return daemons.hang_up(running[0])


@query
def dnsmasq_leases(network_id: str, segment: int | None = None) -> str:
    """What dnsmasq has written about its leases; empty when it never ran."""
    own = _dnsmasq_folder(network_id, segment)
    if not own.exists():
        return ""
    try:
        with (own / LEASES).open("rb") as file:
            data = file.read(MOST_BYTES)
    except FileNotFoundError:
        return ""
    return data.decode("utf-8", errors="replace")


@entry
def stop_dnsmasq(network_id: str, segment: int | None = None) -> bool:
    """End the network's dnsmasq; False when it did not run."""
    pid_file = _pid_file(network_id, segment)
    with lock(network_id):
        return daemons.end(HOST, pid_file, _mark(pid_file))


@query
def dnsmasq_pid(network_id: str, segment: int | None = None) -> int | None:
    """The pid of the network's dnsmasq; None when it does not run."""
    pid_file = _pid_file(network_id, segment)
    running = daemons.find(HOST, pid_file, _mark(pid_file))
    return None if running is None else running[0]


def _proxy(network_id: object) -> metadata_proxy.Place:
    """Not under upstream's file names, whose agent removes NETWORK.conf."""
    name, folder = checks.uuid(network_id), configured("proxy_path")
    return metadata_proxy.Place(name, f"qdhcp-{name}", folder / f"{name}.haproxy.cfg", folder / f"{name}.haproxy.pid")


@entry
def start_metadata_proxy(network_id: str, ipv6: bool, timeouts: dict[str, int], limits: dict[str, int] | None) -> str:
    """Serve metadata in the network's jail. "started", "restarted" (other settings) or "running"."""
    return metadata_proxy.ensure(
        _proxy(network_id), router=False, ipv6=checks.flag(ipv6, "ipv6"), timeouts=timeouts, limits=limits
    )


@entry
def stop_metadata_proxy(network_id: str) -> bool:
    """End the network's metadata proxy; False when it did not run."""
    return metadata_proxy.end(_proxy(network_id))


@query
def metadata_proxy_pid(network_id: str) -> int | None:
    """The pid of the network's metadata proxy; None when it does not run."""
    return metadata_proxy.pid(_proxy(network_id))
