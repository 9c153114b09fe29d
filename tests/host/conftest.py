"""One host for the whole run, looked at before and after; a lab for each test that is gone when the test ends."""

from collections.abc import Iterator

import pytest

from beastack.freebsd import pf, pf_host, release
from beastack.freebsd.errors import CommandFailed, HostError
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_read import list_interfaces
from beastack.freebsd.jail import list_jails
from beastack.freebsd.release import Release

from . import snapshot
from .lab import Lab, clear_filters, sweep
from .restore import restore
from .targets import Target, open_target

NOT_SIMULATED = "not simulated"
REMARKS = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--host",
        dest="beastack_host",
        default="sim:",
        metavar="URL",
        help="sim: (default), sim:DIR, local: or ssh://USER@HOST:PORT?identity=FILE",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REMARKS] = []


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    try:
        with open_target(request.config.getoption("beastack_host")) as opened:
            yield opened
    except ValueError as e:
        pytest.exit(str(e), 2)


@pytest.fixture(scope="session")
def host(target: Target, request: pytest.FixtureRequest) -> Iterator[Host]:
    """The host, restored at the end; what could not be is the run's error."""
    sweep(target.host)
    before = snapshot.take(target.host)
    remarks = request.config.stash[REMARKS]
    remarks.append(f"host {target.url}: FreeBSD {release.read(target.host)}")
    yield target.host
    restore(target.host, before)
    after = snapshot.take(target.host)
    left = snapshot.differences(before, after)
    remarks.append("left as it was found" if not left else "NOT left as it was found")
    if kept := snapshot.kept(before, after):
        remarks.append(f"modules that were loaded and that the kernel does not unload: {' '.join(kept)}")
    assert not left, "the host is not as it was found:\n" + "\n".join(left)


@pytest.fixture(scope="session")
def running(host: Host) -> Release:
    """The host's release."""
    return release.read(host)


@pytest.fixture(scope="session")
def folder(host: Host) -> Iterator[str]:
    """A folder on the host for pid files and captures."""
    made = host.run(["mktemp", "-d", "/tmp/bsc.XXXXXX"]).out.strip()
    assert made.startswith("/tmp/bsc."), made
    yield made
    host.run(["rm", "-r", made])


@pytest.fixture
def lab(host: Host, folder: str) -> Iterator[Lab]:
    """Things to build; a test that leaves something is the one that fails."""
    before = set(list_interfaces(host)), set(list_jails(host))
    made = Lab(host, folder)
    try:
        yield made
    finally:
        made.close()
    assert (set(list_interfaces(host)), set(list_jails(host))) == before, "the test left something behind"


@pytest.fixture(scope="module")
def own_pf(host: Host) -> Iterator[Host]:
    """The host with pf prepared; a host with rules of its own is left alone.

    For one module: a prepared host closes every interface of ours that has no rules, those of other tests too.
    """
    before = snapshot.take(host)
    try:
        pf_host.prepare(host)
    except pf_host.ForeignRuleset as e:
        pytest.skip(f"this host has pf rules of its own: {e}")
    yield host
    restore(host, before)


@pytest.fixture
def filtering(own_pf: Host, lab: Lab) -> Iterator[Host]:
    """pf in force; anchors, tables, guards and states of the test are gone afterwards."""
    yield own_pf
    clear_filters(own_pf)
    assert not [name for name in pf.list_anchors(own_pf) if name.startswith("bsc")]


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """What the simulation says it does not have is skipped with its words; a real host has no such excuse."""
    try:
        return (yield)
    except HostError as e:
        if isinstance(e, CommandFailed) and NOT_SIMULATED in str(e):
            target = pyfuncitem.funcargs.get("target") or pyfuncitem._request.getfixturevalue("target")
            if target.simulated:
                pytest.skip(str(e))
        raise


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    remarks = config.stash[REMARKS]
    if remarks:
        terminalreporter.section("conformance")
        for line in remarks:
            terminalreporter.write_line(line)
