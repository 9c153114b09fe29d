"""The privileged side without a boundary: pf and netgraph simulated, interfaces and bridges as plain data."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from beastack.freebsd.errors import CommandFailed, NoSuchInterface, failure
from beastack.freebsd.host import Completed
from beastack.freebsd.ifnet_read import Interface, Member
from beastack.neutron.agent import bridges, devices
from beastack.privsep import context, guard, interfaces, pf
from tests.unit.freebsd.simulated import SimulatedHost

GROUP = frozenset({"beastack"})
UP = frozenset({"UP"})


class FakeNet(SimulatedHost):
    """One host. ``log`` holds what was asked of the privileged side, in order; ``broken`` names calls that fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.log: list[str] = []
        self.broken: set[str] = set()
        self.net: dict[str, Interface] = {"em0": Interface("em0", UP, 1500, "58:9c:fc:00:00:01")}
        self.unreadable = False
        for module in (pf, guard):
            monkeypatch.setattr(module, "HOST", self)
            for full, function in context.entries.items():
                home, _, name = full.rpartition(".")
                if home == module.__name__:
                    monkeypatch.setattr(module, name, self._logged(name, function))
        for name in ("ensure_bridge", "destroy_bridge", "attach_member", "detach_member"):
            monkeypatch.setattr(interfaces, name, self._logged(name, getattr(self, name)))
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
        """See privsep.interfaces."""
        self.net[bridge].members[interface] = Member(interface, frozenset())
        self.net[interface].flags |= UP

    def detach_member(self, bridge: str, interface: str) -> None:
        """See privsep.interfaces."""
        self.net[bridge].members.pop(interface, None)
