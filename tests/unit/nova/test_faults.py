"""nova-compute (and the privileged side with it) killed at every step of spawn, resize and delete.

A child of the test does the work and ends itself, without any cleaning up, at its N-th change of the host: a file made,
renamed or removed, a command begun. Then a new driver starts, and nova does what it does after such an end. Nothing may
be left, and no guest lost. N grows until the work comes to its end by itself (BEASTACK_EVERY_STEP=1: with volumes,
too, by one).
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from nova.compute import power_state

from beastack.nova.driver import BhyveDriver
from beastack.privsep import volumes
from nova import objects

from .fakes import UUID
from .lab import CONF, Lab
from .pool import Pool
from .test_moving import AWAY, HERE, LOCAL, THERE, flavor

_CHANGES = {
    *("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink", "subprocess.Popen"),
    "beastack.zfs",
}
_KILLED = 77


@pytest.fixture(params=["files", "volumes"])
def lab(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    if request.param == "volumes":
        with Pool(tmp_path, monkeypatch):
            yield from _lab(tmp_path, monkeypatch)
    else:
        yield from _lab(tmp_path, monkeypatch)


def _lab(base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    made = Lab(base, monkeypatch)
    CONF.set_override("my_ip", HERE)
    CONF.set_override("handover_port", 0, "beastack")
    made.driver = fresh(made)
    made.instance.flavor.swap = 16
    yield made
    for process in ours(made):
        process.kill()
    CONF.reset()
    CONF.clear()


def fresh(lab: Lab) -> BhyveDriver:
    """nova-compute starts."""
    driver = BhyveDriver(lab.virtapi)
    driver.init_host("fbsd1")
    return driver


def ours(lab: Lab) -> list[psutil.Process]:
    """Supervisors and guests of this test."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or ())
        if str(lab.host.base) in words and process.pid != os.getpid():
            found.append(process)
    return found


def killed_at(step: int, lab: Lab, work: Callable[[], Any]) -> bool:
    """Do it in a child that ends at its step-th change; whether it came so far."""
    pid = os.fork()
    if pid:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status in (0, _KILLED), f"step {step}: the work itself failed"
        return status == _KILLED
    left = step

    def count(event: str, values: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event == "open" and isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR)
        if getattr(volumes.HOST, "inside", False) or not (writes or event in _CHANGES):
            return
        if event == "beastack.zfs" and values[0] in ("list", "get"):
            return
        if "/dev/null" in str(values[0]):
            return
        left -= 1
        if left == 0:
            os._exit(_KILLED)

    status = 1
    try:
        sys.addaudithook(count)
        work()
        status = 0
    finally:
        os._exit(status)


def every_step(lab: Lab, begin: Callable[[], Any], work: Callable[[], Any], after: Callable[[int], Any]) -> int:
    """``begin``, ``work`` cut off at step N, ``after``: for each N; how many there were."""
    step = 1
    while True:
        begin()
        cut = killed_at(step, lab, work)
        lab.driver = fresh(lab)
        after(step)
        if not cut:
            print(f"{step - 1} steps")  # -s shows it
            return step - 1
        # volumes differ in few steps, and each costs a start of a guest: every third of them
        step += 3 if lab.driver._store.kind == "zfs" and not os.environ.get("BEASTACK_EVERY_STEP") else 1
        assert step < 400


def nothing_is_left(lab: Lab, step: int) -> None:
    assert not lab.folder.exists(), f"step {step}"
    assert lab.taps == [], f"step {step}"
    assert lab.driver._consoles._ports._read() == {}, f"step {step}"
    assert lab.driver._store.disks(UUID) == {}, f"step {step}"
    assert lab.driver.list_instances() == [], f"step {step}"
    lab.until(lambda: not ours(lab))
    left = {each.suffix for each in (lab.folder.parent / "_base").iterdir()}
    assert left <= {".raw", ".used", ".lock"}, f"step {step}: {left}"


def delete(lab: Lab) -> None:
    lab.driver.destroy(None, lab.instance, lab.network_info)


def test_spawn(lab: Lab) -> None:
    def after(step: int) -> None:
        delete(lab)
        nothing_is_left(lab, step)

    assert every_step(lab, lambda: None, lab.spawn, after) > 15
    lab.spawn()
    assert lab.state() == power_state.RUNNING


