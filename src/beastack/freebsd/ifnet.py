"""Making, marking and removing interfaces with ifconfig(8): epair(4), tap(4), bridge(4).

Whatever is made here carries the group ``beastack`` and a description ``beastack:KIND:ID``; whatever does not carry
the group is never destroyed (``NotOurs``). Every function may be called again: what is there already is left as it is,
what is gone already counts as removed.
"""

from contextlib import suppress

from beastack.freebsd.errors import (
    AlreadyMember,
    HostError,
    NoSuchInterface,
    NotAMember,
    NotOurs,
    UnexpectedOutput,
)
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_read import Interface, get_interface

GROUP = "beastack"
# Seconds. Destroying a tap waits for its opener: bhyve must have ended first (shared/freebsd, 13).
DESTROY_LIMIT = 15.0


def find(host: Host, name: str) -> Interface | None:
    """The interface, or None when the host says that it does not exist."""
    try:
        return get_interface(host, name)
    except NoSuchInterface:
        return None


def _ours(interface: Interface) -> None:
    if GROUP not in interface.groups:
        raise NotOurs(f"interface {interface.name} exists and is not Beastack's (not in group {GROUP}): left alone")


def require_ours(host: Host, name: str) -> Interface:
    """The interface when it carries our mark; raises NotOurs, NoSuchInterface."""
    interface = get_interface(host, name)
    _ours(interface)
    return interface


def _ensure(host: Host, kind: str, name: str, description: str) -> Interface:
    """A cloned interface with our name and mark; half-made ones are finished or removed."""
    interface = find(host, name)
    if interface is None:
        done = host.run(["ifconfig", kind, "create"])
        made = done.out.strip()
        if not made or len(made.split()) != 1:
            raise UnexpectedOutput(done.argv, done.out, "the new interface's name")
        try:
            # marked before it is named: a crash in between leaves something that says whose it is
            host.run(["ifconfig", made, "group", GROUP])
            host.run(["ifconfig", made, "name", name])
        except HostError:
            _discard(host, made)
            raise
        interface = get_interface(host, name)
    _ours(interface)
    if interface.description != description:
        host.run(["ifconfig", name, "description", description])
    return interface


def _discard(host: Host, name: str) -> None:
    """Remove what a failed creation left behind (01: a failed rename leaves the new interface)."""
    with suppress(NoSuchInterface):
        host.run(["ifconfig", name, "destroy"], timeout=DESTROY_LIMIT)


def ensure_bridge(host: Host, name: str, description: str) -> None:
    """A bridge that is up."""
    if not _ensure(host, "bridge", name, description).is_up:
        host.run(["ifconfig", name, "up"])


def ensure_tap(host: Host, name: str, description: str, mtu: int) -> None:
    """A tap, up, with ``mtu`` bytes unless it is a bridge member already (the bridge rules its MTU then)."""
    interface = _ensure(host, "tap", name, description)
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
        _ours(interface)
        if interface.description != description:
            host.run(["ifconfig", name, "description", description])
        return None
    done = host.run(["ifconfig", "epair", "create"])
    made = done.out.strip()
    if not made.startswith("epair") or not made.endswith("a"):
        raise UnexpectedOutput(done.argv, done.out, "epairNa")
    try:
        host.run(["ifconfig", made, "group", GROUP])
        host.run(["ifconfig", made, "description", description])
        host.run(["ifconfig", made, "name", name])
    except HostError:
        _discard(host, made)
        raise
    return made[:-1] + "b"


def destroy(host: Host, name: str) -> None:
    """Destroy an interface of ours; one that is gone is fine, one that is not ours raises NotOurs."""
    interface = find(host, name)
    if interface is None:
        return
    _ours(interface)
    _discard(host, name)


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


def set_mtu(host: Host, name: str, mtu: int) -> None:
    """Set an interface's MTU, bytes; of a bridge member it cannot be set alone (02)."""
    if get_interface(host, name).mtu != mtu:
        host.run(["ifconfig", name, "mtu", str(mtu)])


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
