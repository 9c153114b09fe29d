"""Owns the table of programs: FreeBSD's name -> the function that answers."""

from collections.abc import Awaitable, Callable

from beastack.sim.programs import (
    arp,
    devfs,
    drvspec,
    filters,
    ifconfig,
    jail,
    jls,
    kld,
    netstat,
    openvswitch,
    pci,
    processes,
    rctl,
    route,
    sysctl,
    system,
    taps,
    wrapped,
)
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
    "drvspec": drvspec.run,
    "beastack-vxlan-fdb": drvspec.fdb,
    "pgrep": processes.grep,
    "pkill": processes.grep,
    "sockstat": processes.sockstat,
    "tcpdump": wrapped.become,
    "nc": wrapped.become,
    "jot": wrapped.jot,
    "rctl": rctl.run,
    "pciconf": pci.pciconf,
    "devfs": devfs.run,
    "mount": devfs.mount,
    "pfctl": filters.pfctl,
    "ngctl": filters.ngctl,
    "ovs-vswitchd": openvswitch.vswitchd,
    "@ping": taps.hello,
    "@tap-open": taps.tap_open,
    "@ppt-assign": pci.assign,
}

# Programs that run wholly on the caller's side: the script in client/
CLIENT_SIDE = {"daemon": "daemon", "dd": "dd", "ping": "ping", "ping6": "ping", "time": "timed"}
# and those that are modules below beastack.sim
LAUNCHED = {
    "bhyve": "bhyve.main",
    "bhyvectl": "bhyve.bhyvectl",
    "bhyveload": "bhyve.load",
    "mdconfig": "mdconfig",
    "service": "openvswitch.service",
    "zfs": "zfs.main",
    "zpool": "zfs.pool",
}


def installed() -> list[str]:
    """The names that DIR/bin offers."""
    return sorted([*(name for name in PROGRAMS if not name.startswith("@")), *CLIENT_SIDE, *LAUNCHED])