def test_a_spawn_that_is_tried_again(lab: Lab) -> None:
    """Without a delete between: what is there half is replaced."""

    def after(step: int) -> None:
        lab.driver.destroy(None, lab.instance, lab.network_info)
        lab.spawn()
        assert lab.state() == power_state.RUNNING, f"step {step}"
        delete(lab)

    killed_at(12, lab, lab.spawn)
    lab.driver = fresh(lab)
    after(12)


def test_delete(lab: Lab) -> None:
    def after(step: int) -> None:
        delete(lab)  # nova begins the delete anew
        nothing_is_left(lab, step)

    assert every_step(lab, lab.spawn, lambda: delete(lab), after) > 5


SMALL = {"root_gb": 1, "memory_mb": 256, "swap": 16}


def write(lab: Lab, text: bytes) -> None:
    lab.driver._store.write(UUID, "root", 0, text)


def content(lab: Lab, count: int) -> bytes:
    with lab.driver._store.reading(UUID, "root") as (_size, read):
        return bytes(read(0, 4096)[:count])


@pytest.mark.parametrize("dest", [HERE, THERE])
def test_leaving_for_a_resize(lab: Lab, dest: str) -> None:
    """nova's _init_instance: a crash in resize_migrating is rolled back on the source."""
    lab.spawn()
    write(lab, b"precious")
    migration = LOCAL if dest == HERE else AWAY

    def after(step: int) -> None:
        lab.instance.flavor = flavor(**SMALL)
        lab.driver.finish_revert_migration(None, lab.instance, lab.network_info, migration)
        assert lab.state() == power_state.RUNNING, f"step {step}"
        assert content(lab, 8) == b"precious", f"step {step}"
        assert lab.taps == ["tap0f1e2d3c-11"]
        names = {each.name for each in lab.folder.iterdir()}
        assert not names & {"kept", "offer.json", "machine.moved.json"}, f"step {step}: {names}"

    lab.instance.flavor = flavor(**SMALL)
    assert every_step(
        lab,
        lambda: None,
        lambda: lab.driver.migrate_disk_and_power_off(None, lab.instance, dest, flavor(), lab.network_info),
        after,
    )
    delete(lab)
    nothing_is_left(lab, 0)


def test_finishing_and_confirming_on_one_host(lab: Lab) -> None:
    def begin() -> None:
        lab.instance.flavor = flavor(**SMALL)
        lab.spawn()
        write(lab, b"precious")
        told.append(lab.driver.migrate_disk_and_power_off(None, lab.instance, HERE, flavor(), lab.network_info))
        lab.instance.flavor = flavor()

    def finish() -> None:
        lab.driver.finish_migration(
            None, LOCAL, lab.instance, told[-1], lab.network_info, lab.image, True, {}, None, True
        )

    def repeat(step: int) -> None:
        finish()
        assert (lab.state(), content(lab, 8)) == (power_state.RUNNING, b"precious"), f"step {step}"
        assert lab.driver._store.disks(UUID)["root"] == 2 << 30
        for _ in range(2):
            lab.driver.confirm_migration(None, LOCAL, lab.instance, lab.network_info)
        delete(lab)
        nothing_is_left(lab, step)

    told: list[str] = []
    assert every_step(lab, begin, finish, repeat)


def test_reverting_on_one_host(lab: Lab) -> None:
    def begin() -> None:
        lab.instance.flavor = flavor(**SMALL)
        lab.spawn()
        write(lab, b"precious")
        told = lab.driver.migrate_disk_and_power_off(None, lab.instance, HERE, flavor(), lab.network_info)
        lab.instance.flavor = flavor()
        lab.driver.finish_migration(None, LOCAL, lab.instance, told, lab.network_info, lab.image, True, {}, None, True)
        lab.driver.destroy(None, lab.instance, lab.network_info, None, False)
        lab.driver._store.write(UUID, "root", 0, b"replaced")
        lab.instance.flavor = flavor(**SMALL)

    def revert() -> None:
        lab.driver.finish_revert_migration(None, lab.instance, lab.network_info, LOCAL)

    def repeat(step: int) -> None:
        revert()
        assert (lab.state(), content(lab, 8)) == (power_state.RUNNING, b"precious"), f"step {step}"
        assert lab.driver._store.disks(UUID) == {"root": 1 << 30, "swap": 16 << 20}
        delete(lab)
        nothing_is_left(lab, step)

    assert every_step(lab, begin, revert, repeat)
    assert objects.Flavor
