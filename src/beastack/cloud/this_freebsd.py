"""FreeBSD: the machine itself is the compute host, and the operator's networks are used as they are.

What the cloud's agents and nova-compute made on it carries marks (docs/contracts.md); ``clear`` ends and removes that,
and nothing else.
"""

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from beastack.cloud.description import Host as Description
from beastack.cloud.errors import CloudError
from beastack.cloud.layout import Layout
from beastack.freebsd import ifnet, jail, pf
from beastack.freebsd.errors import HostError
from beastack.freebsd.host import Host, LocalHost
from beastack.freebsd.ifnet_read import interfaces_in_group, list_interfaces

GROUP = "beastack"
JAILS = ("qdhcp-", "qrouter-")
PHYSICAL = "em0"
GUEST = Path(sys.executable).with_name("beastack-guest")
# Seconds that a guest has between its power button and its end, and the command with it.
GUEST_GRACE = 5
GUEST_LIMIT = 60.0


class ThisFreeBSD:
    """The provider of one host: this machine."""

    def __init__(self, layout: Layout, host: Host | None = None) -> None:
        self.layout = layout
        self._host = host or LocalHost()

    def networks_up(self) -> str:
        """Nothing is made; CloudError says what the operator's network lacks."""
        present = list_interfaces(self._host)
        have = {address.split("/")[0] for found in present.values() for address in found.inet}
        for address in (self.layout.address, self.layout.host_address(1)):
            if address not in have:
                remedy = f"give it to an interface of this machine, for instance: ifconfig lo0 inet {address}/32 alias"
                raise CloudError(f"no interface has the address {address}", remedy=remedy)
        if PHYSICAL not in present:
            remedy = f"ifconfig NAME name {PHYSICAL}: another name for physnet1's interface cannot be set yet"
            raise CloudError(f"there is no interface {PHYSICAL} for the provider network", remedy=remedy)
        return "this machine's own"

    def start(self, host: Description, address: str) -> str:
        """Nothing is started: it is this machine."""
        return "this machine"

    def stop(self, host: str) -> None:
        """End the guests, and remove what the agents made; CloudError names what could not be."""
        failed = [*self._end_guests(host), *clear(self._host)]
        if failed:
            raise CloudError("not removed: " + "; ".join(failed), remedy="./beastack down again, or by hand")

    def _end_guests(self, host: str) -> list[str]:
        """Every guest by its supervisor; what bhyve(8) a lost supervisor left is destroyed by name."""
        failed = []
        for machine in sorted(self.layout.data("hosts").glob(f"{host}/nova/instances/*/machine.json")):
            uuid = machine.parent.name
            argv = [str(GUEST), "stop", "--dir", str(machine.parent), "--grace", str(GUEST_GRACE)]
            try:
                # status 1: nobody supervises it, so it does not run or is a stray
                done = subprocess.run(argv, capture_output=True, text=True, timeout=GUEST_LIMIT, check=False)
                if done.returncode not in (0, 1):
                    failed.append(f"guest {uuid}: {done.stderr.strip()}")
                self._host.run(["bhyvectl", f"--vm={uuid}", "--destroy"], check=False)
            except (subprocess.TimeoutExpired, OSError, HostError) as e:
                failed.append(f"guest {uuid}: {e}")
        return failed

    def networks_down(self) -> None:
        """Nothing was made."""

    def command(self, host: str, argv: list[str]) -> list[str]:
        """The command itself."""
        return argv


def clear(host: Host) -> list[str]:
    """Remove our jails with all that runs in them, our rules and interfaces; what could not be, with the reason."""
    failed: list[str] = []
    removals: tuple[tuple[str, Callable[[], Iterable[str]], Callable[[Host, str], None]], ...] = (
        ("jail", lambda: [name for name in jail.list_jails(host) if name.startswith(JAILS)], jail.remove),
        ("rules of", lambda: pf.list_anchors(host), pf.unload),
        ("interface", lambda: interfaces_in_group(host, GROUP), ifnet.destroy),
    )
    for kind, names, remove in removals:
        try:
            found = list(names())
        except HostError as e:
            failed.append(f"{kind}: cannot be listed: {e}")
            continue
        for name in found:
            try:
                remove(host, name)
            except HostError as e:
                failed.append(f"{kind} {name}: {e}")
    return failed
