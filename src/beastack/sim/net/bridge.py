"""Owns if_bridge(4)'s forwarding: learning with limits and timeouts, and which members a frame goes to."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beastack.sim.net.interface import Interface

LEARNING, DISCOVER, STP, STICKY, EDGE = 0x1, 0x2, 0x4, 0x10, 0x20
AUTOEDGE, PTP, AUTOPTP, PRIVATE = 0x40, 0x80, 0x100, 0x800
DEFAULT_MEMBER_FLAGS = LEARNING | DISCOVER | AUTOEDGE | AUTOPTP

DYNAMIC, STATIC, STICKY_ENTRY = 0x0, 0x1, 0x2


@dataclass(eq=False)
class Member:
    """One interface in a bridge, with its flags and its own limit of addresses (0: none)."""

    interface: "Interface"
    flags: int = DEFAULT_MEMBER_FLAGS
    limit: int = 0
    learned: int = 0
    untagged: int = 0
    tagged: frozenset[int] = frozenset()

    def admits(self, vlan: int) -> int | None:
        """The VLAN of a frame that comes in here (0: it has no tag) on a bridge that filters; None: it is dropped."""
        if vlan == 0:
            return self.untagged or None
        return vlan if vlan in self.tagged else None

    def carries(self, vlan: int) -> bool:
        return vlan == self.untagged or vlan in self.tagged


@dataclass(eq=False)
class Entry:
    """One address of the forwarding table; `expires` is 0 for one that never does."""

    mac: bytes
    vlan: int
    member: Member
    flags: int
    expires: float


@dataclass(eq=False)
class Bridge:
    """The forwarding state of one bridge. Members stand newest first, as the kernel lists them.

    Each VLAN has its own addresses; frames without a tag are VLAN 0 unless the bridge filters (`vlanfilter`, 15.0).
    """

    interface: "Interface"
    members: list[Member] = field(default_factory=list)
    table: dict[tuple[int, bytes], Entry] = field(default_factory=dict)
    max_addresses: int = 2000
    timeout: int = 1200
    was_up: bool = False
    filters_vlans: bool = False
    _by_interface: "dict[Interface, Member]" = field(default_factory=dict)
    _own: "dict[bytes, Interface] | None" = None

    def member(self, interface: "Interface") -> Member | None:
        return self._by_interface.get(interface)

    def own(self, mac: bytes) -> "Interface | None":
        """The bridge or the member that has this address and an IP stack on this host, or a vlan child: worked out
        once, as every frame asks.
        """
        if self._own is None:
            # the bridge itself comes first, then its members in their order
            candidates = [self.interface, *(member.interface for member in self.members)]
            self._own = {
                one.mac: one
                for one in reversed(candidates)
                if one.mac is not None and (one.stack is not None or one.children)
            }
        return self._own.get(mac)

    def forget_own(self) -> None:
        """An address, a member or a stack is another than before."""
        self._own = None

    def add(self, interface: "Interface") -> Member:
        member = Member(interface)
        self.members.insert(0, member)
        self._by_interface[interface] = member
        self.forget_own()
        return member

    def remove(self, member: Member) -> None:
        self.members.remove(member)
        del self._by_interface[member.interface]
        self.forget_own()
        for key in [key for key, entry in self.table.items() if entry.member is member]:
            del self.table[key]

    def learn(self, member: Member, mac: bytes, now: float, vlan: int = 0) -> bool:
        """Note where an address was seen. False: the frame is to be dropped (the member's limit is reached)."""
        if not member.flags & LEARNING or mac[0] & 1 or not any(mac):
            return True
        entry = self.table.get((vlan, mac))
        if entry is None:
            if member.limit and member.learned >= member.limit:
                self.expire(now)  # an expired address must not hold the place of a live one
                if member.learned >= member.limit:
                    return False
            if len(self.table) >= self.max_addresses:
                return not member.limit
            flags = STICKY_ENTRY if member.flags & STICKY else DYNAMIC
            self.table[vlan, mac] = Entry(mac, vlan, member, flags, 0 if flags else now + self.timeout)
            member.learned += 1
            return True
        if entry.flags == DYNAMIC:
            if entry.member is not member:
                if member.limit and member.learned >= member.limit:
                    return False
                entry.member.learned -= 1
                member.learned += 1
                entry.member = member
            entry.expires = now + self.timeout
        return True

    def pin(self, member: Member, mac: bytes) -> None:
        """A static address, as `ifconfig BRIDGE static MEMBER MAC` makes it."""
        self.forget(mac)
        self.table[0, mac] = Entry(mac, 0, member, STATIC, 0)
        member.learned += 1

    def forget(self, mac: bytes, vlan: int = 0) -> bool:
        entry = self.table.pop((vlan, mac), None)
        if entry is None:
            return False
        entry.member.learned -= 1
        return True

    def flush(self, everything: bool) -> None:
        for vlan, mac in [key for key, entry in self.table.items() if everything or entry.flags == DYNAMIC]:
            self.forget(mac, vlan)

    def expire(self, now: float) -> None:
        for vlan, mac in [key for key, entry in self.table.items() if entry.expires and entry.expires <= now]:
            self.forget(mac, vlan)

    def find(self, mac: bytes, now: float, vlan: int = 0) -> Member | None:
        entry = self.table.get((vlan, mac))
        if entry is None:
            return None
        if entry.expires and entry.expires <= now:
            self.forget(mac, vlan)
            return None
        return entry.member

    def targets(self, source: Member | None, destination: bytes, now: float, vlan: int = 0) -> list[Member]:
        """The members a frame leaves by. `source` is None for frames of the host's own stack."""
        if not destination[0] & 1:
            known = self.find(destination, now, vlan)
            if known is not None:
                return [known] if self._may_pass(source, known, vlan) else []
        group = destination[0] & 1
        return [
            member
            for member in self.members
            if (group or member.flags & DISCOVER) and self._may_pass(source, member, vlan)
        ]

    def _may_pass(self, source: Member | None, target: Member, vlan: int) -> bool:
        if target is source or not target.interface.up:
            return False
        if self.filters_vlans and not target.carries(vlan):
            return False
        return source is None or not source.flags & target.flags & PRIVATE
