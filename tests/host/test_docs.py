"""docs/freebsd.md: every command of the page is typed on the host, with names of things that are there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from beastack.freebsd import car, ifnet, netgraph, pf
from beastack.freebsd.bpf_guard import guard
from beastack.freebsd.errors import CommandFailed
from beastack.freebsd.host import Host
from beastack.freebsd.pf_rules import ICMP, Rule

from .lab import Lab
from .targets import Target

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "freebsd.md").read_text()
COMMANDS = [
    line.removeprefix("# ")
    for block in re.findall(r"^```console\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
NAMES = {"TAP": "bsctap1", "BRIDGE": "bscbr0", "JAIL": "bsc-vm1", "TABLE": "bsc_doc"}
# what needs a guest or a pool of the operator's: here only that the program is there and says what is missing
ABSENT = {
    "GUEST": ("bscnone", "could not be opened"),
    "POOL": ("bscnone", "does not exist"),
    "/dev/vmm": ("/dev/vmm", "No such file"),
    # an interface group that nobody is in
    "-g vxlan": ("-g vxlan", "does not exist"),
}


@pytest.fixture
def furnished(filtering: Host, lab: Lab) -> Iterator[Host]:
    """A port with rules, a table, a guard and a state; its guest's jail with a pf of its own."""
    _bridge, guests = lab.guests(1)
    assert guests[0].port == NAMES["TAP"]
    pf.load_rules(filtering, NAMES["TAP"], [Rule("pass", "doc", "out", 4, ICMP, source="<bsc_doc>", stateful=True)])
    pf.replace_table(filtering, NAMES["TABLE"], ["10.5.0.9"])
    netgraph.set_guard(filtering, NAMES["TAP"], guard([(guests[0].mac, guests[0].address)]))
    car.set_rate(filtering, NAMES["TAP"], car.Rate(1_000_000))
    lab.later(lambda: netgraph.clear_guard(filtering, NAMES["TAP"]))
    lab.later(lambda: car.clear_rate(filtering, NAMES["TAP"]))
    assert ifnet.find(filtering, NAMES["BRIDGE"]) is not None
    yield filtering


def words(line: str) -> tuple[list[str], str]:
    """The command with names of the lab, and what it may fail with."""
    excuse = ""
    for word, (name, failure) in ABSENT.items():
        if word in line:
            line, excuse = line.replace(word, name), failure
    for word, name in NAMES.items():
        line = re.sub(rf"\b{word}\b|(?<=bs[gl]_){word}", name, line)
    return shlex.split(line), excuse


def test_the_page_has_commands_and_no_name_is_left() -> None:
    assert len(COMMANDS) > 30
    for line in COMMANDS:
        assert not re.search(r"\b(?!PID)[A-Z]{3,}\b", " ".join(words(line)[0])), line


def test_every_command_of_the_page_is_answered(furnished: Host, target: Target) -> None:
    wrong, missing = [], []
    for line in COMMANDS:
        argv, excuse = words(line)
        try:
            furnished.run(argv)
        except CommandFailed as e:
            if "not simulated" in str(e) and target.simulated:
                missing.append(line)
            elif not excuse or excuse not in e.err + e.out:
                wrong.append(str(e))
    assert wrong == []
    assert len(missing) <= 3, missing
