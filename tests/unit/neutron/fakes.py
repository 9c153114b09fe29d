"""The privileged side without a boundary: pf and netgraph simulated, interfaces and bridges as plain data."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from beastack.freebsd.errors import CommandFailed, NoSuchInterface, failure
from beastack.freebsd.host import Completed
from beastack.freebsd.ifnet_lines import Vlan, Vxlan
from beastack.freebsd.ifnet_read import Interface, Member
from beastack.freebsd.pf import load_rules as pf_load
from beastack.freebsd.pf import unload as pf_unload
from beastack.freebsd.pf_rules import Rule
from beastack.neutron.agent import bridges, devices
from beastack.privsep import context, guard, interfaces, pf, rates, uplinks
from tests.unit.freebsd.simulated import SimulatedHost

GROUP = frozenset({"beastack"})
UP = frozenset({"UP"})
RUNNING = frozenset({"UP", "RUNNING"})
TUNNEL = "192.0.2.1"


class FakeNet(SimulatedHost):
    """One host. ``log`` holds what was asked of the privileged side, in order; ``broken`` names calls that fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.log: list[str] = []
        self.broken: set[str] = set()
        self.net: dict[str, Interface] = {"em0": Interface("em0", UP, 1500, "58:9c:fc:00:00:01")}
        self.unreadable = False
        for module in (pf, guard, rates):
            monkeypatch.setattr(module, "HOST", self)
            for full, function in context.entries.items():
                home, _, name = full.rpartition(".")
                if home == module.__name__:
                    monkeypatch.setattr(module, name, self._logged(name, function))
        for name in ("ensure_bridge", "destroy_bridge", "attach_member", "detach_member", "set_bridge_mtu"):
            monkeypatch.setattr(interfaces, name, self._logged(name, getattr(self, name)))
        self.tables: dict[str, dict[str, str]] = {}
        for name in ("ensure_vlan", "ensure_vxlan", "open_uplink", "destroy_uplink", "change_entries"):
            monkeypatch.setattr(uplinks, name, self._logged(name, getattr(self, name)))
        for reader in (bridges, devices):
            monkeypatch.setattr(reader, "list_interfaces", self.list_interfaces)

    def _logged(self, name, function):  # type: ignore[no-untyped-def]
        def call(*args):  # type: ignore[no-untyped-def]
            self.log.append(" ".join([name, *(a for a in args if isinstance(a, str))]))
            if name in self.broken:
                raise CommandFailed([name], 1, "", "broken for this test")
            return function(*args)

        return call

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = 20.0, check: bool = True
    ) -> Completed:
        """ifconfig NAME, for unload_port."""
        if argv[0] == "ifconfig":
            if argv[1] not in self.net:
                raise failure(argv, 1, "", f"ifconfig: interface {argv[1]} does not exist\n")
            return Completed(tuple(argv), 0, f"{argv[1]}: flags=8843<UP> metric 0 mtu 1500\n\tgroups: beastack\n", "")
        return super().run(argv, input=input, timeout=timeout, check=check)

    def list_interfaces(self, host: object) -> dict[str, Interface]:
        """A copy, as a reader gives."""
        if self.unreadable:
            raise NoSuchInterface(["ifconfig", "-a"], 1, "", "what?")
        return {n: replace(i, members=dict(i.members)) for n, i in self.net.items()}

    def tap(self, name: str, mac: str = "58:9c:fc:00:00:02") -> str:
        """nova made a tap."""
        self.net[name] = Interface(name, UP, 1500, mac, f"beastack:port:{name}", groups=GROUP)
        self.interfaces.append(name)
        return name

    def gone(self, name: str) -> None:
        """nova removed a tap."""
        del self.net[name]
        self.interfaces.remove(name)
        for bridge in self.net.values():
            bridge.members.pop(name, None)

    def ensure_bridge(self, name: str, description: str) -> None:
        """See privsep.interfaces."""
        self.net.setdefault(name, Interface(name, UP, 1500, description=description, groups=GROUP))

    def destroy_bridge(self, name: str) -> None:
        """See privsep.interfaces."""
        self.net.pop(name, None)

    def attach_member(self, bridge: str, interface: str) -> None:
        """See privsep.interfaces; the first member brings its MTU, the others get it (02)."""
        if self.net[bridge].members:
            self.net[interface].mtu = self.net[bridge].mtu
        self.net[bridge].mtu = self.net[interface].mtu
        self.net[bridge].members[interface] = Member(interface, frozenset())
        self.net[interface].flags |= UP

    def set_bridge_mtu(self, name: str, mtu: int) -> None:
        """See privsep.interfaces."""
        for interface in (name, *self.net[name].members):
            self.net[interface].mtu = mtu

    def _uplink(self, network_id: str, prefix: str, mtu: int) -> Interface:
        name, bridge = f"{prefix}{network_id[:11]}", f"brq{network_id[:11]}"
        if name not in self.net:
            self.net[name] = Interface(name, RUNNING, mtu, description=f"beastack:network:{network_id}", groups=GROUP)
            self.interfaces.append(name)
        self.open_uplink(name)
        if name not in self.net[bridge].members:
            self.attach_member(bridge, name)
        return self.net[name]

    def open_uplink(self, name: str) -> None:
        """See privsep.uplinks."""
        pf_load(self, name, [Rule("pass", f"{name}/open", allow_opts=True)])

    def ensure_vlan(self, network_id: str, card: str, tag: int, mtu: int) -> None:
        """See privsep.uplinks."""
        self._uplink(network_id, "vln", mtu).vlan = Vlan(tag, card)

    def ensure_vxlan(self, network_id: str, vni: int, mtu: int) -> bool:
        """See privsep.uplinks."""
        uplink = self._uplink(network_id, "vxl", mtu)
        wanted = Vxlan(vni, TUNNEL, 4789, TUNNEL, 14789)
        made, uplink.vxlan = uplink.vxlan != wanted, wanted
        if made:
            self.tables[uplink.name] = {}
        return made

    def destroy_uplink(self, name: str) -> None:
        """See privsep.uplinks."""
        self.net.pop(name, None)
        if name in self.interfaces:
            self.interfaces.remove(name)
        pf_unload(self, name)
        self.tables.pop(name, None)
        for bridge in self.net.values():
            bridge.members.pop(name, None)

    def change_entries(self, network_id: str, add: list[list[str]], remove: list[str]) -> None:
        """See privsep.uplinks."""
        table = self.tables[f"vxl{network_id[:11]}"]
        for mac in remove:
            table.pop(mac, None)
        table.update({mac: host for mac, host in add})

    def detach_member(self, bridge: str, interface: str) -> None:
        """See privsep.interfaces."""
        self.net[bridge].members.pop(interface, None)
