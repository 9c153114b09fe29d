"""The metadata proxy (haproxy) of a jail: what a network's and a router's have in common.

It outlives the agent. Starting is ensuring: what runs with the same settings stays as it is.
"""

from pathlib import Path
from typing import NamedTuple

from oslo_config import cfg

from beastack.freebsd import daemons
from beastack.freebsd.host import LocalHost
from beastack.privsep import conf, handed, haproxy
from beastack.privsep.places import START_LIMIT, configured, lock, own_folder, socket_owner, syslog

HOST = LocalHost()


class Place(NamedTuple):
    """Whose proxy it is, in which jail it runs, and its files; ``owner`` is a checked UUID."""

    owner: str
    jail: str
    config: Path
    pid_file: Path

    @property
    def mark(self) -> str:
        """The words of the command line by which the daemon is known."""
        return f"haproxy -f {self.config}"


def ensure(place: Place, *, router: bool, ipv6: bool, timeouts: dict[str, int], limits: dict[str, int] | None) -> str:
    """Serve metadata there. "started", "restarted" (other settings) or "running". Raises Refused, HostError."""
    socket = configured("metadata_socket")
    text = haproxy.Proxy(
        owner=place.owner,
        router=router,
        ipv6=ipv6,
        timeouts=haproxy.numbers(timeouts, haproxy.TIMEOUTS, "timeouts"),
        limits=None if limits is None else haproxy.numbers(limits, haproxy.LIMITS, "limits"),
        socket=socket,
        pid_file=place.pid_file,
        user=conf.register(cfg.CONF).proxy_user or socket_owner(socket),
        log=syslog(),
    ).config()
    with lock(place.owner):
        own_folder()
        running = daemons.find(HOST, place.pid_file, place.mark)
        if running is not None and place.config.exists() and place.config.read_text() == text:
            return "running"
        daemons.end(HOST, place.pid_file, place.mark)
        handed.write(place.config, text.encode(), 0o600)
        HOST.jail(place.jail).run(["haproxy", "-f", str(place.config)], timeout=START_LIMIT)
        return "started" if running is None else "restarted"


def end(place: Place) -> bool:
    """End it and forget its settings; False when it did not run."""
    with lock(place.owner):
        ran = daemons.end(HOST, place.pid_file, place.mark)
        place.config.unlink(missing_ok=True)
        return ran


def pid(place: Place) -> int | None:
    """Its pid; None when it does not run."""
    running = daemons.find(HOST, place.pid_file, place.mark)
    return None if running is None else running[0]
