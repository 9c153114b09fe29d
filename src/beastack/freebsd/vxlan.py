"""vxlan(4) tunnels: tenant networks between hosts (ifconfig(8), if_vxlan.h; shared/freebsd/15.1/07).

Frames to unknown and to all addresses go to one destination: a multicast group, or one host. Entries of the forwarding
table are set by ioctl only (``vxlan_ioctl``, started as a program so that it runs where the tunnel is). The tunnel that
needs no multicast: ``remote`` is the host's own address with another port, learning is off, every peer is a static
entry, and a process of ours floods what arrives on that port.
"""

import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from beastack.freebsd import clone
from beastack.freebsd.errors import EntryExists, HostError, NoSuchEntry
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_lines import MAX_VNI, Vxlan

PORT = 4789
# Where the process that floods receives (beastack.neutron.replicator).
FLOOD_PORT = 14789
# The program of vxlan_ioctl.py, on the host's PATH.
PROGRAM = "beastack-vxlan-fdb"


@dataclass(frozen=True)
class Spec:
    """A tunnel as it should be. ``device`` is where a multicast group is joined; ports are UDP's."""

    vni: int
    local: str
    remote: str
    device: str | None = None
    local_port: int = PORT
    remote_port: int = PORT
    learn: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError: ifconfig(8) would refuse it, or mean something else (host names, mixed families)."""
        local, remote = ipaddress.ip_address(self.local), ipaddress.ip_address(self.remote)
        if str(local) != self.local or str(remote) != self.remote:
            raise ValueError(f"{self.local}, {self.remote}: not in canonical form")
        if not 0 <= self.vni <= MAX_VNI:
            raise ValueError(f"network identifier {self.vni} is not between 0 and {MAX_VNI}")
        if local.version != remote.version or local.is_multicast or local.is_unspecified or remote.is_unspecified:
            raise ValueError(f"no tunnel from {self.local} to {self.remote}")
        # ifvxlan.c refuses 65535
        if not (0 < self.local_port < 65535 and 0 < self.remote_port < 65535):
            raise ValueError(f"ports {self.local_port}, {self.remote_port}")
        if remote.is_multicast and self.device is None:
            raise ValueError(f"group {self.remote} without the interface on which to join it")

    @property
    def shown(self) -> Vxlan:
        """How ifconfig(8) shows it."""
        return Vxlan(self.vni, self.local, self.local_port, self.remote, self.remote_port)

    def options(self) -> list[str]:
        """The words behind `ifconfig vxlan create`."""
        group = ipaddress.ip_address(self.remote).is_multicast
        words = ["vxlanid", str(self.vni), "vxlanlocal", self.local]
        if self.local_port != PORT:
            words += ["vxlanlocalport", str(self.local_port)]
        words += ["vxlangroup" if group else "vxlanremote", self.remote]
        if self.remote_port != PORT:
            words += ["vxlanremoteport", str(self.remote_port)]
        if group and self.device is not None:
            words += ["vxlandev", self.device]
        if not self.learn:
            words.append("-vxlanlearn")
        return words


class NotRunning(HostError):
    """The tunnel is up and cannot run: another one has its VNI on this address and port (07)."""


def ensure_vxlan(host: Host, name: str, spec: Spec, description: str, mtu: int) -> None:
    """A tunnel, up and running, with ``mtu`` bytes inside; one of ours with other ends is made again.

    Raises NotRunning, NotOurs, NoSuchInterface (the multicast device); a tunnel that cannot run is not left behind.
    """
    found = clone.find(host, name)
    if found is not None and found.vxlan != spec.shown:
        clone.require_mark(found)
        clone.discard(host, name)
    with clone.making(host, "vxlan", name, description, spec.options()) as interface:
        if interface.mtu != mtu:
            host.run(["ifconfig", name, "mtu", str(mtu)])
        if not interface.is_up:
            host.run(["ifconfig", name, "up"])
        now = clone.find(host, name)
        if now is None or now.vxlan != spec.shown or "RUNNING" not in now.flags:
            with suppress(HostError):  # the error that follows is the one to tell
                clone.discard(host, name)
            raise NotRunning(f"{name}: VNI {spec.vni} on {spec.local}:{spec.local_port} does not run; it was removed")


def add_entry(host: Host, name: str, mac: str, peer: str, port: int = PORT) -> None:
    """Send frames for ``mac`` to this host; there already is fine. Raises NoSuchInterface and others.

    An entry for another host stays: remove it first.
    """
    with suppress(EntryExists):
        host.run([PROGRAM, name, "add", mac, peer, str(port)])


def set_entries(host: Host, name: str, wanted: Mapping[str, str | None]) -> None:
    """MAC -> the host that frames for it go to and no other, or None for no entry. One program for all of them.

    Raises NoSuchInterface and others; then some may be set and others not.
    """
    if wanted:
        pairs = [word for mac, peer in wanted.items() for word in (mac, peer or "-")]
        host.run([PROGRAM, name, "set", *pairs])


def remove_entry(host: Host, name: str, mac: str) -> None:
    """Forget where ``mac`` is; gone is fine."""
    with suppress(NoSuchEntry):
        host.run([PROGRAM, name, "del", mac])


def flush(host: Host, name: str, static_too: bool = False) -> None:
    """Forget what was learnt, or everything."""
    host.run(["ifconfig", name, "vxlanflushall" if static_too else "vxlanflush"])
