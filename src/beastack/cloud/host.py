"""Where the compute host comes from: a simulated one on Linux, this machine itself on FreeBSD."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from beastack.cloud.bringup import run
from beastack.cloud.errors import CloudError
from beastack.cloud.layout import Layout

SIM = Path(sys.executable).with_name("beastack-sim")
LIMIT = 60.0


class HostProvider(Protocol):
    """Brings the networks and hosts of a cloud up and down."""

    def networks_up(self) -> str:
        """Make the management and provider networks; a note for the summary."""
        ...

    def start(self, host: str, address: str) -> str:
        """Start a host with its management address; a note for the summary."""
        ...

    def stop(self, host: str) -> None:
        """End a host and everything in it."""
        ...

    def networks_down(self) -> None:
        """Remove the networks."""
        ...

    def command(self, host: str, argv: list[str]) -> list[str]:
        """The command line that runs ``argv`` on the host."""
        ...


class SimulatedHosts:
    """Linux: ``beastack-sim``, a program of its own (the cloud command knows nothing of its inside)."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.log = layout.log("sim")

    def _sim(self, *arguments: str) -> None:
        run([str(SIM), *arguments], LIMIT, self.log)

    def networks_up(self) -> str:
        """Two Linux bridges; the provider network's address is the gateway and where a person pings from."""
        layout = self.layout
        self._sim("net", "up", "--name", layout.management_bridge, "--address", f"{layout.address}/24")
        self._sim("net", "up", "--name", layout.provider_bridge, "--address", f"{layout.provider_prefix}.1/24")
        return f"{layout.management_bridge} {layout.address}, {layout.provider_bridge} {layout.provider_prefix}.1"

    def start(self, host: str, address: str) -> str:
        """A simulated FreeBSD host with vtnet0 on the management and em0 on the provider network."""
        layout = self.layout
        folder = layout.host_dir(host)
        folder.mkdir(parents=True, exist_ok=True)
        nics = (f"vtnet0={layout.management_bridge}:{address}/24", f"em0={layout.provider_bridge}")
        flags = [f for nic in nics for f in ("--nic", nic)]
        self._sim("host", "start", "--dir", str(folder), "--name", host, *flags, "--route", f"default={layout.address}")
        return f"vtnet0 {address}, em0 on {layout.provider_bridge}"

    def stop(self, host: str) -> None:
        """End it, also when it was killed before."""
        folder = self.layout.host_dir(host)
        if folder.exists():
            self._sim("host", "stop", "--dir", str(folder))

    def networks_down(self) -> None:
        """Remove both bridges."""
        self._sim("net", "down", "--name", self.layout.management_bridge)
        self._sim("net", "down", "--name", self.layout.provider_bridge)

    def command(self, host: str, argv: list[str]) -> list[str]:
        """By ``beastack-sim host exec``."""
        folder = self.layout.host_dir(host)
        if not (folder / "engine.json").exists():
            known = sorted(p.parent.name for p in self.layout.run_dir.glob("hosts/*/engine.json"))
            raise CloudError(f"no host {host!r} runs in this cloud", remedy=f"hosts: {', '.join(known) or 'none'}")
        return [str(SIM), "host", "exec", "--dir", str(folder), "--", *argv]


class ThisFreeBSD:
    """FreeBSD: the machine itself is the compute host, and the operator's networks are used as they are."""

    def networks_up(self) -> str:
        """Nothing is made: the operator's network is there."""
        return "this machine's own"

    def start(self, host: str, address: str) -> str:
        """Nothing is started: it is this machine."""
        return "this machine"

    def stop(self, host: str) -> None:
        """Nothing: the machine goes on."""

    def networks_down(self) -> None:
        """Nothing was made."""

    def command(self, host: str, argv: list[str]) -> list[str]:
        """The command itself."""
        return argv


def provider(layout: Layout, platform: str = sys.platform) -> HostProvider:
    """The provider for this system; CloudError where there is none."""
    if platform == "linux":
        return SimulatedHosts(layout)
    if platform.startswith("freebsd"):
        return ThisFreeBSD()
    raise CloudError(f"{platform} is not supported", remedy="use Debian 12 or FreeBSD 14.3 or later")


def freebsd_release(layout: Layout, host: str) -> str:
    """What a host says of itself (``uname -sr``), or why it does not answer."""
    try:
        argv = provider(layout).command(host, ["uname", "-sr"])
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except CloudError as e:
        return e.message
    except subprocess.TimeoutExpired:
        return "does not answer within 10 s"
    return done.stdout.strip() or done.stderr.strip() or json.dumps(done.returncode)
