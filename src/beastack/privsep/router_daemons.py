"""Entry points for what runs in a router's jail: the metadata proxy (haproxy) and the advertiser of IPv6 (radvd).

Both outlive the agent. Starting is ensuring: what runs with the same settings stays as it is.
"""

from pathlib import Path

from oslo_config import cfg

from beastack.freebsd import daemons
from beastack.freebsd.host import LocalHost
from beastack.privsep import checks, conf, handed, metadata_proxy, radvd
from beastack.privsep.context import entry, query
from beastack.privsep.places import START_LIMIT, configured, lock, own_folder
from beastack.privsep.routers import INNER, MOST_RULES, jail_name, port_name

HOST = LocalHost()


def _files(router_id: object, program: str, ending: str) -> tuple[Path, Path, str]:
    """Configuration, pid file, and the words of the command line by which the daemon is known."""
    name, folder = checks.uuid(router_id), configured("proxy_path")
    config = folder / f"{name}.router.{program}.{ending}"
    return config, folder / f"{name}.router.{program}.pid", str(config)


def _proxy(router_id: object) -> metadata_proxy.Place:
    config, pid_file, _ = _files(router_id, "haproxy", "cfg")
    return metadata_proxy.Place(checks.uuid(router_id), jail_name(router_id), config, pid_file)


def _advertiser(router_id: object) -> tuple[Path, Path, str]:
    config, pid_file, words = _files(router_id, "radvd", "conf")
    return config, pid_file, f"radvd -C {words}"


@entry
def start_router_proxy(router_id: str, timeouts: dict[str, int], limits: dict[str, int] | None) -> str:
    """Serve metadata in the router's jail, on 127.0.0.1. "started", "restarted" (other settings) or "running"."""
    return metadata_proxy.ensure(_proxy(router_id), router=True, ipv6=False, timeouts=timeouts, limits=limits)


@entry
def stop_router_proxy(router_id: str) -> bool:
    """End the router's metadata proxy; False when it did not run."""
    return metadata_proxy.end(_proxy(router_id))


@query
def router_proxy_pid(router_id: str) -> int | None:
    """The pid of the router's metadata proxy; None when it does not run."""
    return metadata_proxy.pid(_proxy(router_id))


@entry
def start_advertiser(router_id: str, adverts: list[dict[str, object]], least_seconds: int, most_seconds: int) -> str:
    """Let radvd advertise the router. "started", "reloaded" (other settings) or "running"."""
    config, pid_file, mark = _advertiser(router_id)
    least, most = radvd.intervals(least_seconds, most_seconds)
    found = []
    for given in checks.items(adverts, MOST_RULES, "advertisements"):
        name = given.get("interface") if isinstance(given, dict) else None
        found.append(radvd.Advert.check(given, port_name(name, INNER)))
    text = radvd.config(found, least, most)
    user = conf.register(cfg.CONF).radvd_user
    argv = ["radvd", "-C", str(config), "-p", str(pid_file), "-m", "syslog", "-u", user]
    with lock(router_id):
        own_folder()
        running = daemons.find(HOST, pid_file, mark)
        # it is there from before the file is written until radvd was told to read it
        pending = config.with_suffix(".pending")
        if running is not None and not pending.exists() and config.exists() and config.read_text() == text:
            return "running"
        pending.touch()
        # radvd reads it again as the user that it became
        handed.write(config, text.encode(), 0o444)
        told = running is not None and daemons.hang_up(running[0])
        if not told:
            daemons.end(HOST, pid_file, mark)
            HOST.jail(jail_name(router_id)).run(argv, timeout=START_LIMIT)
        pending.unlink(missing_ok=True)
        return "reloaded" if told else "started"


@entry
def stop_advertiser(router_id: str) -> bool:
    """End the router's advertiser; False when it did not run."""
    config, pid_file, mark = _advertiser(router_id)
    with lock(router_id):
        ran = daemons.end(HOST, pid_file, mark)
        for file in (config, config.with_suffix(".pending")):
            file.unlink(missing_ok=True)
        return ran


@query
def advertiser_pid(router_id: str) -> int | None:
    """The pid of the router's advertiser; None when it does not run."""
    _, pid_file, mark = _advertiser(router_id)
    running = daemons.find(HOST, pid_file, mark)
    return None if running is None else running[0]
