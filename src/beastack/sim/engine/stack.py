"""Owns the Linux device that stands for an interface where an IP stack is needed: makes it, and keeps it equal to
the model."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from beastack.sim.engine.vnet import Vnet
from beastack.sim.linux.namespaces import CLONE_NEWNET, inside
from beastack.sim.linux.tuntap import open_tap
from beastack.sim.net.errors import Failed
from beastack.sim.net.interface import POINT_TO_POINT, Inet, Inet6, Interface, Kind

KERNEL_KINDS = (Kind.LOOPBACK, Kind.VTNET)


@dataclass(eq=False)
class Stack:
    """The device, and what of the model it already has. `fd` is None for the kernel's own (lo0, vtnet0)."""

    index: int
    fd: int | None
    mac: bytes | None = None
    mtu: int = 0
    up: bool = False
    ipv6: bool = False
    name: str = ""
    inet: list[Inet] = field(default_factory=list)
    inet6: list[Inet6] = field(default_factory=list)


def needed(interface: Interface) -> bool:
    if interface.kind in POINT_TO_POINT:
        if interface.inet or any(not own.automatic for own in interface.inet6):
            raise Failed(f"ifconfig: {interface.name}: not simulated: IP through {interface.kind.value}")
        return False
    if interface.kind in KERNEL_KINDS or interface.vnet.jail is not None:
        return True
    if interface.captured:
        return True  # it is promiscuous: the host takes in what a guest sends it
    return bool(interface.inet) or any(not own.automatic for own in interface.inet6)


class Stacks:
    """Makes and updates the devices; `on_frames` is told of a device that has frames to read."""

    def __init__(
        self,
        watch: Callable[[Interface, int], None],
        unwatch: Callable[[int], None],
    ) -> None:
        self._watch = watch
        self._unwatch = unwatch

    def adopt(self, interface: Interface, linux_name: str) -> None:
        """Take over a device that the kernel made (loopback, veth)."""
        netlink = interface.vnet.netlink
        index = netlink.link_index(linux_name)
        if linux_name != interface.name:
            netlink.link_set(index, name=interface.name)
        interface.stack = Stack(index, None, name=interface.name)

    def sync(self, interface: Interface) -> None:
        """Bring the device in line with the model, with as few requests as that takes."""
        _tell_bridges(interface)
        if not needed(interface):
            self.drop(interface)
            return
        if interface.stack is None:
            self._create(interface)
        stack = interface.stack
        assert stack is not None  # noqa: S101 - _create just made it
        try:
            self._update(interface, stack)
        except OSError as error:
            raise Failed(f"ifconfig: {interface.name}: not simulated: Linux refuses this: {error.strerror}") from error

    def drop(self, interface: Interface) -> None:
        _tell_bridges(interface)
        stack = interface.stack
        if stack is None or stack.fd is None:
            return
        self._unwatch(stack.fd)
        os.close(stack.fd)
        interface.stack = None

    def _create(self, interface: Interface) -> None:
        vnet = interface.vnet
        with inside(vnet.netns, CLONE_NEWNET, vnet.home):
            fd = open_tap(interface.linux_name, offload=True)
        index = vnet.netlink.link_index(interface.linux_name)
        interface.stack = Stack(index, fd, name=interface.linux_name)
        self._watch(interface, fd)

    def _update(self, interface: Interface, stack: Stack) -> None:
        vnet, netlink = interface.vnet, interface.vnet.netlink
        if stack.name != interface.linux_name:
            self._rename(interface, stack)
        # a vlan without a parent has no address yet; Linux refuses one of zeros
        if stack.fd is not None and interface.mac and any(interface.mac) and stack.mac != interface.mac:
            netlink.link_set(stack.index, mac=interface.mac)
            stack.mac = interface.mac
        if stack.mtu != interface.mtu and interface.kind is not Kind.LOOPBACK:
            netlink.link_set(stack.index, mtu=interface.mtu)
            stack.mtu = interface.mtu
        if stack.ipv6 != interface.ipv6_enabled and vnet.has_ipv6:
            value = "0" if interface.ipv6_enabled else "1"
            vnet.write(f"net/ipv6/conf/{interface.linux_name}/disable_ipv6", value)
            stack.ipv6 = interface.ipv6_enabled
            if not stack.ipv6:
                stack.inet6 = []
        came_up = interface.administratively_up and not stack.up
        if stack.up != interface.administratively_up:
            netlink.link_set(stack.index, up=interface.administratively_up)
            stack.up = interface.administratively_up
            stack.inet6 = []  # Linux forgets IPv6 addresses of an interface that goes down
        self._addresses(interface, stack)
        if came_up:
            self.restore_routes(vnet)

    def _rename(self, interface: Interface, stack: Stack) -> None:
        netlink = interface.vnet.netlink
        try:
            netlink.link_set(stack.index, name=interface.linux_name)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            # kernels before 6.2 rename only what is down
            netlink.link_set(stack.index, up=False)
            netlink.link_set(stack.index, name=interface.linux_name)
            stack.up = False
        stack.name = interface.linux_name

    def _addresses(self, interface: Interface, stack: Stack) -> None:
        netlink = interface.vnet.netlink
        for gone in [own for own in stack.inet if own not in interface.inet]:
            _tolerating(errno.EADDRNOTAVAIL, netlink.address_remove, stack.index, gone.address, gone.prefix)
        for new in [own for own in interface.inet if own not in stack.inet]:
            netlink.address_add(stack.index, new.address, new.prefix, new.broadcast)
        stack.inet = list(interface.inet)
        wanted = interface.inet6 if interface.administratively_up and interface.ipv6_enabled else []
        for gone6 in [own for own in stack.inet6 if own not in wanted]:
            _tolerating(errno.EADDRNOTAVAIL, netlink.address_remove, stack.index, gone6.address, gone6.prefix)
        for new6 in [own for own in wanted if own not in stack.inet6]:
            netlink.address_add(stack.index, new6.address, new6.prefix, None)
        stack.inet6 = list(wanted)

    @staticmethod
    def restore_routes(vnet: Vnet) -> None:
        """Linux drops the routes of an interface that goes down; FreeBSD's static routes outlive that."""
        for route in vnet.routes:
            stack = route.interface.stack
            if stack is not None and stack.up:
                # a route whose gateway is not reachable yet comes with a later change
                _tolerating(errno.ENETUNREACH, vnet.netlink.route_add, route.network, route.gateway, stack.index)


def _tell_bridges(interface: Interface) -> None:
    """Whose frames end on this host may be about to change; nothing is forwarded before it has."""
    for bridge in (interface.bridge, interface.member_of):
        if bridge is not None:
            bridge.forget_own()


def _tolerating(number: int, call: Callable[..., None], *arguments: object) -> None:
    try:
        call(*arguments)
    except OSError as error:
        if error.errno not in (number, errno.EHOSTUNREACH):
            raise
