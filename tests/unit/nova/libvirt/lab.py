"""The driver with `hypervisor = libvirt` over libvirt's own library and its driver `test:///default`.

What that driver lacks is stood in for here: the taps that libvirt's bhyve driver makes, and the line's holder.
"""

import functools
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from beastack.nova import base
from beastack.nova.libvirt.connection import Connection, LibvirtRefused
from beastack.nova.libvirt.runner import LibvirtRunner
from beastack.privsep import held_taps, lines
from nova import exception

from ..lab import CONF, Lab
from .machines import NEWEST

TAP = "tap0f1e2d3c-11"


def for_the_test_driver(xml: str) -> str:
    """The same domain under the driver at hand: the one place where `bhyve` becomes `test`."""
    root = ET.fromstring(xml)  # noqa: S314 our own
    root.set("type", "test")
    for extra in [each for each in root if "commandline" in each.tag]:
        root.remove(extra)  # a namespace of the bhyve driver alone
    return ET.tostring(root, encoding="unicode")


class Taps:
    """Taps of the host as files: what is in one is its mark, nothing while it is held without one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bridge = False

    def names(self) -> list[str]:
        return sorted(each.name for each in self.folder.iterdir())

    def mark(self, name: str) -> str:
        return (self.folder / name).read_text()

    def made(self, xml: str) -> None:
        """libvirt starts a domain: it takes no tap that is there, and wants the bridge."""
        root = ET.fromstring(xml)  # noqa: S314 the test driver's
        assert self.bridge
        for card in root.iterfind("./devices/interface"):
            source, target = card.find("source"), card.find("target")
            assert source is not None
            assert target is not None
            assert source.get("bridge") == held_taps.HOLDING
            (self.folder / str(target.get("dev"))).touch(exist_ok=False)

    def gone(self, xml: str) -> None:
        for target in ET.fromstring(xml).iterfind("./devices/interface/target"):  # noqa: S314 the test driver's
            (self.folder / str(target.get("dev"))).unlink(missing_ok=True)

    # the privileged side's

    def ensure_holding_bridge(self) -> None:
        self.bridge = True

    def list_held_taps(self) -> list[str]:
        return [name for name in self.names() if not self.mark(name)]

    def adopt_tap(self, name: str, description: str) -> None:
        assert description.split(":")[2][:11] == name[3:]
        assert (self.folder / name).is_file()
        (self.folder / name).write_text(description)

    def drop_held_tap(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)


class OnTestDriver(Connection):
    """libvirt's test driver as if it were that of bhyve."""

    def __init__(self, lab: "LibvirtLab") -> None:
        lab.call("open")
        super().__init__("test:///default", lab.module)
        self._lab, self._dead = lab, False

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in CALLS:
            return functools.partial(self._made, name, found)
        return found

    def _made(self, name: str, call: Callable[..., Any], *words: Any) -> Any:
        if self._dead:
            raise LibvirtRefused("client socket is closed")
        try:
            self._lab.call(name)
            answer = call(*words)
            self._lab.call(f"{name}, answered")
        except LibvirtRefused:
            self._dead = self._lab.dead or self._dead
            raise
        return answer

    def alive(self) -> bool:
        return not self._dead and super().alive()

    def define(self, xml: str) -> None:
        super().define(for_the_test_driver(xml))

    def create(self, name: str) -> None:
        before = self._conn.lookupByName(name).isActive()
        super().create(name)
        if not before:
            self._lab.host_taps.made(self._conn.lookupByName(name).XMLDesc())

    def shutdown(self, name: str) -> None:
        self._lab.presses += 1
        if not self._lab.deaf:
            super().shutdown(name)
            self._lab.host_taps.gone(self._conn.lookupByName(name).XMLDesc())

    def destroy(self, name: str) -> None:
        super().destroy(name)
        self._lab.host_taps.gone(self._conn.lookupByName(name).XMLDesc())

    def version(self) -> int:
        return self._lab.version


