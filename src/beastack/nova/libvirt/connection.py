"""Guests through libvirt: defined, started, ended, removed, listed, and what they are now.

The calls are those that libvirt's bhyve driver has (src/bhyve/bhyve_driver.c); every one of them may be repeated: what
is so already is no error. Names are those of the machines: nova's UUIDs.
"""

from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

from nova.compute import power_state

from beastack.nova.libvirt import binding

URI = "bhyve:///system"
# virDomainState (include/libvirt/libvirt-domain.h): no state, running, blocked, paused, shutdown, shutoff, crashed,
# pmsuspended.
POWER = (
    power_state.NOSTATE,
    power_state.RUNNING,
    power_state.RUNNING,
    power_state.PAUSED,
    power_state.RUNNING,
    power_state.SHUTDOWN,
    power_state.CRASHED,
    power_state.SUSPENDED,
)


class LibvirtRefused(Exception):
    """A call failed; the text is libvirt's own."""


class NoSuchDomain(LibvirtRefused):
    """libvirt knows no domain of this name."""


class Connection:
    """One connection to libvirt's daemon, opened at once. Raises NoLibvirt, LibvirtRefused."""

    def __init__(self, uri: str = URI, module: ModuleType | None = None) -> None:
        self._libvirt: Any = binding.load() if module is None else module
        # Its default prints every error on stderr beside raising it.
        self._libvirt.registerErrorHandler(lambda *_: None, None)
        self._conn: Any = self._call(lambda: self._libvirt.open(uri))

    def close(self) -> None:
        """End the connection; guests run on."""
        self._call(self._conn.close)

    def alive(self) -> bool:
        """Whether the daemon still answers; a new Connection is needed when not."""
        return bool(self._call(self._conn.isAlive))

    def version(self) -> int:
        """The daemon's libvirt, as `domain.render` wants it."""
        return int(self._call(self._conn.getLibVersion))

    def define(self, xml: str) -> None:
        """Make the domain known, or another one of what it was; libvirt checks the XML against its schema.

        A running domain goes on as it was until it is stopped and started.
        """
        flags = self._libvirt.VIR_DOMAIN_DEFINE_VALIDATE
        self._call(lambda: self._conn.defineXMLFlags(xml, flags))

    def create(self, name: str) -> None:
        """Start it, unless it runs."""
        domain = self._domain(name)
        if not self._call(domain.isActive):
            self._unless(domain.isActive, domain.create)

    def shutdown(self, name: str) -> None:
        """Press the power button; it does not wait."""
        domain = self._domain(name)
        if self._call(domain.isActive):
            self._unless(lambda: not domain.isActive(), domain.shutdown)

    def destroy(self, name: str) -> None:
        """End it by force; one that does not run, or is not there, is no error."""
        with suppress(NoSuchDomain):
            domain = self._domain(name)
            if self._call(domain.isActive):
                self._unless(lambda: not domain.isActive(), domain.destroy)

    def undefine(self, name: str) -> None:
        """Forget it; it must not run (a running one would become transient). The files it used stay."""
        with suppress(NoSuchDomain):
            domain = self._domain(name)
            if self._call(domain.isActive):
                raise LibvirtRefused(f"{name} runs: destroy it first")
            self._call(domain.undefine)

    def state(self, name: str) -> int:
        """Nova's power state. Raises NoSuchDomain."""
        found = self._call(self._domain(name).state)[0]
        return POWER[found] if 0 <= found < len(POWER) else power_state.NOSTATE

    def names(self) -> list[str]:
        """All domains, running or not; those of other people, too."""
        return sorted(str(domain.name()) for domain in self._call(self._conn.listAllDomains))

    def active(self, name: str) -> bool:
        """Whether it runs. Raises NoSuchDomain."""
        return bool(self._call(self._domain(name).isActive))

    def xml(self, name: str) -> str:
        """What it is now, as libvirt tells it. Raises NoSuchDomain."""
        return str(self._call(self._domain(name).XMLDesc))

    def _domain(self, name: str) -> Any:
        return self._call(lambda: self._conn.lookupByName(name))

    def _unless(self, done: Callable[[], Any], call: Callable[[], Any]) -> None:
        """The call; that it fails is no error when ``done``: somebody was faster (drivers say so in various codes)."""
        try:
            call()
        except self._libvirt.libvirtError as error:
            if not self._call(done):
                raise self._words(error) from error

    def _call(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except self._libvirt.libvirtError as error:
            raise self._words(error) from error

    def _words(self, error: Any) -> LibvirtRefused:
        gone = error.get_error_code() == self._libvirt.VIR_ERR_NO_DOMAIN
        return (NoSuchDomain if gone else LibvirtRefused)(str(error))
