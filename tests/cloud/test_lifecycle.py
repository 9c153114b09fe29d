"""Every verb of a server's life through the public API, on one guest that is led from one to the next."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openstack import exceptions

from .conftest import NAME, ROOT, beastack, services, until
from .guest import Guest
from .snapshots import taken_amid_writes
from .test_first_server import pings

pytestmark = [pytest.mark.root, pytest.mark.timeout(400)]
WAIT = 120
# A sector near the end of a root disk of 1 GiB.
FAR = 2_000_000


@pytest.fixture(scope="module")
def flavors(api: Any) -> Iterator[dict[str, Any]]:
    sizes = {
        "life.small": {"ram": 256, "vcpus": 1, "disk": 1, "ephemeral": 1, "swap": 64},
        "life.large": {"ram": 384, "vcpus": 2, "disk": 2, "ephemeral": 1, "swap": 128},
        "life.less": {"ram": 256, "vcpus": 1, "disk": 1, "ephemeral": 0, "swap": 0},
    }
    made = {name: api.compute.create_flavor(name=name, is_public=True, **size) for name, size in sizes.items()}
    more = {"beastack:wired_memory": "true", "quota:cpu_quota": "100000", "quota:disk_write_iops_sec": "5000"}
    api.compute.create_flavor_extra_specs(made["life.large"], more)
    yield made
    for flavor in made.values():
        api.compute.delete_flavor(flavor)


@pytest.fixture(scope="module")
def server(demo: Any, flavors: dict[str, Any]) -> Iterator[Any]:
    """With a config drive, an ephemeral disk and a swap disk."""
    made = demo.compute.create_server(
        name="life",
        image_id=demo.image.find_image("beastack-guest").id,
        flavor_id=flavors["life.small"].id,
        networks=[{"uuid": demo.network.find_network("provider").id}],
        security_groups=[{"name": "ping-and-ssh"}],
        key_name="demo",
        config_drive=True,
    )
    try:
        try:
            ready = demo.compute.wait_for_server(made, wait=WAIT)
        except exceptions.ResourceFailure as e:
            raise AssertionError(f"the server failed: {demo.compute.get_server(made).fault}") from e
        yield ready
    finally:
        demo.compute.delete_server(made)
        demo.compute.wait_for_delete(made, wait=60)


@pytest.fixture(scope="module")
def address(demo: Any, server: Any) -> str:
    found = str(next(iter(demo.network.ports(device_id=server.id))).fixed_ips[0]["ip_address"])
    until("the guest to answer ping", lambda: pings(found), WAIT)
    return found


@contextmanager
def shell(address: str) -> Iterator[Guest]:
    until("the guest to answer ping", lambda: pings(address), WAIT)
    with Guest([str(ROOT / "beastack"), "console", "life", "--name", NAME]) as opened:
        yield opened


def is_now(demo: Any, server: Any, status: str, seconds: float = WAIT) -> None:
    demo.compute.wait_for_server(server, status=status, wait=seconds, interval=0.5)


def mark(guest: Guest, word: str) -> None:
    guest.check(f"echo {word} | dd of=/dev/vda bs=512 seek={FAR} conv=notrunc 2>/dev/null; sync")


def read_mark(guest: Guest, disk: str = "vda") -> str:
    return guest.check(f"dd if=/dev/{disk} bs=512 skip={FAR} count=1 2>/dev/null | head -1 | tr -d '\\000'")


def sectors(guest: Guest) -> dict[str, int]:
    lines = guest.check("for d in /sys/block/vd*; do echo ${d##*/} $(cat $d/size); done").splitlines()
    return {line.split()[0]: int(line.split()[1]) for line in lines}


def test_the_guest_has_its_disks_and_its_config_drive(server: Any, address: str) -> None:
    gib, mib = 1 << 21, 1 << 11
    with shell(address) as guest:
        found = sectors(guest)
        assert {name: found[name] for name in ("vda", "vdb", "vdc")} == {"vda": gib, "vdb": gib, "vdc": 64 * mib}
        assert guest.check("cat /sys/block/vdd/ro") == "1"
        assert guest.check("dd if=/dev/vdd bs=1 skip=32769 count=5 2>/dev/null") == "CD001"
        guest.check(f"grep -q {server.id} /dev/vdd")
        mark(guest, "kept")


def test_pause_and_unpause(demo: Any, server: Any, address: str) -> None:
    demo.compute.pause_server(server)
    is_now(demo, server, "PAUSED")
    assert not pings(address)
    demo.compute.unpause_server(server)
    is_now(demo, server, "ACTIVE")
    until("the guest to answer ping again", lambda: pings(address), 30)


@pytest.mark.parametrize("verb", ["suspend_server", "live_migrate_server"])
def test_what_bhyve_cannot_do_is_refused_and_the_guest_runs_on(api: Any, server: Any, address: str, verb: str) -> None:
    if verb == "suspend_server":
        api.compute.suspend_server(server)
    else:
        try:
            api.compute.live_migrate_server(server, host="fbsd1", force=False, block_migration="auto")
        except exceptions.HttpException as error:
            assert error.status_code in (400, 409)  # there is no other host to ask
    until("the task to end", lambda: api.compute.get_server(server).task_state is None, 60)
    assert api.compute.get_server(server).status == "ACTIVE"
    assert pings(address)
    if verb == "suspend_server":
        action = next(a for a in api.compute.server_actions(server) if a.action == "suspend")
        whole = api.compute.get_server_action(action.request_id, server)
        assert whole.message == "Error"


def test_reboots(demo: Any, server: Any, address: str) -> None:
    for kind in ("SOFT", "HARD"):
        demo.compute.reboot_server(server, kind)
        until(f"the {kind} reboot", lambda: demo.compute.get_server(server).task_state is None, WAIT)
        assert demo.compute.get_server(server).status == "ACTIVE"
    with shell(address) as guest:
        assert read_mark(guest) == "kept"


def test_a_guest_that_powers_itself_off_is_seen_at_once(demo: Any, server: Any, address: str) -> None:
    with shell(address) as guest:
        guest.run("(sleep 1; poweroff -f) >/dev/null 2>&1 &")
    begun = time.monotonic()
    until("the server to be SHUTOFF", lambda: demo.compute.get_server(server).status == "SHUTOFF", 40)
    assert time.monotonic() - begun < 30, "the periodic look (60 s) found it, not the event"
    demo.compute.start_server(server)
    is_now(demo, server, "ACTIVE")


def test_rescue(demo: Any, server: Any, address: str) -> None:
    demo.compute.rescue_server(server, image_ref=demo.image.find_image("beastack-guest").id)
    is_now(demo, server, "RESCUE")
    with shell(address) as guest:
        assert read_mark(guest, "vdd") == "kept"  # the guest's own root
        assert read_mark(guest) == ""
    demo.compute.unrescue_server(server)
    is_now(demo, server, "ACTIVE")


def test_a_resize_taken_back_and_one_confirmed(demo: Any, server: Any, address: str, flavors: dict[str, Any]) -> None:
    with shell(address) as guest:
        mark(guest, "before")
    demo.compute.resize_server(server, flavors["life.large"].id)
    is_now(demo, server, "VERIFY_RESIZE")
    with shell(address) as guest:
        assert (sectors(guest)["vda"], sectors(guest)["vdc"]) == (2 << 21, 128 << 11)
        assert guest.check("nproc") == "2"
        assert read_mark(guest) == "before"
        mark(guest, "after")
    demo.compute.revert_server_resize(server)
    is_now(demo, server, "ACTIVE")
    with shell(address) as guest:
        assert sectors(guest)["vda"] == 1 << 21
        assert read_mark(guest) == "before"
    demo.compute.resize_server(server, flavors["life.large"].id)
    is_now(demo, server, "VERIFY_RESIZE")
    demo.compute.confirm_server_resize(server)
    is_now(demo, server, "ACTIVE")
    host = ("host", "--name", NAME, "fbsd1", "--")
    assert '"wired": true' in beastack(*host, "cat", f"{_folder(server)}/machine.json").stdout
    pid = json.loads(beastack(*host, "cat", f"{_folder(server)}/state.json").stdout)["bhyve_pid"]
    rules = {f"process:{pid}:pcpu:deny=200", f"process:{pid}:writeiops:throttle=5000"}
    assert set(beastack(*host, "rctl", f"process:{pid}").stdout.split()) == rules


def test_diagnostics_and_resources(api: Any, server: Any) -> None:
    found = api.compute.get_server_diagnostics(server)
    assert (found.state, found.hypervisor, found.num_cpus) == ("running", "bhyve", 2)
    hypervisor = next(iter(api.compute.hypervisors(details=True)))
    assert (hypervisor.hypervisor_type, hypervisor.status) == ("bhyve", "enabled")
    provider = next(iter(api.placement.resource_providers()))
    body = api.placement.get(f"/resource_providers/{provider.id}/traits", microversion="1.6").json()
    assert {"COMPUTE_FIRMWARE_UEFI", "COMPUTE_IMAGE_TYPE_QCOW2"} <= set(body["traits"])
    usages = api.placement.get(f"/allocations/{server.id}").json()["allocations"]
    assert sum(each["resources"]["MEMORY_MB"] for each in usages.values()) == 384


def _folder(server: Any) -> str:
    return f"/var/lib/beastack/{NAME}/data/hosts/fbsd1/nova/instances/{server.id}"


def test_a_disk_does_not_shrink(demo: Any, server: Any, flavors: dict[str, Any]) -> None:
    demo.compute.resize_server(server, flavors["life.less"].id)
    until("the resize to be given up", lambda: demo.compute.get_server(server).task_state is None, 60)
    found = demo.compute.get_server(server)
    assert (found.status, found.flavor.name) == ("ACTIVE", "life.large")


def test_a_second_card_comes_at_the_next_start_and_goes_when_stopped(demo: Any, server: Any, address: str) -> None:
    port = demo.network.create_port(network_id=demo.network.find_network("provider").id)
    demo.compute.create_server_interface(server, port_id=port.id)
    demo.compute.reboot_server(server, "HARD")
    is_now(demo, server, "ACTIVE")
    with shell(address) as guest:
        assert port.mac_address in guest.check("cat /sys/class/net/*/address")
    demo.compute.stop_server(server)
    is_now(demo, server, "SHUTOFF")
    demo.compute.delete_server_interface(port.id, server)
    tap = f"tap{port.id[:11]}"
    until("its tap to go", lambda: tap not in beastack("host", "--name", NAME, "fbsd1", "--", "ifconfig", "-l").stdout)
    demo.network.delete_port(port)


def test_a_snapshot_of_a_stopped_server_and_a_rebuild(demo: Any, server: Any, address: str) -> None:
    image = demo.compute.create_server_image(server, "life-snapshot", wait=True, timeout=WAIT)
    try:
        found = demo.image.get_image(image.id)
        assert (found.status, found.disk_format) == ("active", "qcow2")
        demo.compute.rebuild_server(server, image=image.id)
        is_now(demo, server, "SHUTOFF")  # as it was
        demo.compute.start_server(server)
        is_now(demo, server, "ACTIVE")
        with shell(address) as guest:
            assert read_mark(guest) == "before"
    finally:
        demo.image.delete_image(image.id)


def test_a_snapshot_of_a_running_server_is_what_a_power_cut_would_have_left(
    demo: Any, server: Any, address: str, tmp_path: Path
) -> None:
    with shell(address) as guest:
        taken_amid_writes(demo, server, guest, tmp_path)


def test_shelve_and_unshelve(demo: Any, server: Any, address: str) -> None:
    with shell(address) as guest:
        mark(guest, "shelved")
    demo.compute.shelve_server(server)
    is_now(demo, server, "SHELVED_OFFLOADED")
    assert beastack("host", "--name", NAME, "fbsd1", "--", "ls", _folder(server), status=None).returncode
    demo.compute.unshelve_server(server)
    is_now(demo, server, "ACTIVE")
    with shell(address) as guest:
        assert read_mark(guest) == "shelved"


def test_a_server_that_cannot_be_is_refused_with_the_reason(api: Any, demo: Any) -> None:
    flavor = api.compute.create_flavor(name="life.shares", ram=256, vcpus=1, disk=1, is_public=True)
    api.compute.create_flavor_extra_specs(flavor, {"quota:cpu_shares": "5"})
    image = demo.image.find_image("beastack-guest").id
    made = demo.compute.create_server(name="refused", image_id=image, flavor_id=flavor.id, networks="none")
    try:
        until("the server to be refused", lambda: demo.compute.get_server(made).status == "ERROR", 60)
        fault = demo.compute.get_server(made).fault
        assert "extra spec quota:cpu_shares=5" in fault["message"]
        found = beastack("host", "--name", NAME, "fbsd1", "--", "ls", _folder(made), status=None)
        assert found.returncode, "nothing was made for it"
    finally:
        demo.compute.delete_server(made)
        demo.compute.wait_for_delete(made, wait=60)
        api.compute.delete_flavor(flavor)


@pytest.mark.parametrize("moment", ["networking", "spawning"])
def test_nova_compute_killed_amid_a_create_and_nothing_is_left(
    demo: Any, flavors: dict[str, Any], cloud: str, moment: str
) -> None:
    made = demo.compute.create_server(
        name=f"killed-{moment}",
        image_id=demo.image.find_image("beastack-guest").id,
        flavor_id=flavors["life.less"].id,
        networks=[{"uuid": demo.network.find_network("provider").id}],
    )
    reached = ["scheduling", "networking", "block_device_mapping", "spawning"]
    wanted = reached[reached.index(moment) :]

    def there() -> bool:
        found = demo.compute.get_server(made)
        return found.status == "ACTIVE" or found.task_state in wanted

    until(f"the task {moment}", there, 60)
    old = services()["nova-compute-fbsd1"]["pid"]
    os.kill(old, signal.SIGKILL)
    ports = [port.id for port in demo.network.ports(device_id=made.id)]
    demo.compute.delete_server(made)
    demo.compute.wait_for_delete(made, wait=WAIT)
    until("nova-compute to be back", lambda: services()["nova-compute-fbsd1"]["pid"] not in (None, old), 60)

    def host(*command: str) -> str:
        return beastack("host", "--name", NAME, "fbsd1", "--", *command, status=None).stdout

    folder = _folder(made).rpartition("/")[0]
    until("its folder to go", lambda: made.id not in host("ls", folder), 90)
    until("its taps to go", lambda: not any(f"tap{port[:11]}" in host("ifconfig", "-l") for port in ports), 90)
    assert made.id not in host("ls", "/dev/vmm")
    assert made.id not in host("cat", f"{folder}/console-ports.json")
    assert not list(demo.network.ports(device_id=made.id))


@contextmanager
def crowded(api: Any) -> Iterator[str]:
    """The host takes more virtual processors than it does by itself; the resource provider's UUID."""
    provider = str(api.placement.get("/resource_providers").json()["resource_providers"][0]["uuid"])
    place = f"/resource_providers/{provider}/inventories/VCPU"

    def ratio(value: float) -> float:
        before: list[float] = []

        def changed() -> bool:  # nova-compute may have changed the provider in between
            found = api.placement.get(place).json()
            before.append(float(found["allocation_ratio"]))
            return int(api.placement.put(place, json={**found, "allocation_ratio": value}).status_code) == 200

        until("the inventory to change", changed, 30)
        return before[0]

    before = ratio(16.0)
    try:
        yield provider
    finally:
        ratio(before)


