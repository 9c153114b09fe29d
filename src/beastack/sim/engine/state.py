"""Owns the host's state: its network stacks, jails and interfaces, and every change of them."""

import asyncio
import hashlib
import ipaddress
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from beastack.sim.engine.captures import Captures
from beastack.sim.engine.devfs import Devfs
from beastack.sim.engine.filters import Filters
from beastack.sim.engine.jails import Jail
from beastack.sim.engine.pci import Pci
from beastack.sim.engine.racct import Racct
from beastack.sim.engine.stack import Stacks
from beastack.sim.engine.sysctls import Sysctls
from beastack.sim.engine.taps import Taps
from beastack.sim.engine.tunnels import Tunnels
from beastack.sim.engine.vnet import Vnet
from beastack.sim.engine.wire import Wire
from beastack.sim.linux.namespaces import CLONE_NEWNET, CLONE_NEWUTS, inside, new_namespace, sethostname
from beastack.sim.net import vlan as vlans
from beastack.sim.net.bridge import Bridge
from beastack.sim.net.interface import (
    MTUS,
    ND6_AUTO_LINKLOCAL,
    ND6_IFDISABLED,
    POINT_TO_POINT,
    TRAITS,
    Inet6,
    Interface,
    Kind,
)
from beastack.sim.net.offload import NO_OFFLOAD
from beastack.sim.net.vlan import Vlan
from beastack.sim.net.vxlan import Vxlan
from beastack.sim.openvswitch.relay import Relay

# How long devd(8) takes to configure an interface that it finds under its first name
DEVD_DELAY = 0.2
# Duplicate address detection of an IPv6 address
TENTATIVE = 1.0
# A tap's node must not be mistaken for a device that works: no driver has this major number
_TAP_MAJOR = 60


