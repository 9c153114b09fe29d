"""pf's tables of this host: one a group and family, shared by all ports that name it; one for a port's own addresses.

A change of members costs what changed: the difference is added and deleted, and states with members that went are
looked at once for all ports. What pf holds is read when it is not known: at the first load of a table, and when pf's
answer is not the expected one.
"""

from collections.abc import Iterable, Mapping

from oslo_log import log as logging

from beastack.neutron.firewall.translate import table
from beastack.privsep import pf

LOG = logging.getLogger(__name__)
FAMILIES = {4: "IPv4", 6: "IPv6"}
NOBODY: frozenset[str] = frozenset()


class Tables:
    """Which tables the ports need, what is to be in them, and what pf holds."""

    def __init__(self) -> None:
        self._members: dict[str, dict[int, frozenset[str]]] = {}
        self._groups: dict[str, tuple[str, int]] = {}
        self._own: dict[str, frozenset[str]] = {}
        self._users: dict[str, set[str]] = {}
        self._uses: dict[str, set[str]] = {}
        self._held: dict[str, frozenset[str]] = {}
        self._dirty: set[str] = set()
        self._listed = False
        self.broken: dict[str, str] = {}

    def set_members(self, group: str, ips: Mapping[str, Iterable[Iterable[str]]]) -> None:
        """Members of a remote group or address group: [address, MAC] by ethertype, in any order."""
        known = self._members.setdefault(group, {})
        for family, ethertype in FAMILIES.items():
            found = frozenset(str(next(iter(member))) for member in ips.get(ethertype) or ())
            if known.get(family, NOBODY) != found:
                self._dirty.add(table(family, group))
            known[family] = found

    def use(self, device: str, groups: Iterable[str], own: Mapping[str, frozenset[str]]) -> None:
        """The tables that a port needs from now on; none when it is gone."""
        names = {table(family, group): (group, family) for group in groups for family in FAMILIES}
        self._groups.update(names)
        for name, members in own.items():
            if self._own.get(name) != members:
                self._own[name] = members
                self._dirty.add(name)
        wanted = {*names, *own}
        for name in self._uses.pop(device, set()) - wanted:
            self._users[name].discard(device)
            if not self._users[name]:
                del self._users[name]
                self._own.pop(name, None)
                self._groups.pop(name, None)
                self._dirty.add(name)
        if wanted:
            self._uses[device] = wanted
        for name in wanted:
            users = self._users.setdefault(name, set())
            if not users:
                self._dirty.add(name)
            users.add(device)

    def forget(self) -> None:
        """What pf holds is not known any more."""
        self._held.clear()
        self._dirty.update(self._users)
        self._listed = False

    def trouble(self, device: str) -> str | None:
        """Why a port's tables are not in force."""
        return next((self.broken[n] for n in sorted(self.broken) if device in self._users.get(n, ())), None)

    def _wanted(self, name: str) -> frozenset[str]:
        if name in self._own:
            return self._own[name]
        group, family = self._groups[name]
        return self._members.get(group, {}).get(family, NOBODY)

    def apply(self) -> set[str]:
        """Load what changed; returns the ports whose tables could not be loaded. Tables without users stay for now."""
        for name in sorted((self._dirty | self.broken.keys()) & self._users.keys()):
            wanted = self._wanted(name)
            if self._held.get(name) == wanted:
                self.broken.pop(name, None)
                continue
            try:
                went = self._change(name, self._held.pop(name, None), wanted)
                if went:
                    pf.end_member_states(sorted(self._users[name]), went)
                self._held[name] = wanted
                self.broken.pop(name, None)
            except Exception as e:  # noqa: BLE001 - the ports that use it are closed, others go on
                self.broken[name] = f"table {name}: {e}"
        for name in self.broken.keys() - self._users.keys():
            del self.broken[name]
        self._dirty -= self._users.keys()
        return {device for name in self.broken for device in self._users[name]}

    def _change(self, name: str, held: frozenset[str] | None, wanted: frozenset[str]) -> list[str]:
        """Members that went."""
        if held is not None:
            come, go = sorted(wanted - held), sorted(held - wanted)
            if pf.change_table(name, come, go):
                return go
            LOG.warning("Table %s was not as it was left; it is loaded anew", name)
            return [*go, *pf.replace_table(name, sorted(wanted))]
        return pf.replace_table(name, sorted(wanted))

    def drop_unused(self) -> None:
        """Remove tables that no rule names any more; to be called when the rules are loaded."""
        unused = self._dirty - self._users.keys()
        try:
            if not self._listed:
                unused |= set(pf.list_tables()) - self._users.keys()
                self._listed = True
            for name in sorted(unused):
                pf.drop_table(name)
                self._held.pop(name, None)
                self._dirty.discard(name)
        except Exception as e:  # noqa: BLE001 - an unused table allows nothing
            LOG.warning("Tables without use stay behind: %s", e)
