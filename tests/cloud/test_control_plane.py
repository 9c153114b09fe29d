"""The control plane of a whole cloud, looked at through public APIs, and hurt."""

import os
import signal
from typing import Any

import openstack
import pytest

from .conftest import NAME, beastack, services, until

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]


def test_up_tells_every_steps_time_and_where_things_are(cloud: str) -> None:
    for word in ("rabbitmq", "nova schema", "nova-compute-fbsd1", "server ACTIVE", "http://", "clouds.yaml", "ssh -i"):
        assert word in cloud


def test_the_freebsd_host_offers_its_resources(api: Any) -> None:
    hypervisors = list(api.compute.hypervisors(details=True))
    assert [(h.name, h.state) for h in hypervisors] == [("fbsd1", "up")]
    providers = list(api.placement.resource_providers(name="fbsd1"))
    assert len(providers) == 1
    inventory = {i.resource_class: i.total for i in api.placement.resource_provider_inventories(providers[0])}
    assert inventory["VCPU"] == os.cpu_count()
    assert {"MEMORY_MB", "DISK_GB"} <= set(inventory)


def test_an_image_through_its_api(api: Any) -> None:
    image = api.image.create_image("probe", data=b"x" * 1024, disk_format="raw", container_format="bare", wait=True)
    assert api.image.get_image(image.id).status == "active"
    api.image.delete_image(image.id)


def test_a_physical_network_carries_one_flat_network(api: Any) -> None:
    with pytest.raises(openstack.exceptions.ConflictException, match="physnet1 is in use"):
        api.network.create_network(
            name="probe", provider_network_type="flat", provider_physical_network="physnet1", shared=True
        )


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


def test_the_openstack_command_is_the_administrators_whatever_the_shell_says(
    cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OS_USERNAME", "OS_PROJECT_NAME", "OS_PASSWORD"):
        monkeypatch.setenv(name, "somebody")
    assert "first" in beastack("openstack", "--name", NAME, "server", "list", "--all-projects").stdout


def test_logs_are_listed_and_shown(cloud: str) -> None:
    assert "nova-compute-fbsd1" in beastack("logs", "--name", NAME).stdout
    assert "started, pid" in beastack("logs", "supervisor", "--name", NAME).stdout
