"""nova-compute as upstream has it, with a stop watch around the libvirt driver's methods; none of them is changed.

    python -m bench.libvirt_nova --config-file NOVA.CONF

For each server it writes one line in the form of our own driver's, and one with moments (seconds since the epoch):

    Spawned: image 0.00 s, disk 0.10 s, network 1.20 s, start 0.80 s
    Moments: launch 1764000000.10, launched 1764000000.70, running 1764000001.90

``image``: fetched and converted; ``disk``: the rest of the driver's ``_create_image``; ``network``: the wait for the
port that nova asks neutron for meanwhile, os-vif's plugging, and the wait for neutron's event; ``start``: the domain is
defined, QEMU started (paused) and, after the wait, resumed.
"""

import contextlib
import functools
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import libvirt
from nova.cmd import compute  # first: it decides about threads

# isort: split
from nova.compute.manager import ComputeVirtAPI
from nova.network import model
from nova.virt.libvirt import driver, guest, utils
from oslo_log import log as logging

from beastack.nova.phases import Phases

LOG = logging.getLogger("nova.virt.libvirt.bench")


class Watch(threading.local):
    """What the thread that spawns a server has measured so far."""

    phases: Phases | None = None
    moments: dict[str, float] | None = None

    def of(self, phase: str) -> contextlib.AbstractContextManager[None]:
        """Count what happens within; nothing outside of a spawn."""
        return self.phases.of(phase) if self.phases else contextlib.nullcontext()

    def moment(self, name: str) -> None:
        """Now."""
        if self.moments is not None:
            self.moments[name] = time.time()


WATCH = Watch()


def timed(owner: Any, name: str, phase: str, before: str = "", after: str = "") -> None:
    """Put the stop watch around a function of a class or module."""
    original: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(original)
    def around(*arguments: Any, **named: Any) -> Any:
        with WATCH.of(phase):
            WATCH.moment(before)
            try:
                return original(*arguments, **named)
            finally:
                WATCH.moment(after)

    setattr(owner, name, around)


def waited() -> None:
    """The wait for neutron's events is at the end of a context: that is `network`, what is inside of it is not."""
    original = ComputeVirtAPI.wait_for_instance_event

    @contextlib.contextmanager
    def around(*arguments: Any, **named: Any) -> Iterator[Any]:
        with contextlib.ExitStack() as stack, original(*arguments, **named) as inside:
            yield inside
            stack.enter_context(WATCH.of("network"))  # it ends after the wait, at whose end `original` is left

    ComputeVirtAPI.wait_for_instance_event = around


def spawned() -> None:
    """One spawn, one stop watch."""
    original = driver.LibvirtDriver.spawn

    @functools.wraps(original)
    def around(self: Any, context: Any, instance: Any, *arguments: Any, **named: Any) -> Any:
        WATCH.phases, WATCH.moments = Phases(), {}
        # all four, also where nothing was done
        for phase in ("image", "disk", "network", "start"):
            with WATCH.phases.of(phase):
                pass
        try:
            result = original(self, context, instance, *arguments, **named)
            LOG.info("Spawned: %s", WATCH.phases.words(), instance=instance)
            moments = ", ".join(f"{name} {when:.3f}" for name, when in WATCH.moments.items() if name)
            LOG.info("Moments: %s", moments, instance=instance)
            return result
        finally:
            WATCH.phases = WATCH.moments = None

    driver.LibvirtDriver.spawn = around


def without_loader(xml: str) -> str:
    """The domain without `<loader secure="no"/>`; that it is not secure boot stays said by its `<firmware>`."""
    return re.sub(r"\s*<loader secure=[\"']no[\"']\s*/>", "", xml)


def defined() -> None:
    """What is changed, and outside of nova: libvirt 9.0 refuses that element where it chooses the firmware itself."""
    original = libvirt.virConnect.defineXML

    @functools.wraps(original)
    def around(self: Any, xml: str) -> Any:
        return original(self, without_loader(xml))

    libvirt.virConnect.defineXML = around


def main() -> None:
    defined()
    timed(utils, "fetch_image", "image")
    timed(driver.LibvirtDriver, "_create_image", "disk")
    timed(model.NetworkInfoAsyncWrapper, "wait", "network")
    timed(driver.LibvirtDriver, "plug_vifs", "network")
    timed(driver.LibvirtDriver, "_create_guest", "start")
    timed(guest.Guest, "launch", "start", "launch", "launched")
    timed(guest.Guest, "resume", "start", "", "running")
    waited()
    spawned()
    compute.main()


if __name__ == "__main__":
    sys.exit(main())
