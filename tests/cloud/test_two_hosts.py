"""A server between two hosts without shared storage: cold migration, taken back and confirmed; evacuation.

One host keeps disks in ZFS volumes, the other in files.
"""

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openstack
import pytest

from .conftest import ROOT, beastack, until
from .guest import Guest
from .snapshots import taken_amid_writes
from .test_first_server import pings

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]
NAME = "citwo"
WAIT = 180
FAR = 2_000_000


@pytest.fixture(scope="module")
def description() -> Iterator[str]:
    text = (ROOT / "clouds" / "two-node.toml").read_text().replace('name = "two"', f'name = "{NAME}"', 1)
    text = text.replace('roles = ["compute", "network"]', 'roles = ["compute", "network"]\nzfs = "tank/beastack"', 1)
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        yield file.name


@pytest.fixture(scope="module")
def two(description: str) -> Iterator[Any]:
    """The administrator of a cloud of two hosts."""
    beastack("down", "--name", NAME, status=None)
    beastack("up", description)
    try:
        files = [str(Path("/var/lib/beastack") / NAME / "credentials" / "clouds.yaml")]
        config = openstack.config.OpenStackConfig(config_files=files, load_envvars=False)
        yield openstack.connection.Connection(config=config.get_one(cloud=NAME))
    finally:
        beastack("down", "--name", NAME, status=None)


@pytest.fixture(scope="module")
def server(two: Any) -> Any:
    """The first server, on fbsd1, which is the network's host, too."""
    found = next(iter(two.compute.servers(all_projects=True, name="^first$")))
    if two.compute.get_server(found).compute_host != "fbsd1":
        move(two, found)
        two.compute.confirm_server_resize(found)
        is_now(two, found, "ACTIVE", "fbsd1")
    return two.compute.get_server(found)


def is_now(two: Any, server: Any, status: str, host: str) -> None:
    two.compute.wait_for_server(server, status=status, wait=WAIT, failures=["ERROR"], interval=0.5)
    assert two.compute.get_server(server).compute_host == host


def move(two: Any, server: Any) -> None:
    """To the other host: the driver does not offer itself for a cold migration to the same one."""
    two.compute.migrate_server(server)
    two.compute.wait_for_server(server, status="VERIFY_RESIZE", wait=WAIT, failures=["ERROR"], interval=0.5)


@contextmanager
def shell(server: Any) -> Iterator[Guest]:
    address = next(each["addr"] for found in server.addresses.values() for each in found)
    until("the guest to answer ping", lambda: pings(address), WAIT)
    with Guest([str(ROOT / "beastack"), "console", "first", "--name", NAME]) as opened:
        yield opened


def marked(server: Any) -> str:
    with shell(server) as guest:
        return guest.check(f"dd if=/dev/vda bs=512 skip={FAR} count=1 2>/dev/null | head -1 | tr -d '\\000'")


def zfs(*options: str) -> str:
    """What the host that has a pool lists: a name and what it is a clone of a line."""
    return beastack("host", "--name", NAME, "fbsd1", "--", "zfs", "list", "-H", "-o", "name,origin", *options).stdout


def left_on(host: str, server: Any) -> bool:
    """Whether a host still has the server's folder."""
    folder = f"/var/lib/beastack/{NAME}/data/hosts/{host}/nova/instances"
    return server.id in beastack("host", "--name", NAME, host, "--", "ls", folder).stdout


def test_a_snapshot_of_a_volume_amid_writes(two: Any, server: Any, tmp_path: Path) -> None:
    with shell(server) as guest:
        taken_amid_writes(two, server, guest, tmp_path)
    assert f"{server.id}.root@" not in zfs("-t", "snapshot"), "what was read from is gone"


def test_a_migration_taken_back_and_one_confirmed(two: Any, server: Any) -> None:
    with shell(server) as guest:
        guest.check(f"echo mine | dd of=/dev/vda bs=512 seek={FAR} conv=notrunc 2>/dev/null; sync")
    move(two, server)
    is_now(two, server, "VERIFY_RESIZE", "fbsd2")
    assert marked(server) == "mine"
    with shell(server) as guest:
        guest.check(f"echo lost | dd of=/dev/vda bs=512 seek={FAR} conv=notrunc 2>/dev/null; sync")
    two.compute.revert_server_resize(server)
    is_now(two, server, "ACTIVE", "fbsd1")
    assert marked(server) == "mine"
    assert not left_on("fbsd2", server)
    move(two, server)
    two.compute.confirm_server_resize(server)
    is_now(two, server, "ACTIVE", "fbsd2")
    assert marked(server) == "mine"
    until("the source to be cleaned", lambda: not left_on("fbsd1", server), 30)
    assert server.id not in zfs()


def test_a_server_of_a_dead_host_lives_on_another_and_the_host_returns(two: Any, server: Any, description: str) -> None:
    engine = json.loads((Path("/var/lib/beastack") / NAME / "hosts" / "fbsd2" / "engine.json").read_text())
    os.kill(engine["pid"], signal.SIGKILL)  # everything on the host dies with it
    service = next(s for s in two.compute.services(binary="nova-compute") if s.host == "fbsd2")
    two.compute.update_service_forced_down(service, "fbsd2", "nova-compute", True)
    two.compute.evacuate_server(server)
    until("the server on the other host", lambda: two.compute.get_server(server).compute_host == "fbsd1", WAIT)
    is_now(two, server, "SHUTOFF", "fbsd1")  # as nova does since 2.95: a person starts it
    two.compute.start_server(server)
    is_now(two, server, "ACTIVE", "fbsd1")
    assert marked(server) == ""  # its disk was the dead host's; this one is new from the image
    root = next(line for line in zfs().splitlines() if f"{server.id}.root" in line)
    assert root.endswith("@ready"), "a clone of the image"
    beastack("up", description)
    two.compute.update_service_forced_down(service, "fbsd2", "nova-compute", False)
    until("the returned host to forget the server", lambda: not left_on("fbsd2", server), WAIT)
    is_now(two, server, "ACTIVE", "fbsd1")
