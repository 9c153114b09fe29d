"""The first server: made, and waited for until a person can reach it."""

import re
import subprocess
from pathlib import Path
from typing import Any

from beastack.cloud import waits
from beastack.cloud.errors import CloudError
from beastack.cloud.first.resources import FLAVORS, GROUP, IMAGE, KEY, NETWORK

NAME = "first"
ACTIVE_LIMIT = 180.0
GUEST_LIMIT = 120.0
RUNNING = 1


def agents_alive(cloud: Any, hosts: set[str], kind: str) -> str:
    """Wait until the server counts every host's agent of this kind as alive: before, no port can be bound there."""

    def alive() -> bool:
        found = {a.host for a in cloud.network.agents() if a.agent_type == kind and a.is_alive}
        return bool(hosts <= found)

    waits.until(f"Neutron to hear of the {kind}s of {', '.join(sorted(hosts))}", alive, 60, every=0.25)
    return "alive"


def find(cloud: Any) -> Any | None:
    """The server, or None."""
    return next((s for s in cloud.compute.servers(name=f"^{NAME}$")), None)


def ensure(cloud: Any) -> str:
    """Create the server unless it is there. Raises CloudError when the one that is there is broken."""
    found = find(cloud)
    if found is not None:
        if found.status == "ERROR":
            raise _broken(found)
        return f"{NAME} is there"
    image = next(i for i in cloud.image.images(name=IMAGE) if not i.is_hidden)
    flavor = cloud.compute.find_flavor(next(iter(FLAVORS)), ignore_missing=False)
    network = cloud.network.find_network(NETWORK, ignore_missing=False)
    cloud.compute.create_server(
        name=NAME,
        image_id=image.id,
        flavor_id=flavor.id,
        networks=[{"uuid": network.id}],
        key_name=KEY,
        security_groups=[{"name": GROUP}],
    )
    return f"made {NAME}"


def _broken(server: Any) -> CloudError:
    words = (server.fault or {}).get("message", "no reason given")
    return CloudError(
        f"server {NAME} is in state ERROR: {words}",
        remedy=f"see ./beastack logs nova-compute-fbsd1, then ./beastack openstack server delete {NAME} and up again",
    )


def wait_active(cloud: Any) -> str:
    """Wait until the server is ACTIVE and its machine runs; one that a person has switched off stays off."""
    state = ""

    def active() -> bool:
        nonlocal state
        server = find(cloud)
        if server is None:
            raise CloudError(f"server {NAME} was deleted meanwhile", remedy="./beastack up")
        if server.status == "ERROR":
            raise _broken(server)
        state = server.status
        return bool(state == "SHUTOFF" or (state == "ACTIVE" and server.power_state == RUNNING))

    waits.until(f"server {NAME} to be ACTIVE", active, ACTIVE_LIMIT, every=0.25)
    return state


def address(cloud: Any) -> str:
    """The IPv4 address that Neutron chose for the server's port."""
    server = find(cloud)
    if server is None:
        raise CloudError(f"there is no server {NAME}", remedy="./beastack up")
    port = next(iter(cloud.network.ports(device_id=server.id)))
    return next(str(f["ip_address"]) for f in port.fixed_ips if "." in f["ip_address"])


def wait_ping(target: str, log: Path) -> str:
    """Wait until the guest answers ping from this machine."""

    def answers() -> bool:
        argv = ["ping", "-n", "-c", "1", "-W", "1", target]
        try:
            done = subprocess.run(argv, capture_output=True, timeout=5, check=False)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    waits.until(f"{target} to answer ping", answers, GUEST_LIMIT, log)
    return target


def since_boot(console: str) -> str:
    """What the guest has said since it started last."""
    return console.rpartition("beastack-guest: up")[2]


def wait_said(cloud: Any, what: str, pattern: str) -> str:
    """Wait for words of the guest on its console since its last start; the first group of ``pattern``."""
    words: list[str] = []

    def said() -> bool:
        server = find(cloud)
        if server is not None:
            output = cloud.compute.get_server_console_output(server)["output"]
            words.extend(re.findall(pattern, since_boot(output or "")))
        return bool(words)

    waits.until(f"the guest's words about its {what} (./beastack console {NAME})", said, GUEST_LIMIT, every=0.5)
    return words[-1]


def wait_lease(cloud: Any, expected: str) -> str:
    """Wait until the guest says that it took the expected address; CloudError when it is another one."""
    said = wait_said(cloud, "address", r"beastack-guest: address ([0-9.]+)/")
    if said != expected:
        raise CloudError(f"the guest has the address {said}, Neutron gave {expected}", remedy="./beastack logs")
    return said


def wait_metadata(cloud: Any) -> str:
    """Wait until the guest says that it read its own id from the metadata service."""
    server = find(cloud)
    said = wait_said(cloud, "metadata", r"beastack-guest: metadata uuid (\S+)")
    if server is None or said != server.id:
        raise CloudError(f"the metadata service told the guest that it is {said}", remedy="./beastack logs")
    return said
