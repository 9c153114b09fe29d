"""The watch over guards tells what it finds, and outlives what it cannot find out."""

import threading

import pytest

from beastack.neutron.ovs.watch import GuardWatch


def test_what_was_open_is_told_and_an_error_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    looks: list[int] = []
    done = threading.Event()

    def keep() -> list[str]:
        looks.append(1)
        if len(looks) == 1:
            raise RuntimeError("the privileged side is away")
        if len(looks) == 3:
            done.set()
        return ["tap1"] if len(looks) == 2 else []

    watch = GuardWatch(keep, 0.01)
    watch.start()
    assert done.wait(5)
    watch.stop()
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "could not be looked at" in errors[0]
    assert errors[1].startswith("Port tap1 had lost its guard")
    assert len(errors) == 2
