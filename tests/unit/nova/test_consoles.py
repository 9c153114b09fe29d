"""Consoles of the driver: places on the host, tickets for nova's proxies."""

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from beastack.consoles import ticket
from beastack.freebsd import bhyve, bhyve_json
from beastack.nova.console_places import ConsolePlaces
from nova import exception

from .fakes import UUID
from .lab import CONF, Lab


def test_consoles_lead_to_the_service_with_a_ticket_for_this_guest(lab: Lab) -> None:
    consoles = (lab.driver.get_serial_console, lab.driver.get_vnc_console)
    for method in consoles:
        with pytest.raises(exception.InstanceNotFound):
            method(None, lab.instance)
    lab.spawn()
    key = ticket.host_key(lab.folder.parent / "console.key")
    for kind, method in zip(("serial", "vnc"), consoles, strict=True):
        found = method(None, lab.instance)
        assert (found.host, found.port) == ("127.0.0.1", 6079)
        allowed = ticket.check(key, found.internal_access_path, time.time())
        assert (allowed.kind, allowed.uuid) == (kind, UUID)
        assert 0 < allowed.expires - time.time() <= CONF.consoleauth.token_ttl
    lab.driver.power_off(lab.instance)
    for method in consoles:
        with pytest.raises(exception.InstanceNotReady):
            method(None, lab.instance)


@pytest.mark.parametrize("why", ["vnc is off", "the image wants none"])
def test_a_guest_without_a_screen(lab: Lab, why: str) -> None:
    if why == "vnc is off":
        CONF.set_override("enabled", False, "vnc")
    else:
        lab.image.properties.hw_video_model = "none"
        lab.instance.system_metadata["image_hw_video_model"] = "none"
    lab.spawn()
    assert bhyve_json.load((lab.folder / "machine.json").read_text()).frame_buffer is None
    with pytest.raises(exception.ConsoleTypeUnavailable):
        lab.driver.get_vnc_console(None, lab.instance)
    assert lab.driver.get_serial_console(None, lab.instance).port == 6079


@pytest.mark.parametrize(
    ("release", "console", "screen"),
    [
        ("15.1-RELEASE", bhyve.TcpConsole, bhyve.SocketFrameBuffer),
        ("14.3-RELEASE", bhyve.NmdmConsole, bhyve.FrameBuffer),
    ],
)
def test_places_of_consoles_by_release(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, release: str, console: type, screen: type
) -> None:
    host: Any = SimpleNamespace(run=lambda argv, **_: SimpleNamespace(argv=argv, out=release + "\n"))
    consoles = ConsolePlaces(CONF, lab.folder.parent, host)
    machine = consoles.onto(lab.host.machine, None)
    assert isinstance(machine.console, console)
    assert isinstance(machine.frame_buffer, screen)
    again = consoles.onto(lab.host.machine, None)
    assert again == machine
    ports = json.loads((lab.folder.parent / "console-ports.json").read_text())
    assert len(set(ports.values())) == len(ports)
    consoles.release(UUID)
    assert json.loads((lab.folder.parent / "console-ports.json").read_text()) == {}
