"""Owns the table of programs: FreeBSD's name -> the function that answers."""

from collections.abc import Awaitable, Callable

from beastack.sim.programs import arp, filters, ifconfig, jail, jls, kld, netstat, ping, route, sysctl, system, taps
from beastack.sim.programs.base import Reply, Request

Program = Callable[[Request], Reply | Awaitable[Reply]]

PROGRAMS: dict[str, Program] = {
    "ifconfig": ifconfig.run,
    "jail": jail.run,
    "jls": jls.run,
    "jexec": jail.jexec,
    "route": route.run,
    "netstat": netstat.run,
    "arp": arp.run,
    "ndp": arp.ndp,
    "sysctl": sysctl.run,
    "kldload": kld.kldload,
    "kldstat": kld.kldstat,
    "kldunload": kld.kldunload,
    "hostname": system.hostname,
    "uname": system.uname,
    "ping": ping.run,
    "ping6": ping.run,
    "pfctl": filters.pfctl,
    "ngctl": filters.ngctl,
    "@ping": taps.hello,
    "@tap-open": taps.tap_open,
}

# Programs that run wholly on the caller's side, as scripts or through a launcher
CLIENT_SIDE = ("daemon", "bhyve", "bhyvectl")


def installed() -> list[str]:
    """The names that DIR/bin offers."""
    return sorted([*(name for name in PROGRAMS if not name.startswith("@")), *CLIENT_SIDE])
