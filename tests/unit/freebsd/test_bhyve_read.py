"""The real program's answers (10, 13) and what is made of them."""

import pytest
from tests.unit.freebsd.recorded import recorded
from tests.unit.freebsd.test_bhyve import SEEN, SMALL
from tests.unit.transcripts import FakeHost

from beastack.freebsd import bhyve, bhyve_read
from beastack.freebsd.errors import MachineRefused, NoSuchMachine, UnexpectedOutput

STEPS = recorded("10-bhyve.txt")
DUMPS = [s for s in STEPS if "config.dump=1" in s.command and s.rc == 1]


@pytest.mark.parametrize("step", DUMPS, ids=str)
def test_every_recorded_dump_is_read(step: object) -> None:
    found = bhyve_read.parse_config(step.output)  # type: ignore[attr-defined]
    assert found["name"] == step.command.split()[-1]  # type: ignore[attr-defined]
    assert found["config.dump"] == "1"


def test_a_machine_is_tried() -> None:
    command = " ".join(["bhyve", "-o", "config.dump=1", *bhyve.argv(SMALL, SEEN)[1:]])
    host = FakeHost({command: (DUMPS[0].output, 1)})
    assert bhyve_read.try_machine(host, SMALL, SEEN)["bootvars"] == "/tmp/vars.fd"
    refused = next(s for s in STEPS if "nosuchdevice" in s.command)
    for answer in ((refused.output, refused.rc), ("started\n", 0)):
        with pytest.raises(MachineRefused if answer[1] else Exception, match=r"unknown device|started"):
            bhyve_read.try_machine(FakeHost({command: answer}), SMALL, SEEN)


@pytest.mark.parametrize("text", ["", "x", "a=1\n", "name=x\nname=y\n", DUMPS[0].output[:200], "name=x\n\0\n"])
def test_dumps_that_are_not_understood(text: str) -> None:
    with pytest.raises(UnexpectedOutput):
        bhyve_read.parse_config(text)


def test_counters() -> None:
    step = next(s for s in recorded("13-bhyve-run.txt") if "--get-stats" in s.command)
    found = bhyve_read.parse_stats(step.output)
    assert found["total number of vm exits"] == 135371
    assert found["Resident memory"] == 40968192
    assert bhyve_read.parse_stats("vcpu0 stats:\n" + step.output) == found
    with pytest.raises(UnexpectedOutput):
        bhyve_read.parse_stats("what?\n")
    gone = next(s for s in STEPS if s.command == "bhyvectl --vm=nosuch --destroy")
    with pytest.raises(NoSuchMachine):
        bhyve_read.read_stats(FakeHost({"bhyvectl --vm=nosuch --get-stats": (gone.output, 1)}), "nosuch")
