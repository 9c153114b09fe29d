"""Making, marking and removing interfaces with ifconfig(8): epair(4), tap(4), bridge(4).

Whatever is made here carries the group ``beastack`` and a description ``beastack:KIND:ID``; whatever does not carry
the group is never destroyed (``NotOurs``). Every function may be called again: what is there already is left as it is,
what is gone already counts as removed.
"""

from contextlib import suppress
from typing import Literal

from beastack.freebsd import clone
from beastack.freebsd.clone import GROUP as GROUP
from beastack.freebsd.clone import find as find
from beastack.freebsd.errors import AlreadyMember, HostError, NoSuchInterface, NotAMember
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_read import Interface, get_interface

Capability = Literal["txcsum", "txcsum6", "lro"]


def require_ours(host: Host, name: str) -> Interface:
    """The interface when it carries our mark; raises NotOurs, NoSuchInterface."""
    interface = get_interface(host, name)
    clone.require_mark(interface)
    return interface


def ensure_bridge(host: Host, name: str, description: str) -> None:
    """A bridge that is up."""
    with clone.making(host, "bridge", name, description) as interface:
        if not interface.is_up:
            host.run(["ifconfig", name, "up"])


def ensure_tap(host: Host, name: str, description: str, mtu: int) -> None:
    """A tap, up, with ``mtu`` bytes unless it is a bridge member already (the bridge rules its MTU then)."""
    with clone.making(host, "tap", name, description, ("description", description)) as interface:
        if interface.mtu != mtu and bridge_of(host, name) is None:
            host.run(["ifconfig", name, "mtu", str(mtu)])
        if not interface.is_up:
            host.run(["ifconfig", name, "up"])


def ensure_epair(host: Host, name: str, description: str) -> str | None:
    """An epair whose ``a`` half is ``name``; returns the ``b`` half's name when it was made just now, else None.

    The other half of an existing pair may be anywhere (in a jail, under another name): the caller who needs it
    destroys the pair and asks again.
    """
    interface = find(host, name)
    if interface is not None:
        clone.require_mark(interface)
        if interface.description != description:
            host.run(["ifconfig", name, "description", description])
        return None
    made = clone.create(host, "epair")
    try:
        host.run(["ifconfig", made, "description", description])
    except HostError:
        with suppress(HostError):  # the first error is the one to tell
            clone.discard(host, made)
        raise
    clone.finish(host, made, name)
    return made[:-1] + "b"


def destroy(host: Host, name: str) -> None:
    """Destroy an interface of ours; one that is gone is fine, one that is not ours raises NotOurs."""
    interface = find(host, name)
    if interface is None:
        return
    clone.require_mark(interface)
    clone.discard(host, name)


def bridge_of(host: Host, member: str) -> str | None:
    """The bridge that ``member`` is in, or None."""
    for bridge in host.run(["ifconfig", "-g", "bridge"]).out.split():
        found = find(host, bridge)
        if found and member in found.members:
            return bridge
    return None


def attach_member(host: Host, bridge: str, interface: str) -> None:
    """Make ``interface`` a member of ``bridge``; raises DeviceBusy when it is in another one."""
    with suppress(AlreadyMember):
        host.run(["ifconfig", bridge, "addm", interface])


def detach_member(host: Host, bridge: str, interface: str) -> None:
    """Take ``interface`` out of ``bridge``; either may be gone already."""
    with suppress(NotAMember, NoSuchInterface):
        host.run(["ifconfig", bridge, "deletem", interface])


def set_up(host: Host, name: str) -> None:
    """Bring an interface up."""
    host.run(["ifconfig", name, "up"])


def set_down(host: Host, name: str) -> None:
    """Take an interface down: it neither sends nor receives."""
    host.run(["ifconfig", name, "down"])


def set_mtu(host: Host, name: str, mtu: int) -> None:
    """Set an interface's MTU, bytes; of a bridge member it cannot be set alone (02)."""
    if get_interface(host, name).mtu != mtu:
        host.run(["ifconfig", name, "mtu", str(mtu)])


def turn_off(host: Host, name: str, *capabilities: Capability) -> None:
    """Turn off what an interface's driver would do for the host (offloads); one that it cannot do makes no difference.

    Both ends of an epair(4) keep the same: what is turned off at one is at the other, in another jail too.
    """
    host.run(["ifconfig", name, *(f"-{one}" for one in capabilities)])


def set_mac(host: Host, name: str, mac: str) -> None:
    """Set an interface's Ethernet address."""
    if get_interface(host, name).mac != mac:
        host.run(["ifconfig", name, "ether", mac])


def rename(host: Host, old: str, new: str) -> None:
    """Rename an interface; when ``new`` is there and ``old`` is gone it was renamed before."""
    try:
        host.run(["ifconfig", old, "name", new])
    except NoSuchInterface:
        if find(host, new) is None:
            raise


def add_address(host: Host, name: str, cidr: str) -> None:
    """Add an IPv4 or IPv6 address, ``address/length``; adding one that is there changes nothing (01)."""
    family = "inet6" if ":" in cidr else "inet"
    host.run(["ifconfig", name, family, cidr, "alias"])


def remove_address(host: Host, name: str, cidr: str) -> None:
    """Remove an address when the interface has it."""
    interface = find(host, name)
    family = "inet6" if ":" in cidr else "inet"
    if interface is not None and cidr in (interface.inet6 if family == "inet6" else interface.inet):
        host.run(["ifconfig", name, family, cidr.partition("/")[0], "-alias"])


def move_to_jail(host: Host, name: str, jail: str) -> None:
    """Give an interface to a vnet jail. Raises NoSuchInterface, NoSuchJail."""
    host.run(["ifconfig", name, "vnet", jail])


def return_from_jail(host: Host, name: str, jail: str) -> None:
    """Take an interface back from a vnet jail."""
    host.run(["ifconfig", name, "-vnet", jail])
