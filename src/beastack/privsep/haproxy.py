"""The configuration of one network's or router's metadata proxy, as neutron renders it (neutron/common/metadata.py,
neutron/agent/metadata/driver.py).

haproxy in the network's jail listens on the metadata address, replaces whatever the guest says about its network by
the truth (X-Neutron-Network-ID), drops X-Neutron-Router-ID, and forwards to the metadata agent's unix socket. In a
router's jail it listens on 127.0.0.1, where pf leads the metadata address, and it is the other way round: the router's
id is set, the network's dropped. The agent finds the instance by network or router and address (X-Forwarded-For) and
signs its id for nova; the guest never holds a secret. Upstream lets a guest's own X-Forwarded-For through beside
haproxy's; here it is dropped, so that a guest cannot name another's address.
"""

from dataclasses import dataclass
from pathlib import Path

from beastack.privsep import checks
from beastack.privsep.checks import Refused

# neutron's [metadata_haproxy] and [metadata_rate_limiting], whole seconds and requests
TIMEOUTS = ("http_request", "connect", "client", "server", "http_keep_alive")
LIMITS = ("base_window_duration", "base_query_rate_limit", "burst_window_duration", "burst_query_rate_limit")
MOST = 86_400
ADDRESS = "169.254.169.254"
PORT = 80
# Where a router's proxy listens; nobody but pf's redirect leads there. Neutron's metadata_port.
ROUTER_ADDRESS = "127.0.0.1"
ROUTER_PORT = 9697

_CONFIG = """\
global
{log}    user        {user}
    maxconn     1024
    nbthread    2
    pidfile     {pid_file}
    daemon

defaults
    log global
    mode http
    option httplog
    option dontlognull
    option http-server-close
    option forwardfor
    retries                 3
    timeout http-request    {http_request}s
    timeout connect         {connect}s
    timeout client          {client}s
    timeout server          {server}s
    timeout http-keep-alive {http_keep_alive}s
{backends}
listen listener
    bind {address}:{port}
{bind6}{limits}    http-request del-header X-Forwarded-For
    http-request del-header X-Neutron-{other}-ID
    http-request set-header X-Neutron-{kind}-ID {owner}
    server metadata {socket}
"""
_BACKENDS = """
backend base_rate_limiter
    stick-table type ip size 10k expire {expire}s store http_req_rate({base_window_duration}s)

backend burst_rate_limiter
    stick-table type ip size 10k expire {expire}s store http_req_rate({burst_window_duration}s)
"""
_LIMITS = """\
    http-request track-sc0 src table base_rate_limiter
    http-request track-sc1 src table burst_rate_limiter
    http-request deny deny_status 429 if {{ src_http_req_rate(base_rate_limiter) gt {base_query_rate_limit} }}
    http-request deny deny_status 429 if {{ src_http_req_rate(burst_rate_limiter) gt {burst_query_rate_limit} }}
"""


def numbers(value: object, names: tuple[str, ...], what: str) -> dict[str, int]:
    """Exactly these names, each with a whole number from 1 to MOST."""
    if not isinstance(value, dict) or set(value) != set(names):
        raise Refused(f"{what}: {', '.join(names)} are wanted")
    return {name: checks.number(value[name], 1, MOST, f"{what}: {name}") for name in names}


@dataclass(frozen=True)
class Proxy:
    """One network's proxy, or a router's. ``owner``: its id; ``limits`` None: no rate limiting.

    ``log``: syslog's socket or None.
    """

    owner: str
    ipv6: bool
    timeouts: dict[str, int]
    limits: dict[str, int] | None
    socket: Path
    pid_file: Path
    user: str
    log: Path | None
    router: bool = False

    def config(self) -> str:
        """The file's text."""
        values = {}
        if self.limits is not None:
            expire = max(self.limits["base_window_duration"], self.limits["burst_window_duration"])
            values = {**self.limits, "expire": expire}
        return _CONFIG.format(
            log=f"    log         {self.log} local0 info\n    log-tag     haproxy-metadata-{self.owner}\n"
            if self.log
            else "",
            user=self.user,
            pid_file=self.pid_file,
            **self.timeouts,
            backends=_BACKENDS.format(**values) if values else "",
            address=ROUTER_ADDRESS if self.router else ADDRESS,
            port=ROUTER_PORT if self.router else PORT,
            # in a stack of its own "any address" is the port's addresses, fe80::a9fe:a9fe among them; upstream's
            # "interface X" is Linux's alone
            bind6=f"    bind :::{PORT} v6only\n" if self.ipv6 else "",
            limits=_LIMITS.format(**values) if values else "",
            owner=self.owner,
            kind="Router" if self.router else "Network",
            other="Network" if self.router else "Router",
            socket=self.socket,
        )