class State:
    """Everything the programs act on. `watch`/`unwatch` register a descriptor with the event loop."""

    def __init__(
        self,
        name: str,
        directory: str,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self.name = name
        self.directory = directory
        self.watch, self.unwatch, self._call_later = watch, unwatch, call_later
        self.uts = os.open("/proc/self/ns/uts", os.O_RDONLY | os.O_CLOEXEC)
        netns = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._identity = hashlib.sha256(f"{directory}/{name}".encode()).hexdigest()
        uuid = self._identity
        self.sysctls = Sysctls(
            f"{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:32]}",
            lambda vnet: vnet.jail.hostname if vnet.jail else self.hostname,
        )
        self.hostname = name
        self.racct = Racct()
        self.devfs = Devfs()
        self.pci = Pci()
        self.filters = Filters(self.sysctls)
        self.wire = Wire(self.filters, unwatch)
        self.stacks = Stacks(lambda interface, fd: watch(fd, lambda: self.wire.read_stack(interface, fd)), unwatch)
        self.taps = Taps(watch, unwatch, self.wire.read_guest, self._tap_closed)
        self.captures = Captures(watch, unwatch, self.wire.read_capture, self.stacks.sync)
        self.tunnels = Tunnels(watch, unwatch, lambda one, frame: self.wire.arrive(one, frame, NO_OFFLOAD))
        self.wire.tunnels = self.tunnels
        self.sysctls.dynamic = self._vxlan_sysctls
        self.host = Vnet(netns, netns)
        self.jails: dict[str, Jail] = {}
        # by the database's socket: what stands between it and the switch
        self.relays: dict[str, Relay] = {}
        self.last_jid = 0
        self.tap_closing: dict[Interface, asyncio.Event] = {}

    # --- looking -----------------------------------------------------------------------------------------------------

    def vnets(self) -> Iterator[Vnet]:
        yield self.host
        for jail in self.jails.values():
            if jail.vnet is not None:
                yield jail.vnet

    def interfaces(self) -> Iterator[Interface]:
        for vnet in self.vnets():
            yield from vnet.interfaces

    def vnet_of(self, pid: int) -> Vnet:
        """The network stack of a caller; one from outside the host's PID namespace (0) is the host's."""
        if pid == 0:
            return self.host
        inode = Path(f"/proc/{pid}/ns/net").stat().st_ino
        return next((vnet for vnet in self.vnets() if vnet.inode == inode), self.host)

    def jail_of(self, pid: int) -> Jail | None:
        if pid == 0:
            return None
        inode = Path(f"/proc/{pid}/ns/uts").stat().st_ino
        return next((jail for jail in self.jails.values() if jail.uts_inode == inode), None)

    def find_jail(self, key: str) -> Jail | None:
        """By name or by number."""
        if key in self.jails:
            return self.jails[key]
        return next((jail for jail in self.jails.values() if str(jail.jid) == key), None)

    # --- making and removing interfaces ------------------------------------------------------------------------------

    def free_index(self) -> int:
        used = {interface.index for interface in self.interfaces()}
        return next(index for index in range(1, 65536) if index not in used)

    def free_unit(self, kind: Kind, vnet: Vnet) -> int:
        used = {interface.unit for interface in self.interfaces() if interface.kind is kind}
        names = {interface.name for interface in vnet.interfaces}
        return next(unit for unit in range(32768) if unit not in used and f"{kind.value}{unit}" not in names)

    def mac_for(self, device: str) -> bytes:
        digest = hashlib.sha256(f"{self._identity}/{device}".encode()).digest()
        return bytes.fromhex("589cfc10") + digest[:2]

    def make(self, kind: Kind, unit: int, device: str, vnet: Vnet) -> Interface:
        traits = TRAITS[kind]
        mac = None if kind is Kind.LOOPBACK or kind in POINT_TO_POINT else self.mac_for(device)
        interface = Interface(
            name=device,
            kind=kind,
            unit=unit,
            device=device,
            index=self.free_index(),
            vnet=vnet,
            home=vnet,
            mac=mac,
            hardware_mac=mac,
            mtu=MTUS.get(kind, 1500),
            groups=list(traits.groups),
            nd6=traits.nd6,
        )
        vnet.interfaces.append(interface)
        self.filters.interfaces_changed(vnet)
        return interface

    def create(self, kind: Kind, unit: int | None, vnet: Vnet, device: str | None = None) -> Interface:
        """What `ifconfig KIND[UNIT] create` makes; of an epair its `a` half. `device`: a name without a unit."""
        if device is not None:
            number = -1
        else:
            number = self.free_unit(kind, vnet) if unit is None else unit
        if kind is not Kind.TAP:
            self.sysctls.modules.add(f"if_{kind.value}")  # ifconfig loads what it needs
        if kind is Kind.EPAIR:
            a = self.make(kind, number, f"epair{number}a", vnet)
            b = self.make(kind, number, f"epair{number}b", vnet)
            a.peer, b.peer = b, a
            made = [a, b]
        else:
            interface = self.make(kind, number, device or f"{kind.value}{number}", vnet)
            if kind is Kind.BRIDGE:
                interface.bridge = Bridge(interface)
            elif kind is Kind.TAP:
                self._tap_node(interface)
            elif kind is Kind.VXLAN:
                interface.vxlan = Vxlan()
            elif kind is Kind.VLAN:
                interface.vlan, interface.mac, interface.hardware_mac = Vlan(), bytes(6), bytes(6)
            made = [interface]
        for one in made:
            self.captures.sync(one)
            self.stacks.sync(one)
            if kind is not Kind.BRIDGE:
                self._call_later(DEVD_DELAY, lambda one=one: self._devd(one))  # type: ignore[misc]
        return made[0]

    def destroy(self, interface: Interface) -> None:
        halves = [interface] if interface.peer is None else [interface, interface.peer]
        for one in halves:
            self.tunnels.stop(one)
            self._detach(one)
            vlans.leave(one)
            self.stacks.drop(one)
            if one.kind is Kind.TAP:
                self._remove_tap_nodes(one)

    def _detach(self, interface: Interface) -> None:
        """Take an interface out of its bridge, its routes and its stack's list."""
        if interface.bridge is not None:
            for member in list(interface.bridge.members):
                self.remove_member(interface.bridge, member.interface)
        if interface.member_of is not None:
            self.remove_member(interface.member_of, interface)
        for child in list(interface.children):
            vlans.leave(child)
            self.stacks.sync(child)
        vnet = interface.vnet
        vnet.routes = [route for route in vnet.routes if route.interface is not interface]
        vnet.interfaces.remove(interface)
        self.captures.drop(interface)
        if vnet.netgraph is not None:
            vnet.netgraph.interface_gone(interface.name)
        self.filters.interfaces_changed(vnet)

    # --- changing interfaces -----------------------------------------------------------------------------------------

    def changed(self, interface: Interface) -> None:
        """After any change of the model: link-local addresses, the bridge's memory of being up, the Linux device."""
        self.filters.interfaces_changed(interface.vnet)
        if interface.bridge is not None and interface.administratively_up:
            interface.bridge.was_up = True
        if (
            interface.administratively_up
            and interface.kind is not Kind.LOOPBACK
            and interface.ipv6_enabled
            and interface.nd6 & ND6_AUTO_LINKLOCAL
            and not any(own.address.is_link_local for own in interface.inet6)
        ):
            interface.inet6.append(
                Inet6(interface.link_local(), 64, automatic=True, tentative_until=time.monotonic() + TENTATIVE)
            )
        if interface.kind is Kind.LOOPBACK and interface.administratively_up and not interface.inet6:
            interface.inet6 = [
                Inet6(ipaddress.IPv6Address("::1"), 128, automatic=True),
                Inet6(ipaddress.IPv6Address("fe80::1"), 64, automatic=True),
            ]
        self.captures.sync(interface)
        self.stacks.sync(interface)
        self.tunnels.sync(interface)

    def follow(self, parent: Interface, mac: bytes | None = None) -> None:
        """The children of an interface whose MTU or address changes: none is larger, those with its address keep it."""
        for child in parent.children:
            child.mtu = min(child.mtu, vlans.largest(parent))
            if mac is not None and child.mac == parent.mac:
                child.mac = child.hardware_mac = mac
            self.follow(child, mac)
            self.changed(child)

    def rename(self, interface: Interface, name: str) -> None:
        old = interface.name
        interface.name = name
        if interface.vnet.netgraph is not None:
            interface.vnet.netgraph.rename(old, name)
        self.filters.interfaces_changed(interface.vnet)
        self.captures.sync(interface)
        self.stacks.sync(interface)
        if interface.kind is Kind.TAP:
            if old != interface.device:
                Path("/dev", old).unlink(missing_ok=True)
            if name != interface.device:
                Path("/dev", name).unlink(missing_ok=True)
                Path("/dev", name).symlink_to(interface.device)

    def move(self, interface: Interface, vnet: Vnet) -> None:
        """Into another network stack: down, without addresses, out of its bridge, last in the list."""
        self._detach(interface)
        self.stacks.drop(interface)
        interface.administratively_up = False
        interface.inet, interface.inet6 = [], []
        interface.nd6 = TRAITS[interface.kind].nd6
        interface.groups = list(TRAITS[interface.kind].groups)
        # when a jail ends, a name may come home that is taken there: then there are two of it (08)
        interface.vnet = vnet
        vnet.interfaces.append(interface)
        self.changed(interface)

    def add_member(self, bridge: Bridge, interface: Interface) -> None:
        if not bridge.members:
            bridge.interface.mtu = interface.mtu
        else:
            interface.mtu = bridge.interface.mtu
        bridge.add(interface)
        interface.member_of = bridge
        self.changed(interface)
        self.changed(bridge.interface)

    def remove_member(self, bridge: Bridge, interface: Interface) -> None:
        member = bridge.member(interface)
        if member is not None:
            bridge.remove(member)
        interface.member_of = None

    def _devd(self, interface: Interface) -> None:
        """devd(8) runs pccard_ether for a new interface; it looks for the first name, in the host's stack."""
        if interface.name == interface.device and interface.vnet is self.host and interface in self.host.interfaces:
            interface.nd6 &= ~ND6_IFDISABLED
            self.changed(interface)

    def _vxlan_sysctls(self) -> dict[str, str]:
        """net.link.vxlan: the newest interface first, as the kernel walks its tree."""
        if "if_vxlan" not in self.sysctls.modules:
            return {}
        found = sorted((one for one in self.interfaces() if one.vxlan is not None), key=lambda one: -one.unit)
        values: dict[str, str] = {}
        for one in found:
            assert one.vxlan is not None  # noqa: S101 - chosen so
            head = f"net.link.vxlan.{one.unit}"
            for name in ("rxcsum", "tso", "txcsum", "ftable_lock_upgrade_failed", "ftable_nospace"):
                values[f"{head}.stats.{name}"] = "0"
            values[f"{head}.ftable.timeout"] = str(one.vxlan.timeout)
            values[f"{head}.ftable.max"] = str(one.vxlan.max_entries)
            values[f"{head}.ftable.count"] = str(len(one.vxlan.table))
        return {
            **values,
            "net.link.vxlan.max_nesting": "3",
            "net.link.vxlan.reuse_port": "0",
            "net.link.vxlan.legacy_port": "0",
        }

    def _tap_closed(self, interface: Interface) -> None:
        interface.administratively_up = False
        interface.inet, interface.inet6 = [], []
        self.changed(interface)
        event = self.tap_closing.pop(interface, None)
        if event is not None:
            event.set()

    def _tap_node(self, interface: Interface) -> None:
        path = Path("/dev", interface.device)
        path.unlink(missing_ok=True)
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(_TAP_MAJOR, interface.unit & 0xFF))

    def _remove_tap_nodes(self, interface: Interface) -> None:
        Path("/dev", interface.device).unlink(missing_ok=True)
        if interface.name != interface.device:
            Path("/dev", interface.name).unlink(missing_ok=True)

    # --- jails -------------------------------------------------------------------------------------------------------

    def create_jail(self, name: str, path: str, hostname: str, vnet: bool) -> Jail:
        uts = new_namespace(CLONE_NEWUTS, "/proc/self/ns/uts", hostname)
        jail = Jail(self.last_jid + 1, name, path, hostname, uts, None)
        if vnet:
            netns = new_namespace(CLONE_NEWNET, "/proc/self/ns/net")
            jail.vnet = Vnet(netns, self.host.netns, jail)
            loopback = self.make(Kind.LOOPBACK, 0, "lo0", jail.vnet)
            self.stacks.adopt(loopback, "lo")
            self.stacks.sync(loopback)
        self.last_jid = jail.jid
        self.jails[name] = jail
        return jail

    def forget_jail(self, jail: Jail) -> None:
        """After its processes have ended: interfaces go home, the namespaces go away."""
        vnet = jail.vnet
        if vnet is not None:
            for interface in list(vnet.interfaces):
                if interface not in vnet.interfaces or interface.kind is Kind.LOOPBACK:
                    continue
                if interface.home is vnet:
                    self.destroy(interface)
                else:
                    self.move(interface, interface.home)
            vnet.close()
        del self.jails[jail.name]
        os.close(jail.uts)

    def set_hostname(self, jail: Jail | None, hostname: str) -> None:
        if jail is None:
            sethostname(hostname)
            self.hostname = hostname
            return
        with inside(jail.uts, CLONE_NEWUTS, self.uts):
            sethostname(hostname)
        jail.hostname = hostname
