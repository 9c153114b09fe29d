"""Where the time of a new server goes: from the API call to the hypervisor's start and the guest's first DHCP packet.

    .venv/bin/python -m bench.compute [--disks files|zfs] [--many 10] [--rounds 3] [--libvirt] [--json FILE]

Makes a cloud of its own, creates one server alone (several rounds) and then many at once, and splits the time by what
nova and the driver wrote down: scheduling (API call to the claim on the host), image, disk, network, start (the
driver's own phases). The hypervisor's start is its process's, the DHCP packet is seen on the cable outside of the host.
``--libvirt``: the same of upstream's libvirt driver, on a second host of the same cloud (compute_libvirt.py), in turn.
Seconds. Root.
"""

import argparse
import json
import os
import random
import re
import socket
import statistics
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openstack
import psutil

from beastack.cloud.layout import Layout, existing
from bench import compute_libvirt, debs
from bench.machine import described, table
from bench.server_times import COLUMNS, cells, first_and_next, logged, medians, privileged, ratios, row

ROOT = Path(__file__).resolve().parents[1]
NAME = "benchcompute"
_ETH_ALL = 3


def beastack(*arguments: str) -> str:
    done = subprocess.run(
        [str(ROOT / "beastack"), *arguments], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise SystemExit(f"beastack {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


class Cable(threading.Thread):
    """When each MAC address sent its first DHCP packet, seen on a bridge outside of the host."""

    def __init__(self, bridge: str) -> None:
        super().__init__(daemon=True)
        self.first: dict[str, float] = {}
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_ALL))
        self._socket.bind((bridge, 0))

    def run(self) -> None:
        while True:
            try:
                frame = self._socket.recv(2048)
            except OSError:  # the bridge is gone: the end
                return
            if len(frame) < 42 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
                continue
            start = 14 + (frame[14] & 15) * 4
            if struct.unpack_from(">H", frame, start + 2)[0] == 67:
                self.first.setdefault(frame[6:12].hex(":"), time.time())


def _process(matches: Callable[[list[str]], bool]) -> float | None:
    for process in psutil.process_iter(["cmdline", "create_time"]):
        if matches(process.info["cmdline"] or []):
            return float(process.info["create_time"])
    return None


def bhyve_start(uuid: str) -> float | None:
    """When the guest's bhyve was started (seconds since the epoch)."""
    return _process(lambda words: bool(words) and words[0].startswith(f"bhyve: {uuid}"))


def libvirt_start(uuid: str) -> float | None:
    """When the guest's QEMU was started by libvirt."""
    return _process(lambda words: uuid in words and any(word.startswith("guest=instance-") for word in words))


@dataclass(frozen=True)
class Side:
    """One of the two hosts: its name, its nova-compute's log, and when a guest's hypervisor started."""

    name: str
    host: str
    log: Path
    started: Callable[[str], float | None]
    agent: Path