CALLS = ("define", "create", "shutdown", "destroy", "undefine", "state", "names", "xml", "active", "version")


class Killed(BaseException):
    """nova-compute's end: nothing of it runs any more, no cleaning up either."""


class LibvirtLab(Lab):
    """As Lab, with libvirt under the driver. ``cut`` is the number of the call at which the daemon goes away, ``kill``
    that of the step at which nova-compute does.
    """

    def __init__(self, base_folder: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
        self.module = module
        self.version, self.deaf, self.presses = NEWEST, False, 0
        self.dead, self.calls, self.cut = False, 0, 0
        self.steps, self.kill = 0, 0
        self.lines: set[str] = set()
        made = functools.partial(LibvirtRunner, connect=lambda: OnTestDriver(self), look_seconds=3600.0)
        monkeypatch.setattr(base, "LibvirtRunner", made)
        # the driver of a process forgets its domains with the last connection
        self.keeper = module.open("test:///default")
        self.before = {domain.name() for domain in self.keeper.listAllDomains()}
        super().__init__(base_folder, monkeypatch)
        CONF.set_override("hypervisor", "libvirt", "beastack")
        self.host_taps = Taps(self.host.base / "taps")
        for name in ("ensure_holding_bridge", "list_held_taps", "adopt_tap", "drop_held_tap"):
            monkeypatch.setattr(held_taps, name, self._stepped(getattr(self.host_taps, name)))
        monkeypatch.setattr(lines, "start_line", self._stepped(self.lines.add))
        monkeypatch.setattr(lines, "stop_line", self._stepped(self.lines.discard))
        self.anew()

    def anew(self) -> None:
        """nova-compute starts."""
        self.driver = type(self.driver)(self.virtapi)
        self.driver.register_event_listener(self.on_event)

    @property
    def runner(self) -> LibvirtRunner:
        found = self.driver._runner
        assert isinstance(found, LibvirtRunner)
        return found

    def _stepped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any) -> Any:
            self.step()
            answer = function(*words)
            self.step()
            return answer

        return call

    def step(self) -> None:
        """Before and after each call of the host or of libvirt."""
        self.steps += 1
        if self.steps == self.kill:
            raise Killed

    def call(self, _name: str) -> None:
        """A call reaches the daemon, or its answer comes, or neither."""
        self.step()
        self.calls += 1
        if self.dead or self.calls == self.cut:
            self.dead = True
            raise LibvirtRefused("Cannot recv data: Connection reset by peer")

    def domains(self) -> list[str]:
        return sorted(each.name() for each in self.keeper.listAllDomains() if each.name() not in self.before)

    def end_by_itself(self, uuid: str) -> None:
        """The guest powers off."""
        domain = self.keeper.lookupByName(uuid)
        self.host_taps.gone(domain.XMLDesc())
        domain.destroy()

    def reboot_by_itself(self, uuid: str) -> None:
        """bhyve exits 0; libvirt destroys the taps and makes new ones (bhyve_monitor.c, virBhyveProcessRestart)."""
        self.end_by_itself(uuid)
        domain = self.keeper.lookupByName(uuid)
        domain.create()
        self.host_taps.made(domain.XMLDesc())

    def close(self) -> None:
        self.dead, self.cut, self.kill = False, 0, 0
        self.runner.close()
        for name in self.domains():
            domain = self.keeper.lookupByName(name)
            if domain.isActive():
                domain.destroy()
            domain.undefine()
        self.keeper.close()


def nothing_is_left(lab: LibvirtLab) -> None:
    assert lab.domains() == []
    assert lab.taps == []
    assert lab.lines == set()
    assert not lab.folder.exists()
    assert lab.driver.list_instances() == []
    with pytest.raises(exception.InstanceNotFound):
        lab.driver.get_info(lab.instance)


def destroy(lab: Lab) -> None:
    lab.driver.destroy(None, lab.instance, lab.network_info)
