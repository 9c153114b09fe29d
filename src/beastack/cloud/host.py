"""Where the compute host comes from: a simulated one on Linux, this machine itself on FreeBSD."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from beastack.cloud.bringup import run
from beastack.cloud.description import Cluster, Host
from beastack.cloud.errors import CloudError
from beastack.cloud.layout import Layout
from beastack.cloud.this_freebsd import ThisFreeBSD

SIM = Path(sys.executable).with_name("beastack-sim")
LIMIT = 60.0
PACKAGES_LIMIT = 300.0
# rc(8) scripts of the port net/openvswitch, in the order in which they start.
OPENVSWITCH = ("ovsdb-server", "ovs-vswitchd")
POOL_BYTES = 64 << 30
# loader.conf(5) as docs/freebsd.md asks for it
TUNABLES = ("kern.racct.enable=1",)


class HostProvider(Protocol):
    """Brings the networks and hosts of a cloud up and down."""

    def networks_up(self) -> str:
        """Make the management and provider networks; a note for the summary."""
        ...

    def start(self, host: Host, address: str) -> str:
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

    def __init__(self, layout: Layout, cluster: Cluster) -> None:
        self.layout, self.cluster = layout, cluster
        self.log = layout.log("sim")

    def _sim(self, *arguments: str) -> None:
        run([str(SIM), *arguments], LIMIT, self.log)

    def networks_up(self) -> str:
        """A Linux bridge for management and for each physical network.

        The address on the first physical network is its gateway and where a person pings from.
        """
        layout = self.layout
        addresses = {layout.management_bridge: f"{layout.address}/24"}
        addresses |= {
            layout.physical_bridge(n): layout.physical_gateway(n) for n in range(len(self.cluster.physical_network))
        }
        for bridge, address in addresses.items():
            self._sim("net", "up", "--name", bridge, "--address", address)
        return ", ".join(f"{bridge} {address}" for bridge, address in addresses.items())

    def start(self, host: Host, address: str) -> str:
        """A simulated FreeBSD host with vtnet0 on the management network and a card on each physical network."""
        layout = self.layout
        folder = layout.host_dir(host.name)
        folder.mkdir(parents=True, exist_ok=True)
        numbers = {network.name: number for number, network in enumerate(self.cluster.physical_network)}
        cards = {card: layout.physical_bridge(numbers[name]) for name, card in self.cluster.cards(host).items()}
        nics = [f"vtnet0={layout.management_bridge}:{address}/24", *(f"{c}={b}" for c, b in cards.items())]
        flags = [f for nic in nics for f in ("--nic", nic)]
        route = f"default={layout.address}"
        flags += [f for tunable in TUNABLES for f in ("--tunable", tunable)]
        if self.cluster.switch == "openvswitch":
            run([str(SIM), "packages", "openvswitch"], PACKAGES_LIMIT, self.log)
        self._sim("host", "start", "--dir", str(folder), "--name", host.name, *flags, "--route", route)
        if host.zfs:
            self._pool(folder, host.zfs.partition("/")[0])
        if self.cluster.switch == "openvswitch":
            for daemon in OPENVSWITCH:
                self._daemon(folder, daemon)
        return ", ".join([f"vtnet0 {address}", *(f"{card} on {bridge}" for card, bridge in cards.items())])

    def _daemon(self, folder: Path, name: str) -> None:
        """Start a daemon of the host's by rc(8); one that runs goes on."""
        inside = ("host", "exec", "--dir", str(folder), "--", "service", name)
        try:
            self._sim(*inside, "onestatus")
        except CloudError:
            self._sim(*inside, "onestart")

    def _pool(self, folder: Path, name: str) -> None:
        """A pool for the guests' disks, on a sparse file; one that is there from an earlier run is kept."""
        inside = ("host", "exec", "--dir", str(folder), "--")
        try:
            self._sim(*inside, "zpool", "list", name)
            return
        except CloudError:
            disk = folder / "pool.img"
        with open(disk, "wb") as file:
            file.truncate(POOL_BYTES)
        self._sim(*inside, "mdconfig", "-a", "-t", "vnode", "-f", str(disk), "-u", "9")
        self._sim(*inside, "zpool", "create", "-m", "none", name, "/dev/md9")

    def stop(self, host: str) -> None:
        """End it, also when it was killed before."""
        folder = self.layout.host_dir(host)
        if folder.exists():
            self._sim("host", "stop", "--dir", str(folder))

    def networks_down(self) -> None:
        """Remove the bridges."""
        self._sim("net", "down", "--name", self.layout.management_bridge)
        for number in range(len(self.cluster.physical_network)):
            self._sim("net", "down", "--name", self.layout.physical_bridge(number))

    def command(self, host: str, argv: list[str]) -> list[str]:
        """By ``beastack-sim host exec``."""
        folder = self.layout.host_dir(host)
        if not (folder / "engine.json").exists():
            known = sorted(p.parent.name for p in self.layout.run_dir.glob("hosts/*/engine.json"))
            raise CloudError(f"no host {host!r} runs in this cloud", remedy=f"hosts: {', '.join(known) or 'none'}")
        return [str(SIM), "host", "exec", "--dir", str(folder), "--", *argv]


def provider(layout: Layout, cluster: Cluster, platform: str = sys.platform) -> HostProvider:
    """The provider for this system; CloudError where there is none."""
    if platform == "linux":
        other = [host.name for host in cluster.host if host.hypervisor != "bhyve"]
        if other:
            raise CloudError(
                f"host {other[0]}: a simulated host has no libvirt with a driver for bhyve",
                remedy='hypervisor = "bhyve", or FreeBSD (docs/compute.md, "Through libvirt")',
            )
        return SimulatedHosts(layout, cluster)
    if platform.startswith("freebsd"):
        if len(cluster.host) > 1:
            raise CloudError(
                "the description has several hosts, and on FreeBSD this machine is the host",
                remedy="use clouds/all-in-one.toml",
            )
        return ThisFreeBSD(layout)
    raise CloudError(f"{platform} is not supported", remedy="use Debian 12 or FreeBSD 14.3 or later")


def freebsd_release(lab: HostProvider, host: str) -> str:
    """What a host says of itself (``uname -sr``), or why it does not answer."""
    try:
        argv = lab.command(host, ["uname", "-sr"])
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except CloudError as e:
        return e.message
    except subprocess.TimeoutExpired:
        return "does not answer within 10 s"
    return done.stdout.strip() or done.stderr.strip() or json.dumps(done.returncode)