class Bench:
    """One cloud. Servers are made by the administrator, who may name the host (the scheduler looks at that one)."""

    def __init__(self, cloud: Any, cable: Cable) -> None:
        self.cloud, self.cable = cloud, cable
        self.image = cloud.image.find_image("beastack-guest").id
        self.flavor = cloud.compute.find_flavor("b1.tiny").id
        self.network = cloud.network.find_network("provider").id

    def create(self, side: Side, number: int) -> list[dict[str, float]]:
        """So many servers at once on one host; the times of each."""
        begun: dict[str, float] = {}
        threads = [threading.Thread(target=self._one, args=(side, n, begun)) for n in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        if len(begun) != number:
            raise SystemExit(f"{number - len(begun)} of {number} servers were refused, or not within 120 s")
        rows = [self._row(side, uuid, since) for uuid, since in begun.items()]
        for uuid in begun:
            self.cloud.compute.delete_server(uuid)
        deadline = time.monotonic() + 120
        while any(server.id in begun for server in self.cloud.compute.servers(details=False)):
            if time.monotonic() > deadline:
                raise SystemExit("the servers were not deleted within 120 s")
            time.sleep(0.5)
        return rows

    def _one(self, side: Side, number: int, begun: dict[str, float]) -> None:
        since = time.time()
        made = self.cloud.compute.create_server(
            name=f"bench{number}",
            image_id=self.image,
            flavor_id=self.flavor,
            networks=[{"uuid": self.network}],
            host=side.host,
        )
        begun[made.id] = since

    def _row(self, side: Side, uuid: str, since: float) -> dict[str, float]:
        server = self.cloud.compute.wait_for_server(
            self.cloud.compute.get_server(uuid), wait=300, failures=["ERROR"], interval=0.5
        )
        mac = next(a["OS-EXT-IPS-MAC:mac_addr"] for each in server.addresses.values() for a in each)
        deadline = time.monotonic() + 300
        while mac not in self.cable.first:
            if time.monotonic() > deadline:
                raise SystemExit(f"server {uuid}: no DHCP packet within 300 s")
            time.sleep(0.2)
        said = logged(side.log.read_text(errors="replace").splitlines(), uuid)
        started = side.started(uuid)
        if server.compute_host != side.host or started is None:
            raise SystemExit(f"server {uuid}: it is on {server.compute_host}, or its hypervisor does not run")
        tap = f"tap{next(iter(self.cloud.network.ports(device_id=uuid))).id[:11]}"
        wired = sum(privileged(log.read_text(errors="replace").splitlines(), tap) for log in (side.log, side.agent))
        return row(since, said, started, self.cable.first[mac]) | {"privileged": wired}


def acceleration() -> tuple[str, str]:
    """What the simulated bhyve's QEMU runs guests with: qemu (emulation) or kvm, and the model of its processor."""
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    qemu = next(words for words in lines if words and "qemu-system" in words[0] and "-accel" in words)
    virt = "kvm" if qemu[qemu.index("-accel") + 1].startswith("kvm") else "qemu"
    return virt, qemu[qemu.index("-cpu") + 1]


@contextmanager
def cloud_of(disks: str) -> Iterator[Layout]:
    """A cloud with one host, for as long as the block lasts."""
    description = (ROOT / "clouds" / ("zfs.toml" if disks == "zfs" else "all-in-one.toml")).read_text()
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(re.sub(r'(?m)^name = "\w+"', f'name = "{NAME}"', description, count=1))
        file.flush()
        beastack("up", file.name)
    try:
        layout = existing(NAME)
        if layout is None:
            raise SystemExit(f"up made no cloud {NAME}")
        yield layout
    finally:
        beastack("down", "--name", NAME)


def measured(layout: Layout, options: argparse.Namespace) -> dict[str, Any]:
    """All figures: by side, `first` (one server), `alone` and `many` (lists)."""
    config = openstack.config.OpenStackConfig(
        config_files=[str(layout.credentials / "clouds.yaml")], load_envvars=False
    )
    admin = openstack.connection.Connection(config=config.get_one(cloud=NAME))
    demo = openstack.connection.Connection(config=config.get_one(cloud=f"{NAME}-demo"))
    room = options.many + 1
    admin.set_compute_quotas("admin", instances=room, cores=2 * room, ram=1024 * room)
    cable = Cable(layout.provider_bridge)
    cable.start()
    bench = Bench(admin, cable)
    ours = Side("bhyve", "fbsd1", layout.log("nova-compute-fbsd1"), bhyve_start, layout.log("bridge-agent-fbsd1"))
    uuid = next(iter(demo.compute.servers(name="^first$"))).id
    first = logged(ours.log.read_text(errors="replace").splitlines(), uuid)
    virt, cpu = acceleration()
    results: dict[str, Any] = {"virt": virt, "load": options.load, "sides": {}}
    results["sides"][ours.name] = {"first": first.phases, "alone": [], "many": []}
    sides, other = [ours], None
    try:
        if options.libvirt:
            other = compute_libvirt.Compute(layout, admin, virt, cpu)
            other.start()
            side = Side("libvirt", compute_libvirt.HOST, other.log, libvirt_start, other.host.log("openvswitch-agent"))
            results["sides"][side.name] = {"first": bench.create(side, 1)[0], "alone": [], "many": []}
            sides.append(side)
        for _ in range(options.rounds):
            for side in sides:
                # the agents look each second: not in step with them
                time.sleep(random.uniform(0, 1))  # noqa: S311
                results["sides"][side.name]["alone"] += bench.create(side, 1)
        for side in sides:
            results["sides"][side.name]["many"] += bench.create(side, options.many)
    finally:
        if other:
            other.stop()
    return results


def printed(results: dict[str, Any], options: argparse.Namespace) -> None:
    """Tables."""
    accelerated = "KVM" if results["virt"] == "kvm" else "software emulation"
    print(f"{described()} (before: {results['load']:.1f}); guests: {accelerated}; disks: {options.disks}.")
    print("Median of the servers; hypervisor, outside and dhcp count from the API call.\n")
    sides, lines = results["sides"], []
    for kind, words in (("alone", f"alone ({options.rounds} rounds)"), ("many", f"{options.many} at once")):
        lines += [cells(f"{name}, {words}", side[kind]) for name, side in sides.items()]
        if "libvirt" in sides:
            lines.append(ratios(f"libvirt to bhyve, {words}", sides["libvirt"][kind], sides["bhyve"][kind]))
    print(table(("seconds", *COLUMNS), lines))
    privileged_alone, privileged_many = (
        statistics.median(each["privileged"] for each in sides["bhyve"][kind]) for kind in ("alone", "many")
    )
    print(f"\nbhyve: the privileged calls for one port took {privileged_alone:.2f} s alone,", end=" ")
    print(f"{privileged_many:.2f} s with {options.many} at once (tables of security groups not counted).")
    for name, side in sides.items():
        work, second = first_and_next(side["first"], side["alone"])
        print(f"\n{name}: image and disk of the first server of an image: {work:.2f} s, of the next ones:", end=" ")
        print(f"{second:.2f} s ({work / second:.1f} times cheaper).")
    if "libvirt" in sides:
        met = all(
            medians(sides["bhyve"][kind])["outside"] < medians(sides["libvirt"][kind])["outside"]
            for kind in ("alone", "many")
        )
        print(f"\nLess time outside of the hypervisor than libvirt's: {'yes' if met else 'NO'}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disks", choices=["files", "zfs"], default="files")
    parser.add_argument("--many", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--libvirt", action="store_true", help="the same with upstream's libvirt driver, in turn")
    parser.add_argument("--json", type=Path, help="also write the raw figures there")
    options = parser.parse_args()
    options.load = os.getloadavg()[0]
    if options.libvirt:
        debs.unpacked()  # what cannot be had is said before a cloud is made
    with cloud_of(options.disks) as layout:
        results = measured(layout, options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    printed(results, options)


if __name__ == "__main__":
    main()
