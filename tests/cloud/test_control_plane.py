"""A whole cloud by the command that a person types, looked at through public APIs, hurt, and taken down again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openstack
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
NAME = "citest"

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]


def beastack(*arguments: str, limit: float = 300, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(ROOT / "beastack"), *arguments], capture_output=True, text=True, timeout=limit, check=False
    )
    if status is not None:
        assert done.returncode == status, f"{arguments}: {done.stdout}\n{done.stderr}"
    return done


def footprint() -> dict[str, set[str]]:
    """What a cloud could leave behind on this machine."""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, timeout=10, check=True).stdout
    return {
        "interfaces": {line.split(": ")[1].split("@")[0] for line in links.splitlines()},
        "mounts": {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()},
        "listening": {
            f"{c.laddr.ip}:{c.laddr.port}"
            for c in psutil.net_connections("inet")
            if c.status == psutil.CONN_LISTEN and c.laddr
        },
        "processes": {
            " ".join(p.info["cmdline"] or [])
            for p in psutil.process_iter(["cmdline"])
            if any(NAME in word for word in p.info["cmdline"] or [])
        },
        "namespaces": {
            os.readlink(f"/proc/{pid}/ns/net") for pid in psutil.pids() if os.path.exists(f"/proc/{pid}/ns/net")
        },
    }


def until(what: str, condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def before() -> dict[str, set[str]]:
    beastack("down", "--name", NAME, status=None)
    return footprint()


@pytest.fixture(scope="module")
def cloud(before: dict[str, set[str]]) -> Iterator[str]:
    done = beastack("up", "--name", NAME)
    try:
        yield done.stdout
    finally:
        beastack("down", "--name", NAME, status=None)


@pytest.fixture(scope="module")
def api(cloud: str) -> Any:
    folder = Path(json.loads(beastack("status", "--name", NAME, "--json").stdout)["run_dir"])
    files = openstack.config.OpenStackConfig(
        config_files=[str(folder / "credentials" / "clouds.yaml")], load_envvars=False
    )
    return openstack.connection.Connection(config=files.get_one(cloud=NAME))


def services() -> dict[str, dict[str, Any]]:
    found = json.loads(beastack("status", "--name", NAME, "--json").stdout)
    return {s["name"]: s for s in found["services"]}


def test_up_tells_every_steps_time_and_where_things_are(cloud: str) -> None:
    for word in ("rabbitmq", "nova schema", "nova-compute-fbsd1", "compute    http://", "clouds.yaml"):
        assert word in cloud


def test_the_freebsd_host_offers_its_resources(api: Any) -> None:
    hypervisors = list(api.compute.hypervisors(details=True))
    assert [(h.name, h.state) for h in hypervisors] == [("fbsd1", "up")]
    providers = list(api.placement.resource_providers(name="fbsd1"))
    assert len(providers) == 1
    inventory = {i.resource_class: i.total for i in api.placement.resource_provider_inventories(providers[0])}
    assert inventory["VCPU"] == os.cpu_count()
    assert {"MEMORY_MB", "DISK_GB"} <= set(inventory)


def test_a_flat_network_and_an_image_through_their_apis(api: Any) -> None:
    network = api.network.create_network(
        name="probe", provider_network_type="flat", provider_physical_network="physnet1", shared=True
    )
    try:
        subnet = api.network.create_subnet(network_id=network.id, ip_version=4, cidr="198.18.250.0/24")
        assert subnet.gateway_ip == "198.18.250.1"
    finally:
        api.network.delete_network(network)
    image = api.image.create_image("probe", data=b"x" * 1024, disk_format="raw", container_format="bare", wait=True)
    assert api.image.get_image(image.id).status == "active"
    api.image.delete_image(image.id)


def test_a_second_up_changes_nothing_and_says_so(cloud: str) -> None:
    pids = {name: s["pid"] for name, s in services().items()}
    assert "nothing was changed" in beastack("up", "--name", NAME).stdout
    assert {name: s["pid"] for name, s in services().items()} == pids


def test_the_host_answers_as_freebsd(cloud: str) -> None:
    assert beastack("host", "--name", NAME, "fbsd1", "--", "uname", "-sr").stdout.startswith("FreeBSD 15.1")
    assert "vtnet0" in beastack("host", "--name", NAME, "fbsd1", "--", "ifconfig", "-l").stdout


@pytest.mark.parametrize("name", ["nova-compute-fbsd1", "rabbitmq", "keystone"])
def test_what_is_killed_comes_back_by_itself(cloud: str, api: Any, name: str) -> None:
    pid = services()[name]["pid"]
    os.kill(pid, signal.SIGKILL)
    until(f"{name} to be back", lambda: services()[name]["pid"] not in (None, pid))
    restarts = services()[name]["restarts"]

    def healthy() -> bool:
        try:
            rows = list(api.compute.services(binary="nova-compute"))
        except (openstack.exceptions.SDKException, OSError):
            return False
        return bool(rows) and rows[0].state == "up"

    until("nova-compute to be up", healthy)
    assert services()[name]["restarts"] == restarts, "it dies again and again"


def test_a_guest_boots_on_the_freebsd_host_and_outlives_nova_compute(api: Any, tmp_path: Path) -> None:
    """Image, flavor and server through the public APIs; no network, which this version cannot give."""
    disk = tmp_path / "guest.qcow2"
    subprocess.run(
        [sys.executable, "-m", "beastack.cloud.guestimage", "--out", str(disk)], check=True, timeout=120, cwd=ROOT
    )
    image = api.image.create_image("guest", filename=str(disk), disk_format="qcow2", container_format="bare", wait=True)
    flavor = api.compute.create_flavor(name="probe", ram=256, vcpus=1, disk=1)
    server = api.compute.create_server(name="first", image_id=image.id, flavor_id=flavor.id, networks="none")
    try:
        server = api.compute.wait_for_server(server, wait=90)

        def ready() -> bool:
            return "beastack-guest: ready" in api.compute.get_server_console_output(server)["output"]

        until("the guest's own words on its console", ready)
        os.kill(services()["nova-compute-fbsd1"]["pid"], signal.SIGKILL)
        with subprocess.Popen(
            [str(ROOT / "beastack"), "console", "first", "--name", NAME],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=0,
        ) as attached:
            assert attached.stdin
            assert attached.stdout
            attached.stdin.write("echo alive-$((40+2))\n")
            attached.stdin.flush()
            seen = ""
            deadline = time.monotonic() + 60
            while "alive-42" not in seen and time.monotonic() < deadline:
                seen += attached.stdout.read(1)
            attached.terminate()
        assert "alive-42" in seen
    finally:
        until(
            "nova-compute to be up",
            lambda: next(iter(api.compute.services(binary="nova-compute"))).state == "up",
        )
        api.compute.delete_server(server)
        api.compute.wait_for_delete(server, wait=60)
    assert not [p for p in psutil.process_iter(["cmdline"]) if server.id in " ".join(p.info["cmdline"] or [])]


def test_logs_are_listed_and_shown(cloud: str) -> None:
    assert "nova-compute-fbsd1" in beastack("logs", "--name", NAME).stdout
    assert "started, pid" in beastack("logs", "supervisor", "--name", NAME).stdout


def test_down_leaves_nothing(before: dict[str, set[str]], cloud: str) -> None:
    folder = Path(json.loads(beastack("status", "--name", NAME, "--json").stdout)["run_dir"])
    beastack("down", "--name", NAME)
    assert not folder.exists()
    until("the last sockets to close", lambda: footprint()["listening"] <= before["listening"], 20)
    after = footprint()
    for kind, present in after.items():
        if kind != "namespaces":
            assert present <= before[kind], kind
    assert len(after["namespaces"]) <= len(before["namespaces"])


def test_up_mends_a_cloud_that_was_killed(before: dict[str, set[str]], cloud: str) -> None:
    """Everything is killed at once, the supervisor too; the next up starts anew on the same data."""
    beastack("up", "--name", NAME)
    folder = Path(json.loads(beastack("status", "--name", NAME, "--json").stdout)["run_dir"])
    supervisor = json.loads((folder / "run" / "supervisor.json").read_text())["pid"]
    engine = json.loads((folder / "hosts" / "fbsd1" / "engine.json").read_text())["pid"]
    victims = [supervisor, engine, *[s["pid"] for s in services().values() if s["pid"]]]
    for pid in victims:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
    beastack("up", "--name", NAME)
    assert all(s["state"] == "running" for s in services().values())
    beastack("down", "--name", NAME)
