"""The calls, against libvirt's own library and its driver `test:///default`: a domain there is one of type `test`."""

from types import ModuleType

import pytest
from nova.compute import power_state

from beastack.nova.libvirt import domain
from beastack.nova.libvirt.connection import POWER, Connection, LibvirtRefused, NoSuchDomain

from .lab import for_the_test_driver
from .machines import BRIDGES, FULL, NEWEST, SMALL, UUID

FULL_XML = for_the_test_driver(domain.render(FULL, BRIDGES, NEWEST))
SMALL_XML = for_the_test_driver(domain.render(SMALL, BRIDGES, NEWEST))


def test_a_life(connection: Connection) -> None:
    connection.define(FULL_XML)
    assert UUID in connection.names()
    assert connection.state(UUID) == power_state.SHUTDOWN
    connection.create(UUID)
    connection.create(UUID)
    assert connection.state(UUID) == power_state.RUNNING
    connection.shutdown(UUID)
    assert connection.state(UUID) == power_state.SHUTDOWN
    connection.shutdown(UUID)
    connection.create(UUID)
    connection.destroy(UUID)
    connection.destroy(UUID)
    assert connection.state(UUID) == power_state.SHUTDOWN
    connection.undefine(UUID)
    connection.undefine(UUID)
    connection.destroy(UUID)
    assert UUID not in connection.names()
    with pytest.raises(NoSuchDomain):
        connection.state(UUID)


def test_what_was_defined_comes_back(connection: Connection) -> None:
    connection.define(FULL_XML)
    assert domain.is_ours(connection.xml(UUID), UUID)
    for words in ("/dev/nmdm7000B", "port='5907'", "listen='127.0.0.1'"):
        assert words in connection.xml(UUID)
    assert not connection.active(UUID)
    connection.create(UUID)
    assert connection.active(UUID)
    assert domain.is_ours(connection.xml(UUID), UUID)


def test_defined_anew_it_is_another_one(connection: Connection) -> None:
    connection.define(FULL_XML)
    connection.define(SMALL_XML)
    assert connection.names().count(UUID) == 1
    assert "graphics" not in connection.xml(UUID)


def test_a_running_one_is_not_forgotten(connection: Connection) -> None:
    connection.define(SMALL_XML)
    connection.create(UUID)
    with pytest.raises(LibvirtRefused, match="runs: destroy it first"):
        connection.undefine(UUID)
    assert UUID in connection.names()


def test_libvirt_checks_the_xml_itself(connection: Connection) -> None:
    with pytest.raises(LibvirtRefused, match="validate"):
        connection.define(SMALL_XML.replace("<vcpu>", "<unknown/><vcpu>"))
    assert UUID not in connection.names()


def test_what_is_not_there(connection: Connection) -> None:
    for call in (connection.create, connection.shutdown, connection.state, connection.xml, connection.active):
        with pytest.raises(NoSuchDomain):
            call("nobody")


def test_somebody_else_was_faster(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    connection.define(SMALL_XML)
    connection.create(UUID)
    found = connection._conn.lookupByName(UUID)
    answers = iter([0, 1])  # stopped when it was looked at, running a moment later
    monkeypatch.setattr(type(found), "isActive", lambda _: next(answers))
    connection.create(UUID)
    answers = iter([0, 0])
    with pytest.raises(LibvirtRefused, match="already running"):
        connection.create(UUID)
    monkeypatch.undo()
    assert connection.state(UUID) == power_state.RUNNING


def test_the_version_and_the_end(module: ModuleType) -> None:
    opened = Connection("test:///default", module)
    assert opened.version() == module.getVersion()
    assert opened.alive()
    opened.close()
    with pytest.raises(LibvirtRefused):
        opened.names()


def test_no_daemon(module: ModuleType) -> None:
    with pytest.raises(LibvirtRefused):
        Connection("test+unix:///default?socket=/nonexistent/socket", module)


def test_every_state_of_libvirt_has_one_of_novas(module: ModuleType) -> None:
    assert len(POWER) - 1 == module.VIR_DOMAIN_PMSUSPENDED
    assert POWER[module.VIR_DOMAIN_RUNNING] == power_state.RUNNING
    assert POWER[module.VIR_DOMAIN_PAUSED] == power_state.PAUSED
    assert POWER[module.VIR_DOMAIN_SHUTOFF] == power_state.SHUTDOWN
    assert POWER[module.VIR_DOMAIN_CRASHED] == power_state.CRASHED