def test_twenty_servers_created_and_deleted_in_parallel_leave_nothing(
    api: Any, demo: Any, flavors: dict[str, Any], cloud: str
) -> None:
    count = 20
    api.set_compute_quotas("demo", instances=count + 5, cores=2 * count, ram=1024 * count)
    instances = f"/var/lib/beastack/{NAME}/data/hosts/fbsd1/nova/instances"

    def host(*command: str) -> str:
        return beastack("host", "--name", NAME, "fbsd1", "--", *command, status=None).stdout

    def footprint() -> dict[str, set[str]]:
        return {
            "folders": {each for each in host("ls", instances).split() if len(each) == 36},
            "taps": {each for each in host("ifconfig", "-l").split() if each.startswith("tap")},
            "machines": set(host("ls", "/dev/vmm").split()),
            "console ports": set(json.loads(host("cat", f"{instances}/console-ports.json"))),
            "rules": {each for each in host("pfctl", "-s", "Anchors", "-a", "beastack").split() if "tap" in each},
        }

    def left() -> dict[str, set[str]]:
        """What the host has more than before; a server of an earlier test may have gone meanwhile."""
        return {kind: more for kind, found in footprint().items() if (more := found - before[kind])}

    before = footprint()
    with crowded(api) as provider:
        made = [
            demo.compute.create_server(
                name=f"crowd{number}",
                image_id=demo.image.find_image("beastack-guest").id,
                flavor_id=flavors["life.less"].id,
                networks=[{"uuid": demo.network.find_network("provider").id}],
            )
            for number in range(count)
        ]
        try:
            for number, server in enumerate(made):
                if number % 2:  # every other one is deleted at whatever moment it is in
                    demo.compute.delete_server(server)
                else:
                    demo.compute.wait_for_server(server, wait=240, interval=1)
        finally:
            for server in made:
                demo.compute.delete_server(server, ignore_missing=True)
        ours = {server.id for server in made}
        until("every server to go", lambda: not ours & {s.id for s in demo.compute.servers(details=False)}, 240)
    until("the host to be as it was", lambda: not left(), 60, left)
    assert not [port for port in demo.network.ports() if port.device_id in ours]
    allocations = api.placement.get(f"/resource_providers/{provider}/allocations").json()["allocations"]
    assert not ours & set(allocations)
