"""The end of a cloud: last in this folder by its name. Nothing is left, and what was killed is mended."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from .conftest import NAME, beastack, connection, footprint, services, status, until
from .test_first_server import pings

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]


def test_down_leaves_nothing(before: dict[str, set[str]], cloud: str) -> None:
    folder = Path(status()["run_dir"])
    beastack("down", "--name", NAME)
    assert not folder.exists()
    until("the last sockets to close", lambda: footprint()["listening"] <= before["listening"], 20)
    after = footprint()
    for kind, present in after.items():
        if kind != "namespaces":
            assert present <= before[kind], kind
    assert len(after["namespaces"]) <= len(before["namespaces"])


def test_up_mends_a_cloud_that_was_killed(before: dict[str, set[str]], cloud: str) -> None:
    """Everything is killed at once, the supervisor and the host too; the next up starts anew on the same data. The
    guest that ran runs again, the one that a person had stopped does not.
    """
    beastack("up", "--name", NAME)
    ran, stopped, address = ran_and_stopped()
    folder = Path(status()["run_dir"])
    supervisor = json.loads((folder / "run" / "supervisor.json").read_text())["pid"]
    engine = json.loads((folder / "hosts" / "fbsd1" / "engine.json").read_text())["pid"]
    victims = [supervisor, engine, *[s["pid"] for s in services().values() if s["pid"]]]
    for pid in victims:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
    beastack("up", "--name", NAME)
    assert all(s["state"] == "running" for s in services().values())
    until("the guest that ran to answer ping", lambda: pings(address), 120)
    demo = connection(f"{NAME}-demo")
    assert (demo.compute.get_server(ran).status, demo.compute.get_server(stopped).status) == ("ACTIVE", "SHUTOFF")
    machines = beastack("host", "--name", NAME, "fbsd1", "--", "ls", "/dev/vmm").stdout.split()
    assert machines == [ran.id]
    beastack("down", "--name", NAME)


def ran_and_stopped() -> tuple[Any, Any, str]:
    """A new server, the first one, which is stopped, and the address of the new one."""
    demo = connection(f"{NAME}-demo")
    stopped = demo.compute.find_server("first")
    demo.compute.stop_server(stopped)
    ran = demo.compute.create_server(
        name="ran",
        image_id=demo.image.find_image("beastack-guest").id,
        flavor_id=demo.compute.find_flavor(stopped.flavor.name).id,
        networks=[{"uuid": demo.network.find_network("provider").id}],
        security_groups=[{"name": "ping-and-ssh"}],
    )
    demo.compute.wait_for_server(ran, wait=120, interval=0.5)
    demo.compute.wait_for_server(stopped, status="SHUTOFF", wait=120, interval=0.5)
    port = next(iter(demo.network.ports(device_id=ran.id)))
    return ran, stopped, str(port.fixed_ips[0]["ip_address"])
