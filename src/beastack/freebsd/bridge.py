"""What if_bridge(4) can do beyond having members: addresses, limits, flags of members, VLAN filtering (ifconfig(8)).

Members are attached and detached by ``ifnet``. Every function may be called again; one that sets reads first and runs
a command only for what differs. Seen in shared/freebsd/15.1 (02, 06, 07).
"""

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from beastack.freebsd import ifnet
from beastack.freebsd.errors import AlreadyMember, NoSuchEntry, NotAMember, NotSupported, UnexpectedOutput
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_lines import check_vlan, show_vlan_set
from beastack.freebsd.ifnet_read import Interface, Member, get_interface

_ENTRY = re.compile(r"([0-9a-f]{2}(?::[0-9a-f]{2}){5}) Vlan(\d{1,4}) (\S+) (\d{1,10}) flags=[0-9a-f]+<([^>]*)>")
# The VLAN that frames without a tag have inside a bridge of ours.
UNTAGGED = 1
# Member flags as ifconfig(8) takes them and as it shows them.
FLAGS = {"learn": "LEARNING", "discover": "DISCOVER", "private": "PRIVATE", "sticky": "STICKY"}


@dataclass(frozen=True)
class Entry:
    """One address of a bridge's table: behind which member, and seconds left (0 for a static one)."""

    mac: str
    vlan: int
    member: str
    expires: int
    static: bool


def parse_addresses(text: str, argv: tuple[str, ...] = ("ifconfig",)) -> list[Entry]:
    """``ifconfig BRIDGE addr``. Raises UnexpectedOutput."""
    found = []
    for line in text.splitlines():
        match = _ENTRY.fullmatch(line)
        if match is None:
            raise UnexpectedOutput(argv, line, "MAC VlanN MEMBER SECONDS flags=N<…>")
        flags = match[5].split(",")
        found.append(Entry(match[1], int(match[2]), match[3], int(match[4]), "STATIC" in flags))
    return found


def addresses(host: Host, bridge: str) -> list[Entry]:
    """The bridge's address table."""
    done = host.run(["ifconfig", bridge, "addr"])
    return parse_addresses(done.out, done.argv)


def add_static(host: Host, bridge: str, member: str, mac: str) -> None:
    """Bind an address to a member for good. Raises NotAMember, NoSuchInterface."""
    require_member(host, bridge, member)
    host.run(["ifconfig", bridge, "static", member, mac])


def remove_address(host: Host, bridge: str, mac: str) -> None:
    """Forget an address, static or learnt; gone is fine."""
    with suppress(NoSuchEntry):
        host.run(["ifconfig", bridge, "deladdr", mac])


def flush(host: Host, bridge: str, static_too: bool = False) -> None:
    """Forget what was learnt, or everything."""
    host.run(["ifconfig", bridge, "flushall" if static_too else "flush"])


def require_member(host: Host, bridge: str, member: str) -> Member:
    """A member as the bridge shows it. Raises NotAMember, NoSuchInterface."""
    return _member(get_interface(host, bridge), member)


def _member(bridge: Interface, member: str) -> Member:
    try:
        return bridge.members[member]
    except KeyError:
        argv = ["ifconfig", bridge.name]
        raise NotAMember(argv, 0, "", f"{member} is not a member of {bridge.name}") from None


def limit_addresses(host: Host, bridge: str, member: str, most: int) -> None:
    """At most ``most`` addresses behind this member, 0 for no limit. With a static address and ``most`` 1 no other
    source MAC passes (06); forged ARP does all the same: that is the guard's work. Raises NotAMember, ValueError.
    """
    if most < 0:
        raise ValueError(f"a limit of {most} addresses")
    if require_member(host, bridge, member).max_addresses != most:
        host.run(["ifconfig", bridge, "ifmaxaddr", member, str(most)])


def set_flags(host: Host, bridge: str, member: str, **wanted: bool) -> None:
    """Set or clear ``learn``, ``discover``, ``private``, ``sticky`` of a member, all in one command.

    Private members do not hear each other: split horizon between tunnels (07).
    """
    now = require_member(host, bridge, member).flags
    words: list[str] = []
    for flag, on in wanted.items():
        if (FLAGS[flag] in now) != on:
            words += [flag if on else f"-{flag}", member]
    if words:
        host.run(["ifconfig", bridge, *words])


def attach_private(host: Host, bridge: str, member: str) -> None:
    """Attach a member as private in one command, so that it never forwards to another private one (07)."""
    if member in get_interface(host, bridge).members:
        set_flags(host, bridge, member, private=True)
    else:
        host.run(["ifconfig", bridge, "addm", member, "private", member])


def attach_untagged(host: Host, bridge: str, member: str, shown: Interface | None = None) -> None:
    """Attach a member whose frames have no VLAN tag, in and out; before 15.0, where bridges cannot, as any member.
    ``shown`` is the bridge as it was read just now.

    Without this a tag that a guest writes leaves by a card as it came: ether_input() takes it off before ng_ether(4)
    and pf(4) look at the frame, and if_bridge(4) puts it on again. Raises DeviceBusy, NoSuchInterface.
    """
    shown = shown or get_interface(host, bridge)
    if shown.bridge_flags is None:
        ifnet.attach_member(host, bridge, member)
        return
    for name, found in shown.members.items():
        if found.untagged != UNTAGGED or found.tagged:
            set_member_vlans(host, bridge, name, UNTAGGED)
    if "VLANFILTER" not in shown.bridge_flags:
        set_vlan_filter(host, bridge, True)
    if member not in shown.members:
        with suppress(AlreadyMember):
            host.run(["ifconfig", bridge, "addm", member, "untagged", str(UNTAGGED)])


def set_vlan_filter(host: Host, bridge: str, on: bool) -> None:
    """Let the bridge keep VLANs apart (15.0 and later). Raises NotSupported where the release cannot."""
    flags = get_interface(host, bridge).bridge_flags
    if flags is None:
        if on:
            raise NotSupported(["ifconfig", bridge, "vlanfilter"], 0, "", "this release's bridges show no flags")
        return
    if ("VLANFILTER" in flags) != on:
        host.run(["ifconfig", bridge, "vlanfilter" if on else "-vlanfilter"])


def set_member_vlans(host: Host, bridge: str, member: str, untagged: int | None, tagged: Collection[int] = ()) -> None:
    """Which VLANs pass at a member, with and without a tag. What goes is taken away before what comes is given.

    Raises ValueError for a number that is no VLAN, NotAMember, NotSupported.
    """
    wanted = frozenset(check_vlan(tag) for tag in tagged)
    shown = get_interface(host, bridge)
    if shown.bridge_flags is None:
        raise NotSupported(["ifconfig", bridge, "ifuntagged", member], 0, "", "this release's bridges filter no VLANs")
    now = _member(shown, member)
    if gone := now.tagged - wanted:
        host.run(["ifconfig", bridge, "-iftagged", member, show_vlan_set(gone)])
    if now.untagged != untagged:
        if untagged is None:
            host.run(["ifconfig", bridge, "-ifuntagged", member])
        else:
            host.run(["ifconfig", bridge, "ifuntagged", member, str(check_vlan(untagged))])
    if new := wanted - now.tagged:
        host.run(["ifconfig", bridge, "+iftagged", member, show_vlan_set(new)])
