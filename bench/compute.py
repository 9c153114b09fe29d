"""Where the time of a new server goes: from the API call to bhyve's start and to the guest's first DHCP packet.

    .venv/bin/python -m bench.compute [--disks files|zfs] [--many 10] [--rounds 3]

Makes a cloud of its own, creates one server alone (several rounds) and then many at once, and splits the time by what
nova and the driver wrote down: scheduling (API call to the claim on the host), image, disk, network, start (the
driver's own phases). bhyve's start is its process's, the DHCP packet is seen on the cable outside of the host.
Seconds. Root.
"""

import argparse
import datetime
import re
import socket
import statistics
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import openstack
import psutil

from bench.machine import described, table

ROOT = Path(__file__).resolve().parents[1]
NAME = "benchcompute"
PHASES = ("image", "disk", "network", "start")
COLUMNS = ("scheduling", *PHASES, "bhyve", "dhcp")
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


def bhyve_start(uuid: str) -> float | None:
    """When the guest's bhyve was started (seconds since the epoch)."""
    for process in psutil.process_iter(["cmdline", "create_time"]):
        words = process.info["cmdline"] or []
        if words and words[0].startswith(f"bhyve: {uuid}"):
            return float(process.info["create_time"])
    return None


def log_times(log: Path, uuid: str) -> dict[str, float]:
    """When the host claimed the server, and the driver's phases."""
    found: dict[str, float] = {}
    for line in log.read_text(errors="replace").splitlines():
        if uuid not in line:
            continue
        if "Attempting claim on node" in line or "Claim successful" in line:
            stamp = datetime.datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=datetime.UTC)
            found.setdefault("claim", stamp.timestamp())
        if "Spawned: " in line:
            for name, seconds in re.findall(r"(\w+) ([0-9.]+) s", line.partition("Spawned: ")[2]):
                found[name] = float(seconds)
    return found


class Bench:
    """One cloud."""

    def __init__(self, cloud: Any, cable: Cable, log: Path) -> None:
        self.cloud, self.cable, self.log = cloud, cable, log
        self.image = cloud.image.find_image("beastack-guest").id
        self.flavor = cloud.compute.find_flavor("b1.tiny").id
        self.network = cloud.network.find_network("provider").id

    def create(self, number: int) -> list[dict[str, float]]:
        """So many servers at once; the times of each."""
        begun: dict[str, float] = {}
        threads = [threading.Thread(target=self._one, args=(n, begun)) for n in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        rows = [self._row(uuid, since) for uuid, since in begun.items()]
        for uuid in begun:
            self.cloud.compute.delete_server(uuid)
        deadline = time.monotonic() + 120
        while any(server.id in begun for server in self.cloud.compute.servers(details=False)):
            if time.monotonic() > deadline:
                raise SystemExit("the servers were not deleted within 120 s")
            time.sleep(0.5)
        return rows

    def _one(self, number: int, begun: dict[str, float]) -> None:
        since = time.time()
        made = self.cloud.compute.create_server(
            name=f"bench{number}", image_id=self.image, flavor_id=self.flavor, networks=[{"uuid": self.network}]
        )
        begun[made.id] = since

    def _row(self, uuid: str, since: float) -> dict[str, float]:
        server = self.cloud.compute.wait_for_server(
            self.cloud.compute.get_server(uuid), wait=300, failures=["ERROR"], interval=0.5
        )
        mac = next(a["OS-EXT-IPS-MAC:mac_addr"] for each in server.addresses.values() for a in each)
        deadline = time.monotonic() + 300
        while mac not in self.cable.first:
            if time.monotonic() > deadline:
                raise SystemExit(f"server {uuid}: no DHCP packet within 300 s")
            time.sleep(0.2)
        found = log_times(self.log, uuid)
        started = bhyve_start(uuid)
        if "claim" not in found or started is None:
            raise SystemExit(f"server {uuid}: nova-compute's log has no claim, or there is no bhyve")
        row = {name: found[name] for name in PHASES}
        return {
            **row,
            "scheduling": found["claim"] - since,
            "bhyve": started - since,
            "dhcp": self.cable.first[mac] - since,
        }


def cells(what: str, rows: list[dict[str, float]]) -> list[str]:
    return [what, *(f"{statistics.median(row[name] for row in rows):.2f}" for name in COLUMNS)]


def acceleration() -> str:
    """What the simulated bhyve's QEMU runs guests with."""
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    qemu = next((line for line in lines if "qemu-system" in line), "")
    return "KVM" if re.search(r"accel[ =]kvm", qemu) else "software emulation"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disks", choices=["files", "zfs"], default="files")
    parser.add_argument("--many", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    description = (ROOT / "clouds" / ("zfs.toml" if options.disks == "zfs" else "all-in-one.toml")).read_text()
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(re.sub(r'(?m)^name = "\w+"', f'name = "{NAME}"', description, count=1))
        file.flush()
        beastack("up", file.name)
    try:
        run_dir = Path("/var/lib/beastack") / NAME
        config = openstack.config.OpenStackConfig(
            config_files=[str(run_dir / "credentials" / "clouds.yaml")], load_envvars=False
        )
        cloud = openstack.connection.Connection(config=config.get_one(cloud=f"{NAME}-demo"))
        gateway = str(next(iter(cloud.network.subnets(name="provider-ipv4"))).gateway_ip)
        admin = openstack.connection.Connection(config=config.get_one(cloud=NAME))
        room = options.many + 1  # and the first server
        admin.set_compute_quotas("demo", instances=room, cores=2 * room, ram=1024 * room)
        cable = Cable(f"bsp{gateway.split('.')[2]}")
        cable.start()
        bench = Bench(cloud, cable, run_dir / "log" / "nova-compute-fbsd1.log")
        first = log_times(bench.log, next(iter(cloud.compute.servers(name="^first$"))).id)
        accelerated = acceleration()
        alone = [row for _ in range(options.rounds) for row in bench.create(1)]
        many = bench.create(options.many)
    finally:
        beastack("down", "--name", NAME)
    print(f"{described()}; guests: {accelerated}; disks: {options.disks}. Median of the servers; bhyve and dhcp count")
    print("from the API call.\n")
    rows = [cells(f"alone ({options.rounds} rounds)", alone), cells(f"{options.many} at once", many)]
    print(table(("seconds", *COLUMNS), rows))
    second = statistics.median(row["image"] + row["disk"] for row in alone)
    work = first["image"] + first["disk"]
    print(f"\nImage and disk of the first server of an image: {work:.2f} s, of the next ones: {second:.2f} s", end=" ")
    print(f"({work / second:.1f} times cheaper).")


if __name__ == "__main__":
    main()
